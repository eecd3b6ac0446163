"""What a user sees in MLflow and in the report, looked at in a real browser.

With MT_SWEEPS_PICTURES=FOLDER the sweep is really trained, and the pictures are kept there: those of the README are
made by `MT_SWEEPS_PICTURES=docs/images uv run --group dev pytest tests/system/end_to_end/test_pictures.py`.
"""

import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest
from playwright.sync_api import expect, sync_playwright

from mt_sweeps.execution.simulated_trainer import VARIABLE, Script
from mt_sweeps.storage.local import LocalHome
from tests.helpers.command_line import DIGITS, IN_PROCESS, MT_SWEEP, REPOSITORY, mt_sweep
from tests.helpers.live_view import drawn_at
from tests.helpers.servers.common import free_port, wait_for

CHROMIUM = shutil.which("chromium")
KEPT = os.environ.get("MT_SWEEPS_PICTURES")
MORE = ("optimizer.learning_rate", "optimizer.weight_decay", "augmentation.noise") if KEPT else ()
FILE = REPOSITORY / "search_spaces" / "digits.yaml" if KEPT else DIGITS  # fewer keys are drawn sooner
KEYS = (*MORE, "ema.decay", "consistency.loss", "consistency.weight", "labeled_batch_fraction")
ERRORS = ("validation.teacher_error", "validation.student_error")
WINDOW = {"width": 1440, "height": 900}
EVERYTHING = {"width": 2400, "height": 2000} if KEPT else WINDOW  # MLflow draws only what is seen
SECONDS = 60_000  # milliseconds that a page may take

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium: apt-get install chromium")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Where the quick start has run."""
    made = tmp_path_factory.mktemp("work")
    with pytest.MonkeyPatch.context() as patch:
        if KEPT is None:
            patch.setenv(VARIABLE, Script().model_dump_json())
        mt_sweep("run", FILE, *([IN_PROCESS] if KEPT is None else []), folder=made)
    return made


@pytest.fixture(scope="module")
def address(folder):
    """Of the sweep's page, while a server shows it."""
    server = subprocess.Popen(
        [MT_SWEEP, "dashboard", "digits", "--port", str(free_port())], cwd=folder, stdout=subprocess.PIPE, text=True
    )
    assert server.stdout is not None
    line = server.stdout.readline()
    where = line.removeprefix("MLflow starts at ").partition(" ")[0]
    root, _, token = where.partition("#")[0].partition("?token=")
    wait_for(f"{root}health", server, token=token)
    yield where
    server.terminate()
    server.wait(timeout=30)


@pytest.fixture(scope="module")
def browser():
    with sync_playwright() as playwright:
        made = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield made
        made.close()


@pytest.fixture
def page(browser):
    made = browser.new_page(viewport=WINDOW)
    made.set_default_timeout(SECONDS)
    expect.set_options(timeout=SECONDS)
    yield made
    made.close()


@pytest.fixture
def picture(page, tmp_path):
    """Takes one; there is something on it."""

    def take(name):
        file = Path(KEPT or tmp_path) / f"{name}.png"
        page.screenshot(path=file)
        assert file.stat().st_size > 20_000

    return take


def opened(page, address):
    """The page, once MLflow serves it."""
    for _ in range(120):
        try:
            page.goto(address)
            break
        except Exception:  # the server is still starting
            page.wait_for_timeout(500)
    page.get_by_text("mt-sweeps").first.wait_for()


def test_the_dashboard_opens_on_the_trials_best_first_with_errors_and_values(page, address, folder, picture):
    page.set_viewport_size(EVERYTHING)
    opened(page, address)
    for column in (*ERRORS, *KEYS, "mt.state"):
        expect(page.locator(f".ag-header-cell[col-id*='`{column}`']")).to_be_visible()
    expect(page.get_by_role("link", name="trial ", exact=False)).to_have_count(16)
    rows = json.loads(mt_sweep("trials", "digits", "--json", folder=folder).stdout)["trials"]
    searched = {f"trial {row['trial']}": row for row in rows if row["arm"] == "search"}
    best_error = min(row["error"] for row in searched.values() if row["state"] == "complete")
    names = page.locator(".ag-row [col-id*='Run Name'] a").all_inner_texts()
    assert set(names) == searched.keys(), "all trials of the search, and no finalist"
    assert searched[names[0]]["error"] == best_error
    states = [searched[name]["state"] for name in names]
    completed = states.count("complete")
    assert states[:completed] == ["complete"] * completed
    errors = [searched[name]["error"] for name in names[:completed]]
    assert errors == sorted(errors)
    expect(page.locator(".ag-row [col-id*='validation.teacher_error']").first).to_have_text(f"{round(best_error, 4):g}")
    page.set_viewport_size(WINDOW)
    picture("mlflow-runs")


def test_the_plain_address_opens_the_sweeps_for_training_and_links_stay(page, address):
    plain, link = address.partition("?")[0], address.partition("#")[2]
    for_training = page.get_by_role("link", name="Model registry")  # is not among the pages for agents
    opened(page, address.partition("#")[0])
    expect(page.locator(".ag-row [col-id*='Run Name'] a")).to_have_count(16)
    assert page.url.startswith(f"{plain}#{link}"), "there is one sweep"
    expect(for_training).to_be_visible()
    experiment = link.partition("experiments/")[2].partition("/")[0]
    tags = [{"key": key, "value": value} for key, value in (("mt.arm", "sweep"), ("mt.sweep", "b"))]
    second = {"experiment_id": experiment, "run_name": "a second sweep", "start_time": 1, "tags": tags}
    run = page.request.post(f"{plain}api/2.0/mlflow/runs/create", data=second).json()["run"]["info"]["run_id"]
    try:
        page.goto("about:blank")
        page.goto(plain)
        expect(page.locator(".ag-row [col-id*='Run Name'] a")).to_have_text(["digits", "a second sweep"])
        expect(page.locator(".ag-row [col-id*='mt.verdict']").first).to_contain_text("beats supervised by")
    finally:
        page.request.post(f"{plain}api/2.0/mlflow/runs/delete", data={"run_id": run})
    page.locator("a[href='#/']").first.click()
    for _ in range(2):
        expect(page.get_by_text("Welcome to MLflow")).to_be_visible()
        assert page.url == f"{plain}#/"
        expect(for_training).to_be_visible()
        page.reload()
    page.goto("about:blank")
    page.goto(f"{plain}#/experiments/{experiment}/models")
    expect(page.get_by_text("mt-sweeps").first).to_be_visible()
    assert f"#/experiments/{experiment}/models" in page.url


def test_mlflows_assistant_is_closed_until_somebody_opens_it(page, address):
    opened(page, address)
    opener, panel = page.locator("button[data-assistant-ui]").first, page.get_by_role("button", name="Close")
    expect(opener).to_be_visible()
    expect(panel).to_have_count(0)
    opener.click()
    expect(panel).to_be_visible()
    page.reload()
    expect(panel).to_be_visible()


def test_the_charts_of_the_view_are_drawn(page, address, picture):
    page.set_viewport_size(EVERYTHING)
    opened(page, f"{address}&compareRunsMode=CHART")
    expect(page.get_by_text("Sweep digits").first).to_be_visible()
    parallel = page.locator(".parcoords")
    expect(parallel.locator("canvas.foreground")).to_be_visible()
    expect(parallel.locator(".dimension")).to_have_count(len(KEYS) + 1)  # and the error
    expect(page.locator(".js-plotly-plot")).to_have_count(1 + len(KEYS))  # the curves, and the error over each key
    curves, *_ = page.locator(".js-plotly-plot").all()
    expect(curves.locator(".scatterlayer .trace").nth(15)).to_be_attached()  # a curve per trial; MLflow's own has ten
    page.set_viewport_size(WINDOW)
    opened(page, f"{address}&compareRunsMode=CHART")  # the coordinates are drawn for the size that the page then has
    expect(parallel.locator("canvas.foreground")).to_be_visible()
    picture("mlflow-parallel")


def test_the_sweeps_own_page_begins_with_the_verdict_and_links_to_the_rest(page, address, picture):
    experiment = address.partition("/experiments/")[2].partition("/")[0]
    run = runs_of(page, address, experiment)["digits"]
    opened(page, f"{address.partition('#')[0]}#/experiments/{experiment}/runs/{run}?workflowType=machine_learning")
    expect(page.get_by_text("beats supervised by").first).to_be_visible()
    for link in ("all trials, best first", "charts", "report", "best values"):
        expect(page.get_by_role("link", name=link, exact=True)).to_be_visible()
    for key in KEYS:
        expect(page.get_by_text(key, exact=True).first).to_be_visible()
    for metric in ("trials.complete", "verdict.gain", "validation.teacher_error"):
        expect(page.get_by_text(metric, exact=True).first).to_be_visible()
    picture("mlflow-sweep")
    page.goto(f"{address.partition('#')[0]}{page.get_by_role('link', name='report', exact=True).get_attribute('href')}")
    expect(page.frame_locator("iframe").get_by_text("beats supervised").first).to_be_visible()


def test_the_report_shows_the_verdict_first_and_every_figure(page, folder, picture):
    errors = []
    page.on("pageerror", lambda error: errors.append(error.message))
    page.on("request", lambda request: errors.append(request.url) if request.url.startswith("http") else None)
    page.goto((folder / "sweeps" / "digits" / "report.html").as_uri())
    expect(page.get_by_text("beats supervised").first).to_be_visible()
    figures = page.locator("svg.plot")
    expect(figures.first).to_be_visible()
    assert figures.count() >= 6
    page.set_viewport_size({"width": 1100, "height": 1500})
    page.wait_for_timeout(500)
    picture("report")
    page.set_viewport_size({"width": 360, "height": 800})
    page.wait_for_timeout(500)
    assert page.evaluate("document.documentElement.scrollWidth") <= 360, "nobody scrolls sideways on a phone"
    assert errors == []


@pytest.mark.parametrize("width", [60, 80, 120, 160])
@pytest.mark.parametrize("share", [0.02, 0.2, 0.5, 0.8, 0.99])
def test_the_live_view_fits_its_terminal_at_any_moment(folder, share, width, tmp_path):
    text, svg = drawn_at(LocalHome(folder / "sweeps").sweep("digits"), share, width)
    lines = text.splitlines()
    assert all(len(line.rstrip()) <= width for line in lines)
    assert len(lines) <= 30
    assert lines[0].startswith("digits  ")
    assert any(line.startswith("search      ") and " of 16 trials" in line for line in lines)
    assert "http" not in svg.replace("http://www.w3.org/2000/svg", "")
    (tmp_path / "view.txt").write_text(text)
    if KEPT is not None and (share, width) == (0.5, 120):
        (Path(KEPT) / "run.svg").write_text(svg)


def runs_of(page, address, experiment):
    link = address.partition("#")[0]
    page.request.get(link)  # logs in
    answer = page.request.post(
        f"{link.partition('?')[0]}api/2.0/mlflow/runs/search", data={"experiment_ids": [experiment], "max_results": 100}
    )
    return {run["info"]["run_name"]: run["info"]["run_id"] for run in answer.json()["runs"]}
