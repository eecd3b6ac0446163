"""The page: what stands on it, in which order, and what it never does."""

import dataclasses
import io
import json
import re
import shutil
import subprocess
from html.parser import HTMLParser

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image
from playwright.sync_api import expect, sync_playwright

from mt_sweeps import report
from mt_sweeps.cli import cli
from mt_sweeps.commands.resume import resume_sweep
from mt_sweeps.execution.simulated_trainer import Script
from mt_sweeps.report.search_findings import GoodRange
from mt_sweeps.results import finalists, pictures
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
    "Final models",
    "All trials",
    "Errors by class",
    "Images",
    "Best so far",
    "Learning curves",
    "Each searched parameter",
    "All parameters together",
    "Importance",
    "Rung correlation",
    "Failures",
    "Finalists",
    "Cost",
    "In MLflow",
    "Reproduction",
]


class Page(HTMLParser):
    """What a browser would make of it, as far as these tests ask."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.scripts, self.headings, self._open, self.words = [], [], [], "", ""
        self.feed(text)
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
            self.words += data
        elif self._open not in ("style", "a"):
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
        assert not {"src", "srcset", "action", "data", "poster", "background"} & attributes.keys(), tag
        assert tag == "a" or "href" not in attributes, "a link is followed by the reader alone"
    style = (report.files("mt_sweeps.report") / "page.css").read_text()
    assert "url(" not in style
    assert "@import" not in style
    (policy,) = [a["content"] for _, a in page.tags if a.get("http-equiv") == "Content-Security-Policy"]
    assert policy.startswith("default-src 'none';"), "the browser too refuses it"
    assert "http" not in policy
    assert "unsafe" not in policy.split("script-src")[1]


def test_every_figure_has_words_and_numbers_beside_it(page):
    assert len(page.plots) == 15
    for plot in page.plots:
        assert plot["role"] == "img"
        assert re.search(r"\d", plot["aria-label"])
    captions = [tag for tag, _ in page.tags if tag == "figcaption"]
    assert len(captions) == len(page.plots)


def test_what_failed_is_counted_by_reason_and_its_message_is_text(page):
    assert "diverged" in page.words
    assert "<script>alert(1)</script>" in page.words, "of the failures' messages: read, not run"
    assert len(page.scripts) == 1


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

    page = Page(report.html(renamed(report.build(directory, ledger)), ledger, {"": evil}, (evil, evil)))
    assert "img" not in {tag for tag, _ in page.tags}
    assert len(page.scripts) == 1
    assert page.words.count(evil) > 5


def test_a_command_in_a_sentence_is_code_and_other_markup_is_text(directory):
    ledger = opened(directory)
    sentence = "See `mt-sweep inspect <digits>` for <b>more</b>"
    findings = dataclasses.replace(report.build(directory, ledger), cautions=[sentence], search=[sentence])
    text = report.html(findings, ledger, {}, ("mt-sweep dashboard digits", "mt-sweep inspect digits"))
    shown = "See <code>mt-sweep inspect &lt;digits&gt;</code> for &lt;b&gt;more&lt;/b&gt;"
    assert text.count(shown) == 2
    assert "<code>mt-sweep dashboard digits</code> opens them" in text
    assert "`" not in re.sub(r"<(pre|script)\b.*?</\1>", "", text, flags=re.DOTALL)


def test_a_script_runs_only_if_the_page_names_its_hash(page):
    (policy,) = [a["content"] for _, a in page.tags if a.get("http-equiv") == "Content-Security-Policy"]
    for attributes, text in page.scripts:
        assert not attributes
        assert report._hash(text) in policy


def test_cautions_stand_just_below_the_verdict(directory):
    ledger = opened(directory)
    findings = dataclasses.replace(
        report.build(directory, ledger), cautions=["The best sits on the edge of <ema.decay>."]
    )
    words = Page(report.html(findings, ledger, {}, ("", ""))).words
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
    verdict = page.words.split("The best configuration")[0]
    assert verdict.index("All 3 trials that ended failed. diverged: <script>") < verdict.index("no verdict")
    assert "Diverged" in page.words or "diverged" in page.words


def test_a_running_sweep_is_reported_as_it_stands(tmp_path):
    directory = begun(LocalHome(tmp_path), digits("trials=3", "finalists.baselines=[]"))
    ledger = opened(directory)
    finish(ledger, ledger.ask_search())
    ledger.ask_search()
    with directory.exclusive(""):
        words = page_of(directory).words
    assert "Running. 2 of 3 trials searched" in words
    assert "1 complete, 1 running" in words


def test_a_trial_that_an_interruption_left_running_waits_as_in_status(tmp_path):
    directory = begun(LocalHome(tmp_path), digits("trials=3", "finalists.baselines=[]"))
    ledger = opened(directory)
    finish(ledger, ledger.ask_search())
    ledger.ask_search()
    findings = report.build(directory, ledger)
    assert findings.sweep.states == {"complete": 1, "pruned": 0, "failed": 0, "running": 0, "waiting": 1}
    assert [trial.state for trial in findings.trials] == ["complete", "waiting"]
    assert [row.state for row in findings.cost] == ["complete", "waiting"]


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


def test_all_trials_are_there_the_best_first_and_figures_have_them_by_number(page, directory):
    rows = [attributes["data-t"] for tag, attributes in page.tags if tag == "tr" and "data-t" in attributes]
    trials = report.build(directory).trials
    assert sorted(map(int, rows)) == [trial.trial for trial in trials]
    complete = sorted((t.error, t.trial) for t in trials if t.error is not None)
    assert rows[0] == str(complete[0][1])
    assert rows[-2:] == ["3", "5"], "those that failed stand last"
    assert {attributes["data-t"] for tag, attributes in page.tags if tag == "circle" and "data-t" in attributes} < {
        *rows
    }


def test_the_contents_lead_to_every_chapter(page):
    ids = [attributes["id"] for tag, attributes in page.tags if tag == "section"]
    links = [attributes["href"] for tag, attributes in page.tags if tag == "a"]
    assert links == [f"#{one}" for one in ids]
    assert len(ids) == len(ORDER)


def test_trials_and_the_sweep_lead_to_mlflow_where_it_has_an_address(directory):
    pages = {"": "https://there/#/experiments/1/runs/a", "0003": "https://there/#/experiments/1/runs/b"}
    ledger = opened(directory)
    page = Page(report.html(report.build(directory, ledger), ledger, pages, ("mt-sweep dashboard digits", "")))
    links = [attributes["href"] for tag, attributes in page.tags if tag == "a"]
    assert {one for one in links if not one.startswith("#")} == set(pages.values())
    assert "mt-sweep dashboard digits" in page.words


@pytest.fixture(scope="module")
def browser():
    if CHROMIUM is None:
        pytest.skip("needs Chromium: apt-get install chromium")
    with sync_playwright() as playwright:
        made = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield made
        made.close()


def test_a_page_without_script_shows_every_figure_in_the_colours_of_the_reader_and_prints_them_dark_on_light(
    page, directory, browser
):
    shown = browser.new_page(java_script_enabled=False, color_scheme="light")
    shown.goto(directory.report.as_uri())
    expect(shown.locator("svg.plot")).to_have_count(len(page.plots))
    expect(shown.get_by_text("complete without JavaScript")).to_be_visible()
    title = shown.locator("svg.plot .title").first
    for settings, colour in (
        ({"color_scheme": "light"}, "rgb(93, 102, 112)"),
        ({"color_scheme": "dark"}, "rgb(155, 166, 176)"),
        ({"color_scheme": "dark", "media": "print"}, "rgb(93, 102, 112)"),
    ):
        shown.emulate_media(**settings)
        expect(title).to_have_css("fill", colour)
    shown.close()


@pytest.mark.parametrize("width", [1440, 768, 390])
def test_nothing_is_cut_at_any_width(directory, browser, width):
    shown = browser.new_page(viewport={"width": width, "height": 900})
    shown.goto(directory.report.as_uri())
    assert shown.evaluate("document.documentElement.scrollWidth") <= width
    cut = "[...document.querySelectorAll('.scrolls:not(pre), figure')].filter(e => e.scrollWidth > e.clientWidth + 1)"
    titles = shown.evaluate(f"{cut}.map(e => e.ariaLabel || e.textContent)")
    may_scroll = [title for title in titles if title.startswith("Trials of the search") and width == 768]
    assert titles == may_scroll, "the table with a column for each key scrolls on a page that is too narrow for it"
    shown.close()


@pytest.fixture(scope="module")
def many_keys(tmp_path_factory):
    """The report of a sweep that searches as many keys as the quick start, and one more."""
    keys = ["optimizer.learning_rate", "optimizer.weight_decay", "augmentation.noise", "consistency.confidence"]
    searched = [f"search_space.{key}={{type: float, low: 0.0123, high: 0.4567}}" for key in keys]
    sweep = swept(LocalHome(tmp_path_factory.mktemp("home")), digits("trials=2", "finalists.baselines=[]", *searched))
    return report.write(sweep)


@pytest.mark.parametrize("width", [1440, 768])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_table_of_many_keys_is_shown_whole_or_with_a_shadow_where_it_goes_on(many_keys, browser, width, scheme):
    shown = browser.new_page(
        viewport={"width": width, "height": 900}, color_scheme=scheme, java_script_enabled=False, device_scale_factor=1
    )
    shown.goto(many_keys.as_uri())
    table = shown.locator("#all-trials .scrolls")
    hidden = table.evaluate("e => e.scrollWidth - e.clientWidth")
    assert (hidden > 0) == (width == 768)

    def edge_is_dark():
        """Look beside the table's title, where no cell is."""
        picture = Image.open(io.BytesIO(table.screenshot())).convert("L")
        strip = picture.crop((picture.width - 20, 4, picture.width, 14)).tobytes()
        return max(strip) - min(strip) > 20

    assert edge_is_dark() == (hidden > 0)
    first = table.locator("tbody th").first
    before = first.bounding_box()
    table.evaluate("e => e.scrollLeft = e.scrollWidth")
    assert not edge_is_dark(), "nothing more is hidden there"
    assert first.bounding_box()["x"] == before["x"], "which trial it is, is still seen"
    assert shown.evaluate("document.documentElement.scrollWidth") <= width
    shown.close()


def test_paper_cuts_no_key_off(many_keys, browser):
    shown = browser.new_page(viewport={"width": 680, "height": 960})  # A4 without its margins
    shown.emulate_media(media="print")
    shown.goto(many_keys.as_uri())
    (hidden,) = shown.locator("#all-trials .scrolls").evaluate_all("all => all.map(e => e.scrollWidth - e.clientWidth)")
    assert hidden == 0
    last = shown.locator("#all-trials tbody tr").first.locator("td").last
    assert last.bounding_box()["x"] + last.bounding_box()["width"] <= 680
    shown.close()


def test_the_names_of_columns_break_after_dots_and_underscores_alone(directory, browser):
    shown = browser.new_page(viewport={"width": 1440, "height": 900})
    shown.goto(directory.report.as_uri())
    for head in shown.locator("#all-trials thead th").all():
        text, lines = head.inner_text(), head.evaluate("e => Math.round(e.clientHeight / 22)")
        assert lines <= 1 + len(re.findall(r"[._](?=\w)", text)), text
    shown.close()


def test_a_trial_that_is_pointed_at_is_marked_in_all_figures_with_its_row_beside_it(directory, browser):
    shown, errors = browser.new_page(), []
    shown.on("console", lambda message: errors.append(message.text))
    shown.on("pageerror", lambda error: errors.append(error.message))
    shown.goto(directory.report.as_uri())
    dot = shown.locator("#each-searched-parameter circle[data-t]").first
    number = dot.get_attribute("data-t")
    dot.scroll_into_view_if_needed()
    dot.hover(force=True)
    expect(shown.locator("#pointed")).to_contain_text(f"trial {number}")
    assert shown.locator("[data-t].on").count() > 3
    assert set(shown.locator("[data-t].on").evaluate_all("all => all.map(one => one.dataset.t)")) == {number}
    assert errors == []
    shown.close()


@pytest.fixture(scope="module")
def axe(tmp_path_factory):
    """The script of axe-core, which npm installs."""
    npm, folder = shutil.which("npm"), tmp_path_factory.mktemp("axe")
    if npm is None:
        pytest.skip("needs npm")
    done = subprocess.run([npm, "install", "--no-audit", "--no-fund", "axe-core@4"], cwd=folder, capture_output=True)
    if done.returncode:
        pytest.skip("npm does not get axe-core")
    return folder / "node_modules" / "axe-core" / "axe.min.js"


@pytest.mark.parametrize("width", [1440, 390])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing_that_keeps_a_reader_out(directory, browser, axe, width, scheme):
    shown = browser.new_context(color_scheme=scheme, bypass_csp=True).new_page()
    shown.set_viewport_size({"width": width, "height": 900})
    shown.goto(directory.report.as_uri())
    shown.add_script_tag(path=axe)
    violations = shown.evaluate("axe.run().then(result => result.violations)")
    assert [(one["id"], one["nodes"][0]["html"]) for one in violations] == []
    shown.close()


@pytest.fixture(scope="module")
def illustrated(tmp_path_factory):
    """A sweep whose trials have left pictures, as their workers do."""
    sweep = swept(LocalHome(tmp_path_factory.mktemp("home")), digits("trials=2", "finalists.baselines=[]"), Script())
    for trial in opened(sweep).trials("search"):
        images = [np.full((8, 8, 1), 20 * i, np.uint8) for i in range(pictures.MOST)]
        lines = [["true: a class with a long name", f"taken for: {i}", "99.0 %"] for i in range(pictures.MOST)]
        sets = [pictures.PictureSet.of(f"{what} {trial.number}", zip(lines, images, strict=True)) for what in "ab"]
        pictures.save(sweep.path / "trials" / trial.id.slug / "attempt-1", sets)
    return sweep


def test_the_pictures_of_the_best_trial_are_shown_without_a_further_command(illustrated):
    page, best = page_of(illustrated), opened(illustrated).best()
    assert best is not None
    shown = [attributes["alt"] for tag, attributes in page.tags if tag == "img"]
    assert shown == 2 * [f"true: a class with a long name, taken for: {i}, 99.0 %" for i in range(pictures.MOST)]
    assert f"a {best.number}" in page.words
    assert f"a {1 - best.number}" not in page.words
    assert "to be labeled next" in page.words, "which another command shows"


@pytest.mark.parametrize("width", [1440, 390])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_pictures_fit_the_page_and_keep_no_reader_out(illustrated, browser, axe, width, scheme):
    page_of(illustrated)
    shown = browser.new_context(color_scheme=scheme, bypass_csp=True).new_page()
    shown.set_viewport_size({"width": width, "height": 900})
    shown.goto(illustrated.report.as_uri())
    assert shown.locator("#images img").count() == 2 * pictures.MOST
    assert shown.evaluate("document.documentElement.scrollWidth") <= width
    assert shown.locator("#images img").first.evaluate("e => e.naturalWidth") >= pictures.SIDE
    shown.add_script_tag(path=axe)
    violations = shown.evaluate("axe.run('#images').then(result => result.violations)")
    assert [(one["id"], one["nodes"][0]["html"]) for one in violations] == []
    shown.close()


def test_the_page_of_three_hundred_trials_has_less_than_400_kb(tmp_path):
    directory = begun(LocalHome(tmp_path), digits("trials=300", "finalists.baselines=[]", "sampler.name=random"))
    ledger = opened(directory)
    while trial := ledger.ask_search():
        reports = [evaluation(30 * i, 0.9 / i + trial.number / 3000) for i in range(1, 11)]
        directory.trials.begin(trial.id, trial.attempt, reports)
        ledger.report(trial, reports[-1])
        ledger.complete(trial, reports[-1])
    best, noise = ledger.best(), np.random.default_rng(0).integers(0, 256, (72, 72, 3), np.uint8)
    sets = [pictures.PictureSet.of(what, [(["a line"], noise)] * pictures.MOST) for what in "ab"]
    pictures.save(directory.path / "trials" / best.id.slug / "attempt-1", sets)
    report.write(directory, ledger)
    page = Page(directory.report.read_text())
    assert len([tag for tag, attributes in page.tags if tag == "tr" and "data-t" in attributes]) == 300
    assert len([tag for tag, _ in page.tags if tag == "img"]) > pictures.MOST
    assert 100_000 < directory.report.stat().st_size < 400_000
