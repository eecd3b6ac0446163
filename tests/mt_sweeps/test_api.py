"""Sweeps from Python: what is read of them, and what is refused before anything starts."""

import html
import re
import threading
from xml.etree import ElementTree

import pandas as pd
import pytest

import mt_sweeps
from mt_sweeps.errors import InputError
from mt_sweeps.results import finalists
from mt_sweeps.results.status import sweep_status
from mt_sweeps.results.trials import table_columns, trial_rows
from tests.helpers.command_line import DIGITS
from tests.helpers.sweeps import Sweep


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MT_SWEEP_HOME", raising=False)


@pytest.fixture
def made(tmp_path):
    """Three trials of a search, of which one failed; a baseline, and finalists on two seeds."""
    sweep = Sweep(
        tmp_path / "sweeps",
        "finalists.top=1",
        "finalists.seeds=2",
        "finalists.baselines=[supervised]",
        "pruner.name=none",
    )
    ledger = sweep.ledger
    while trial := ledger.ask_search():
        if (trial.arm, trial.number) == ("search", 1):
            sweep.train(trial, 0.9)
            ledger.fail(trial, "diverged", "the loss is no longer a number", None)
        else:
            ledger.complete(trial, sweep.train(trial, 0.5, 0.2 - 0.05 * trial.number))
    ledger.plan_finalists(finalists.plan(ledger, sweep.directory.load_environment().images))
    while trial := ledger.ask_finalist():
        ledger.complete(trial, sweep.train(trial, 0.4, 0.1 + 0.01 * trial.number))
    return sweep


def test_trials_are_a_table_with_the_columns_of_the_csv_and_their_types(made):
    frame = mt_sweeps.load("digits").trials()
    assert list(frame.columns) == list(table_columns(trial_rows(made.directory)))
    assert list(frame["name"][:4]) == ["2", "0", "1", "supervised-0"]
    assert list(frame["state"][:4]) == ["complete", "complete", "failed", "complete"]
    assert frame["error"][0] == 0.1 and frame["error"].dtype == float and pd.isna(frame["error"][2])
    assert frame["trial"].dtype == int and frame["step"][0] == 60
    assert str(frame["started"].dt.tz) == "UTC" and frame["started"][0].year > 2020
    assert frame["ema.decay"].dtype == float and frame["ema.decay"][1] == 0.95 and pd.isna(frame["ema.decay"][3])
    assert frame["consistency.loss"][1] == "mse"
    assert list(frame.columns[14:]) == list(made.spec.search_space), "and not every setting of the finalists"


def test_a_table_without_trials_has_its_columns(tmp_path):
    Sweep(tmp_path / "sweeps")
    frame = mt_sweeps.load().trials()
    assert len(frame) == 0
    assert {"name", "state", "error", "started"} <= set(frame.columns)


def test_whole_numbers_stay_whole_where_some_are_missing():
    from mt_sweeps.api import _series

    frame = pd.DataFrame({"n": _series([3, None]), "yes": _series([True, None]), "mixed": _series([1, 2.5])})
    assert list(map(str, frame.dtypes)) == ["Int64", "boolean", "float64"]


def test_the_best_the_verdict_and_the_status_are_what_the_commands_have(made):
    sweep = mt_sweeps.load()
    assert sweep.name == "digits"
    best = sweep.best
    assert (best.trial, best.validation.error, best.searched.keys()) == (2, 0.1, made.spec.search_space.keys())
    assert best.trainer.ema.decay == best.searched["ema.decay"]
    assert list(sweep.verdict.means) == ["trial 2", "supervised"]
    assert sweep.verdict.means["trial 2"].seeds == 2 and sweep.verdict.gain is not None
    assert sweep.status == sweep_status(made.directory).as_json()
    assert sweep.status["arms"]["search"]["failed"] == 1


def test_what_has_not_been_found_yet(tmp_path):
    Sweep(tmp_path / "sweeps")
    sweep = mt_sweeps.load()
    assert sweep.verdict is None
    with pytest.raises(InputError, match="no trial has completed yet"):
        _ = sweep.best
    assert repr(sweep).startswith("<Sweep digits: interrupted, 0 of 3 trials")


def test_a_sweep_is_read_anew_whenever_it_is_asked(tmp_path):
    made = Sweep(tmp_path / "sweeps")
    sweep = mt_sweeps.load()
    trial = made.ledger.ask_search()
    assert list(sweep.trials()["state"]) != ["complete"]
    made.ledger.complete(trial, made.train(trial, 0.3))
    assert list(sweep.trials()["state"]) == ["complete"] and sweep.best.trial == 0


@pytest.mark.system
@pytest.mark.usefixtures("made")
def test_the_figures_have_names_titles_and_colours_of_their_own(tmp_path):
    figures = mt_sweeps.load().figures
    assert {"Mean errors", "Paired differences", "Over trials", "The teacher", "ema.decay"} <= figures.keys()
    for name, figure in figures.items():
        root = ElementTree.fromstring(figure.svg)  # else no browser would draw it
        assert f">{html.escape(name)}</text>" in figure.svg
        style = root.find("{http://www.w3.org/2000/svg}style").text
        assert set(re.findall(r"var\((.+?)\)", style)) == {"--c"} and "#0b62b8" in style
    figures["Mean errors"].save(tmp_path / "errors.svg")
    assert (tmp_path / "errors.svg").read_text() == figures["Mean errors"]._repr_svg_()


def test_a_sweep_shows_itself_in_a_line_and_in_a_table(made):
    sweep = mt_sweeps.load()
    line = repr(sweep)
    assert line.startswith("<Sweep digits: ") and "3 of 3 trials" in line and "best trial 2, 10.0 % ± 1.0" in line
    table = sweep._repr_html_()
    assert table.startswith("<table>") and "<th>best</th><td>trial 2, 10.0 % ± 1.0</td>" in table
    made.directory.delete()
    assert "cannot be read" in repr(sweep) and "&lt;Sweep digits: cannot be read" in sweep._repr_html_()


def test_the_home_is_named_or_the_usual_one(tmp_path, monkeypatch):
    Sweep(tmp_path / "other")
    with pytest.raises(InputError, match="holds no sweeps"):
        mt_sweeps.load()
    assert mt_sweeps.load("digits", home=tmp_path / "other").name == "digits"
    monkeypatch.setenv("MT_SWEEP_HOME", str(tmp_path / "other"))
    assert mt_sweeps.load().name == "digits"


@pytest.mark.usefixtures("made")
def test_what_cannot_be_run_or_loaded_is_refused_with_what_to_do():
    with pytest.raises(InputError, match=r"digit: no such sweep .* did you mean 'digits'"):
        mt_sweeps.load("digit")
    with pytest.raises(InputError, match="is a file, and the name of a sweep is needed here; did you mean 'digits'"):
        mt_sweeps.load(str(DIGITS))
    with pytest.raises(InputError, match=r"digits: is a sweep, .* look at it with mt_sweeps.load\('digits'\)"):
        mt_sweeps.run("digits")
    with pytest.raises(InputError, match=r"nothing\.yaml: cannot be read"):
        mt_sweeps.run("nothing.yaml")
    with pytest.raises(InputError, match=r"trainer\.steps: should be"):
        mt_sweeps.run(DIGITS, overrides={"trainer.steps": 0})
    with pytest.raises(InputError, match=r"overrides: trainer.steps: .* nothing that a file can hold; use numbers"):
        mt_sweeps.run(DIGITS, overrides={"trainer.steps": {1, 2}})
    with pytest.raises(InputError, match="--name digits: there is a sweep of this name"):
        mt_sweeps.run(DIGITS, name="digits")


def test_a_sweep_runs_in_the_main_thread_and_with_a_ray_of_its_own(monkeypatch):
    import ray

    errors = []

    def run():
        with pytest.raises(InputError, match="runs in the main thread only") as error:
            mt_sweeps.run(DIGITS)
        errors.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    assert len(errors) == 1
    monkeypatch.setattr(ray, "is_initialized", lambda: True)
    with pytest.raises(InputError, match=r"Ray runs in this process already; end it first with ray.shutdown\(\)"):
        mt_sweeps.run(DIGITS)


def test_an_unknown_name_of_the_package_is_an_attribute_error():
    assert {"run", "load", "Sweep"} <= set(dir(mt_sweeps))
    with pytest.raises(AttributeError, match="no attribute 'lode'"):
        _ = mt_sweeps.lode
