"""The page: what stands on it, in which order, and what it never does."""

import dataclasses
import json
import re
import shutil
from html.parser import HTMLParser

import pytest
from click.testing import CliRunner
from playwright.sync_api import expect, sync_playwright

from mt_sweeps import report
from mt_sweeps.cli import cli
from mt_sweeps.commands.run import resume_sweep
from mt_sweeps.execution.simulated_trainer import Script
from mt_sweeps.report.findings import GoodRange
from mt_sweeps.results import finalists
from mt_sweeps.spec.arms import TrialId
from mt_sweeps.storage.local import LocalHome
from mt_sweeps.study.ledger import Ledger
from tests.helpers.sweeps import begun, digits, finish, swept
from tests.helpers.sweeps import report as evaluation

pytestmark = pytest.mark.system  # each page is that of a whole sweep

CHROMIUM = shutil.which("chromium")
FAILED = Script(fails={"0003": "diverged", "0005": "diverged", "supervised-0000": "error"})
EVERYTHING = ("trials=12", "finalists.top=1", "finalists.seeds=2", "pruner.name=none")
ORDER = [
    "Verdict",
    "The best configuration",
    "Errors by class",
    "Best so far",
    "Learning curves",
    "Each searched parameter",
    "All parameters together",
    "Importance",
    "Rung correlation",
    "Failures",
    "Finalists",
    "Cost",
    "Reproduction",
]


class Page(HTMLParser):
    """What a browser would make of it, as far as these tests ask."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.scripts, self.headings, self._open, self.words = [], [], [], "", ""
        self.feed(text)
        self.json = [json.loads(text) for attributes, text in self.scripts if "type" in attributes]
        self.plots = [attributes for tag, attributes in self.tags if attributes.get("class") == "plot"]

    def handle_starttag(self, tag, attrs):
        self._open = tag
        self.tags.append((tag, dict(attrs)))
        if tag == "script":
            self.scripts.append((dict(attrs), ""))
        if tag == "h2":
            self.headings.append("")

    def handle_endtag(self, tag):
        self._open = "" if tag == self._open else self._open

    def handle_data(self, data):
        if self._open == "script":
            attributes, before = self.scripts.pop()
            self.scripts.append((attributes, before + data))
        elif self._open == "h2":
            self.headings[-1] += data
        elif self._open != "style":
            self.words += data


def opened(directory):
    return Ledger(directory.ledger, directory.load_spec())


def page_of(directory):
    return Page(report.write(directory).read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def directory(tmp_path_factory):
    return swept(LocalHome(tmp_path_factory.mktemp("home")), digits(*EVERYTHING), FAILED, gpus=0.5)


@pytest.fixture(scope="module")
def page(directory):
    return page_of(directory)


def test_the_verdict_comes_first_and_everything_else_in_order(page, directory):
    assert page.headings == ORDER
    environment = directory.load_environment()
    for comparison in finalists.compare_finalists(opened(directory), environment.images).comparisons:
        assert str(comparison)[1:] in page.words.split("The best configuration")[0]


def test_nothing_is_loaded_from_anywhere(page):
    for tag, attributes in page.tags:
        assert not {"src", "href", "srcset", "action", "data", "poster", "background"} & attributes.keys(), tag
    style = (report.files("mt_sweeps.report") / "page.css").read_text()
    assert "url(" not in style
    assert "@import" not in style
    (policy,) = [a["content"] for _, a in page.tags if a.get("http-equiv") == "Content-Security-Policy"]
    assert policy.startswith("default-src 'none';"), "the browser too refuses it"
    assert "http" not in policy
    assert "unsafe" not in policy.split("script-src")[1]


def test_every_figure_has_words_and_numbers_beside_it(page):
    assert len(page.plots) == len(page.json) == 15
    for plot in page.plots:
        assert plot["role"] == "img"
        assert re.search(r"\d", plot["aria-label"])
    captions = [tag for tag, _ in page.tags if tag == "figcaption"]
    assert len(captions) == len(page.plots)


def test_what_failed_is_counted_by_reason_and_its_message_is_text(page):
    assert "diverged" in page.words
    assert "<script>alert(1)</script>" in page.words, "of the failures' messages: read, not run"
    assert len(page.scripts) == len(page.json) + 2


def test_names_that_are_markup_are_text_wherever_they_stand(directory):
    ledger = opened(directory)
    evil = "</script><img src=x onerror=alert(1)>"

    def renamed(value):
        """The same findings, with markup in the place of every name."""
        if isinstance(value, str):
            return evil if value in ("digits", "supervised") else value.replace("trial ", f"{evil} ")
        if dataclasses.is_dataclass(value):
            fields = {field.name: renamed(getattr(value, field.name)) for field in dataclasses.fields(value)}
            return type(value)(**fields)
        if isinstance(value, dict):
            return {renamed(key): renamed(inner) for key, inner in value.items()}
        return list(map(renamed, value)) if type(value) is list else value

    page = Page(report.html(renamed(report.build(directory, ledger)), ledger))
    assert "img" not in {tag for tag, _ in page.tags}
    assert len(page.scripts) == len(page.json) + 2
    assert "<img" not in json.dumps(page.json), "plotly has a markup of its own"
    assert page.words.count(evil) > 5


def test_a_script_runs_only_if_the_page_names_its_hash(page):
    (policy,) = [a["content"] for _, a in page.tags if a.get("http-equiv") == "Content-Security-Policy"]
    for attributes, text in page.scripts:
        if "type" not in attributes:
            assert report._hash(text) in policy


def test_cautions_stand_just_below_the_verdict(directory):
    ledger = opened(directory)
    cautions = ["The best sits on the edge of <ema.decay>."]
    words = Page(report.html(dataclasses.replace(report.build(directory, ledger), cautions=cautions), ledger)).words
    assert words.index("Trial") < words.index("on the edge of <ema.decay>.") < words.index("The best of the search")


def test_the_same_is_there_as_json_of_a_named_shape(directory):
    home = str(directory.path.parent)
    done = CliRunner().invoke(cli, ["report", "digits", "--json", "--home", home], catch_exceptions=False)
    shown = json.loads(done.stdout, parse_constant=lambda name: pytest.fail(f"{name} is no JSON"))
    assert shown["format"] == "mt-sweeps-report/2"
    assert shown["sweep"]["state"] == "finished"
    assert shown["sweep"]["states"] == {"complete": 10, "pruned": 0, "failed": 2, "running": 0, "waiting": 0}
    assert shown["best"]["error"] == min(t["error"] for t in shown["trials"] if t["error"] is not None)
    assert [one["b"] for one in shown["verdict"]["comparisons"]] == ["published"], "supervised failed"
    assert {(one["reason"], len(one["trials"])) for one in shown["failures"]} == {("diverged", 2), ("error", 1)}
    assert shown["reproduction"]["spec"] == directory.spec_text()
    assert sum(shown["importance"]["shares"].values()) == pytest.approx(1)


def test_the_path_is_printed_and_an_unknown_sweep_is_told_with_the_nearest(directory):
    home = str(directory.path.parent)
    done = CliRunner().invoke(cli, ["report", "digits", "--home", home], catch_exceptions=False)
    assert done.stdout.strip() == str(directory.report)
    wrong = CliRunner().invoke(cli, ["report", "digit", "--home", home])
    assert "no such sweep" in str(wrong.exception)
    assert "digits" in str(wrong.exception)


def test_costs_add_up_to_all_that_was_trained(directory):
    ledger = opened(directory)
    cost = report.build(directory, ledger).cost
    assert sum(row.trials for row in cost) == len(ledger.all_trials())
    assert sum(row.steps for row in cost) == ledger.steps_done
    assert sum(row.hours for row in cost) * 3600 == pytest.approx(ledger.seconds_done)
    assert all(row.gpu_hours == pytest.approx(0.5 * row.hours) for row in cost)


def test_the_best_so_far_never_rises_and_every_ended_trial_is_paid_for(directory):
    rows = report.build(directory).progress
    best = [row.best for row in rows if row.best is not None]
    assert best == sorted(best, reverse=True)
    assert len(rows) == 12
    assert [row.hours for row in rows] == sorted(row.hours for row in rows)


def test_the_good_region_is_where_the_best_fifth_lies(directory):
    findings = report.build(directory)
    best = findings.completed[:3]
    assert findings.good == [trial.trial for trial in best], "a fifth of ten would be two"
    decays = [trial.values["ema.decay"] for trial in best]
    decay = next(parameter for parameter in findings.parameters if parameter.key == "ema.decay")
    assert decay.good == GoodRange(min(decays), max(decays))


def test_a_long_learning_curve_is_thinned_and_keeps_its_ends(tmp_path):
    directory = begun(LocalHome(tmp_path), digits("trials=1", "finalists.baselines=[]"))
    ledger = opened(directory)
    trial = ledger.ask_search()
    reports = [evaluation(step, 0.5) for step in range(1, 1001)]
    directory.trials.begin(TrialId("search", 0), 1, reports)
    ledger.report(trial, reports[-1])
    ledger.complete(trial, reports[-1])
    (line,) = report.build(directory, ledger).curves.lines
    assert len(line.step) <= 60
    assert (line.step[0], line.step[-1]) == (1, 1000)


@pytest.mark.parametrize(
    ("overrides", "complete", "sentence"),
    [
        (["trials=2"], 0, "No trial has completed yet. So there is no best configuration, and no verdict."),
        (["trials=2"], 1, "1 trial completed: too few for slices."),
        (
            ["trials=9", "search_space.labeled_batch_fraction={type: categorical, choices: [0.5]}", "points=[]"],
            8,
            "but 0.5",
        ),
        (["trials=3", "trainer.method=supervised", "points=[]"], 3, "Only optimizer.learning_rate was searched"),
    ],
)
def test_what_there_is_nothing_of_is_told_in_a_sentence(tmp_path, overrides, complete, sentence):
    spec = digits("finalists.baselines=[]", *overrides) if complete != 3 else only_one_parameter()
    directory = begun(LocalHome(tmp_path), spec)
    ledger = opened(directory)
    for i in range(complete):
        finish(ledger, ledger.ask_search(), 0.1 + i / 100)
    ledger.close()
    page = page_of(directory)
    assert page.headings == ORDER
    assert sentence in page.words
    assert "Interrupted." in page.words or complete == 3
    assert "No records of a trial's evaluations are there." in page.words


def only_one_parameter():
    from mt_sweeps.spec.sweep_spec import SweepSpec

    plain = digits("finalists.baselines=[]", "trials=3", "points=[]").model_dump(exclude_none=True)
    plain["search_space"] = {"optimizer.learning_rate": [{"type": "float", "low": 0.01, "high": 1.0, "scale": "log"}]}
    return SweepSpec.model_validate(plain)


def test_a_sweep_of_which_everything_failed_has_a_report_too(tmp_path):
    directory = swept(LocalHome(tmp_path), digits("trials=3", "finalists.top=1"), Script(fails_all="diverged"))
    page = page_of(directory)
    assert page.headings == ORDER
    assert not page.plots
    assert "No trial has completed." in page.words
    assert "Diverged" in page.words or "diverged" in page.words


def test_a_running_sweep_is_reported_as_it_stands(tmp_path):
    directory = begun(LocalHome(tmp_path), digits("trials=3", "finalists.baselines=[]"))
    ledger = opened(directory)
    finish(ledger, ledger.ask_search())
    ledger.ask_search()
    with directory.exclusive(""):
        words = page_of(directory).words
    assert "Running. 2 trials searched" in words
    assert "1 complete, 1 running" in words


def test_a_report_that_cannot_be_written_leaves_the_old_one_and_nothing_half_done(directory, tmp_path):
    copy = tmp_path / "digits"
    shutil.copytree(directory.path, copy)
    (there,) = LocalHome(tmp_path).sweeps()
    there.report.unlink(missing_ok=True)
    there.report.mkdir()
    result = CliRunner().invoke(cli, ["report", "digits", "--home", str(tmp_path)])
    assert "report.html: cannot be written" in str(result.exception)
    assert not list(copy.glob(".report*"))


def test_the_end_of_a_sweep_writes_it_and_sends_it_to_mlflow(tmp_path, capsys):
    home = LocalHome(tmp_path)
    directory = swept(home, digits("trials=2", "finalists.baselines=[]"))
    resume_sweep(home, "digits")
    assert "Finished." in Page(directory.report.read_text()).words
    assert f"report     {directory.report}" in capsys.readouterr().out
    (sent,) = home.artifacts.glob("*/artifacts/report.html")
    assert sent.read_bytes() == directory.report.read_bytes()


def test_a_report_that_fails_costs_the_sweep_nothing_but_a_line(tmp_path, capsys):
    home = LocalHome(tmp_path)
    directory = swept(home, digits("trials=2", "finalists.baselines=[]"))
    directory.report.mkdir()
    resume_sweep(home, "digits")
    out = capsys.readouterr().out
    assert "the report was not written" in out
    assert "mt-sweep report digits" in out
    assert "best       trial" in out


@pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium: apt-get install chromium")
def test_a_browser_draws_every_figure_in_the_colours_of_the_page_and_again_when_they_change(page, directory):
    light, dark = "rgb(28, 32, 36)", "rgb(228, 232, 235)"
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        seen, errors = browser.new_page(color_scheme="light"), []
        seen.on("console", lambda message: errors.append(message.text))
        seen.on("pageerror", lambda error: errors.append(error.message))
        seen.goto(directory.report.as_uri())
        titles = seen.locator(".plot .xtick text")
        drawn = seen.locator(".plot .main-svg")
        expect(drawn.first).to_be_visible(timeout=60_000)
        assert seen.locator(".plot:has(.main-svg)").count() == len(page.plots)
        for scheme, ink in (("light", light), ("dark", dark), ("light", light), ("dark", dark)):
            seen.emulate_media(color_scheme=scheme)
            expect(titles.first).to_have_css("fill", ink, timeout=60_000)
        seen.evaluate("dispatchEvent(new Event('beforeprint'))")
        expect(titles.first).to_have_css("fill", light)  # paper is white
        seen.evaluate("dispatchEvent(new Event('afterprint'))")
        expect(titles.first).to_have_css("fill", dark)
        browser.close()
    assert errors == []
