"""The table of trials, one trial in full, and the best on one screen, as the commands print them."""

import csv
import json

import pytest
from click.testing import CliRunner

from mt_sweeps.cli import cli
from mt_sweeps.formatting import no_formula
from mt_sweeps.results import finalists
from tests.helpers.sweeps import ENVIRONMENT, Sweep, report, supervised_report


@pytest.fixture
def sweep(tmp_path):
    """Three trials: a point that completed, one that failed, one that completed and is better; and a baseline."""
    sweep = Sweep(tmp_path, "finalists.baselines=[supervised]", "finalists.top=0")
    ledger, ended = sweep.ledger, 0
    while trial := ledger.ask_search():
        if trial.arm == "supervised":
            ledger.complete(trial, sweep.train(trial, 0.4, 0.3))
        elif trial.number == 1:
            sweep.train(trial, 0.9)
            ledger.fail(trial, "diverged", "the loss is no longer a number", None)
        else:
            ledger.complete(trial, sweep.train(trial, 0.5, 0.2 - 0.05 * trial.number))
        ended += 1
    assert ended == 4
    return sweep


def printed(sweep, *arguments, status=0):
    result = CliRunner().invoke(cli, [*arguments, "--home", str(sweep.home.path)])
    if status:
        assert result.exception is not None
        return str(result.exception)
    assert result.exit_code == 0, result.output
    return result.output


def test_the_table_has_the_search_first_and_its_best_first(sweep):
    head, *lines = printed(sweep, "trials").splitlines()
    assert head.split()[:3] == ["trial", "state", "error"]
    assert [line.split()[:2] for line in lines] == [
        ["2", "complete"],
        ["0", "complete"],
        ["1", "failed"],
        ["supervised-0", "complete"],
    ]
    assert "10.0 % ± 1.0" in lines[0] and "ema.decay" in lines[0]
    assert lines[2].endswith("diverged")


def test_a_finalist_is_shown_with_what_it_trains_again_its_seed_and_the_error_that_the_verdict_is_of(tmp_path):
    sweep = Sweep(tmp_path, "trials=1", "finalists.baselines=[supervised]", "finalists.top=1", "finalists.seeds=2")
    for trial in iter(sweep.ledger.ask_search, None):
        sweep.ledger.complete(trial, (supervised_report if trial.arm == "supervised" else report)(300, 0.2))
    sweep.ledger.plan_finalists(finalists.plan(sweep.ledger, ENVIRONMENT.images))
    for trial in iter(sweep.ledger.ask_finalist, None):
        network = "student" if trial.replicates.arm == "supervised" else "teacher"
        last = (supervised_report if network == "student" else report)(300, 0.3)
        last.metrics[f"verdict.{network}_error"] = 0.1
        sweep.ledger.complete(trial, last)
    lines = printed(sweep, "trials").splitlines()
    assert any("trial 0, seed 10000, 10.0 % in the verdict" in line for line in lines)
    assert any("supervised, seed 10001, 10.0 % in the verdict" in line for line in lines)
    rows = list(csv.DictReader(printed(sweep, "trials", "--csv").splitlines()))
    again = [row for row in rows if row["arm"] == "finalists"]
    assert {(row["of"], row["seed"], row["verdict_error"]) for row in again} == {
        (of, seed, "0.1") for of in ("trial 0", "supervised") for seed in ("10000", "10001")
    }
    assert {bool(row["ema.decay"]) for row in again if row["of"] == "supervised"} == {False}
    assert {bool(row["ema.decay"]) for row in again if row["of"] == "trial 0"} == {True}
    assert {(row["of"], row["seed"], row["verdict_error"]) for row in rows if row["arm"] != "finalists"} == {
        ("", "", "")
    }


def test_the_table_for_scripts_has_every_trial_with_its_values(sweep):
    table = json.loads(printed(sweep, "trials", "digits", "--json"))
    assert (table["format"], table["sweep"]) == ("mt-sweeps-trials/1", "digits")
    best, point, failed, baseline = table["trials"]
    assert (best["name"], best["error"], best["origin"], best["step"]) == ("2", 0.1, "random", 60)
    assert point["values"]["ema.decay"] == 0.95 and point["origin"] == "point"
    assert (failed["reason"], failed["error"]) == ("diverged", None)
    assert (baseline["arm"], baseline["error"]) == ("supervised", 0.3)


def test_the_table_for_spreadsheets_has_a_column_per_searched_key(sweep):
    rows = list(csv.DictReader(printed(sweep, "trials", "--csv").splitlines()))
    assert [row["name"] for row in rows] == ["2", "0", "1", "supervised-0"]
    assert float(rows[1]["ema.decay"]) == 0.95 and float(rows[1]["error"]) == 0.2
    assert rows[2]["error"] == "" and rows[3]["ema.decay"] == ""


def test_no_cell_is_a_formula():
    assert [no_formula(cell) for cell in ("=1", "@x", "a=1", "")] == ["'=1", "'@x", "a=1", ""]


def test_what_a_dead_driver_left_running_waits_as_in_the_status(tmp_path):
    sweep = Sweep(tmp_path, "finalists.baselines=[]")
    sweep.ledger.ask_search()
    assert printed(sweep, "trials").splitlines()[1].split()[:2] == ["0", "waiting"]
    assert printed(sweep, "show", "digits", "0").startswith("trial 0: waiting")
    assert json.loads(printed(sweep, "status", "--json"))["arms"]["search"] == {
        "total": 3, "waiting": 3, "running": 0, "complete": 0, "pruned": 0, "failed": 0
    }  # fmt: skip


def test_a_table_is_of_one_kind(sweep):
    assert "use one of them" in printed(sweep, "trials", "--csv", "--json", status=2)


def test_a_trial_is_shown_with_its_values_its_curve_and_its_files(sweep):
    text = printed(sweep, "show", "digits", "2")
    assert text.startswith("trial 2: complete, error 10.0 % ± 1.0, drawn at random\n")
    assert [line.split() for line in text.splitlines() if line.endswith("%")] == [
        ["30", "50.0", "%", "50.0", "%"],
        ["60", "10.0", "%", "10.0", "%"],
    ]
    assert f"files      {sweep.directory.trials.location}/0002/attempt-1" in text
    assert "values     ema.decay" in text


def test_a_failed_trial_says_first_why(sweep):
    lines = printed(sweep, "show", "digits", "1").splitlines()
    assert lines[:2] == ["trial 1: failed, drawn at random", "  reason     diverged: the loss is no longer a number"]


def test_a_baseline_is_shown_by_the_name_that_the_table_has(sweep):
    assert printed(sweep, "show", "digits", "supervised-0").startswith("trial supervised-0: complete, error 30.0 %")
    shown = json.loads(printed(sweep, "show", "digits", "supervised-0", "--json"))
    assert (shown["format"], [one["step"] for one in shown["records"]]) == ("mt-sweeps-trial/1", [30, 60])


def test_a_trial_that_is_not_there_is_refused_with_those_that_are(sweep):
    assert printed(sweep, "show", "digits", "7", status=2) == (
        "7: digits has no such trial; those of the search are 0 to 2, the others as "
        f"`{sweep.directory.command('trials')}` names them"
    )


def test_the_best_is_shown_on_one_screen_with_its_values_and_errors(sweep):
    text = printed(sweep, "best")
    lines = text.splitlines()
    assert lines[0] == "digits: trial 2" and len(lines) <= 12
    assert "  validation 10.0 % ± 1.0 on " in text
    assert "not trained again on fresh seeds" in text
    assert (
        "search     The best, trial 2, was drawn at random; the best of the given points has 20.0 % (1 completed)"
        in text
    )
    assert "export digits -o best.yaml" in lines[-1]


def test_an_export_replaces_its_own_file_and_no_other_without_force(sweep, tmp_path):
    best, then = tmp_path / "best.yaml", "; train the final model with: "
    arguments = ("export", "-o", str(best))
    assert printed(sweep, *arguments).startswith(f"written to {best}{then}")
    exported = best.read_text()
    best.write_text(exported.replace(": mt-sweep train", ": uv run mt-sweep train"))
    replaced = f"written to {best}, in the place of the file that was there{then}"
    assert printed(sweep, *arguments).startswith(replaced), "the command was typed in another way"
    way_out = "; choose another name with -o, or add --force"
    for other, reason in (
        (exported.replace("  steps: 300", "  steps: 90"), "was edited since it was exported"),
        (exported + "# my note\n", "was edited since it was exported"),
        (printed(sweep, "export", "--arm", "supervised"), "is the supervised baseline of digits (supervised 0)"),
        (exported.replace("sweep: digits", "sweep: photos"), "is the best of photos (trial 2)"),
        ("name: digits\ntrials: 4\n", "is no best file that `export` wrote"),
        ("{no YAML", "is no best file that `export` wrote"),
    ):
        assert other != exported
        best.write_text(other)
        assert printed(sweep, *arguments, status=2) == f"{best}: {reason}{way_out}"
        assert best.read_text() == other
    assert printed(sweep, *arguments, "--force").startswith(replaced)
    assert best.read_text() == exported


def test_nothing_is_removed_when_the_answer_is_no(sweep):
    sweep.ledger.close()
    result = CliRunner().invoke(cli, ["rm", "digits", "--home", str(sweep.home.path)], input="n\n")
    assert (result.exit_code, result.output.splitlines()[-1]) == (1, "nothing removed")
    assert sweep.directory.exists


def test_a_copy_of_the_file_runs_anew(sweep, tmp_path):
    copy = tmp_path / "copy.yaml"
    assert printed(sweep, "copy", "digits") == sweep.directory.spec_text()
    run = sweep.directory.command("run", str(copy))
    message = f"written to {copy}; run it anew, with changes: {run}\n"
    assert printed(sweep, "copy", "digits", "-o", str(copy)) == message
    assert copy.read_text() == sweep.directory.spec_text()
    copy.write_text("mine")
    assert "is there already" in printed(sweep, "copy", "digits", "-o", str(copy), status=2)
    assert copy.read_text() == "mine"
    printed(sweep, "copy", "digits", "-o", str(copy), "--force")
    assert copy.read_text() == sweep.directory.spec_text()


@pytest.mark.parametrize("command", ["best", "export", "trials", "status"])
def test_reading_commands_take_the_newest_sweep(sweep, command):
    assert printed(sweep, command) == printed(sweep, command, "digits")
