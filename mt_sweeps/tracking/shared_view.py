"""The saved views in MLflow's table of runs: of a sweep, its trials best first and their charts; and of all sweeps.

MLflow keeps the views that people share as tags of an experiment, and opens the one that a link names. Neither the name
of the tag nor its content is documented: tests/system/end_to_end/test_pictures.py opens the view in a browser.
"""

import json
from typing import Any

from mt_sweeps.spec.sweep_spec import SweepSpec
from trainers.report import metric_of

_PREFIX = "mlflow.sharedViewState."
MOST_CHARACTERS = 5000  # that an experiment tag of MLflow holds
ALL_SWEEPS = "sweeps"  # stands for the id of a sweep in the tag of the view of all
_SECTION = "mt-sweeps"
_MOST_RUNS = 100  # that MLflow draws in a chart
_RUN_NAME, _NAME_WIDTH = "attributes.`Run Name`", 110


def tag_of(sweep: str) -> str:
    """Return the name of the experiment tag that holds the view of a sweep, by the id of the sweep."""
    return f"{_PREFIX}{sweep}"


def view_page(experiment: str, sweep: str, charts: bool = False) -> str:
    """Return the page of a view, as it stands behind `#/` in MLflow's addresses.

    Args:
        experiment: its id in MLflow.
        sweep: the id of the sweep.
        charts: show the charts, not the table.
    """
    mode = "&compareRunsMode=CHART" if charts else ""
    return f"{runs_page(experiment)}&viewStateShareKey={sweep}{mode}"


def runs_page(experiment: str) -> str:
    """Return the page of all runs of an experiment."""
    return _in_training_mode(f"experiments/{experiment}/runs")


def sweeps_page(experiment: str) -> str:
    """Return the page of all sweeps of an experiment."""
    return view_page(experiment, ALL_SWEEPS)


def run_page(experiment: str, run: str, file: str = "") -> str:
    """Return the page of a run, or of one of its files."""
    return _in_training_mode(f"experiments/{experiment}/runs/{run}" + (f"/artifacts/{file}" if file else ""))


def _in_training_mode(page: str) -> str:
    return f"{page}?workflowType=machine_learning"  # else MLflow shows its side bar for agents


def final_metric(metric: str) -> str:
    """Return the metric that completed trials alone have: what a pruned one had at a rung is no final error."""
    return f"final.{metric.partition('.')[2]}"


def view_text(spec: SweepSpec, parent: str) -> str:
    """Return the view of a sweep, as JSON of at most `MOST_CHARACTERS`.

    Where not everything fits, the charts of the last searched keys are left out, then their columns.

    Args:
        spec: of the sweep.
        parent: the id of the sweep's run.
    """
    keys = [key for key in spec.space().entries if not key.startswith("class_weights.")]
    for charts in range(len(keys), -1, -1):
        text = _as_json(_content(spec, parent, keys, keys[:charts]))
        if len(text) <= MOST_CHARACTERS:
            return text
    while len(text) > MOST_CHARACTERS:
        keys = keys[:-1]
        text = _as_json(_content(spec, parent, keys, []))
    return text


def sweeps_view_text() -> str:
    """Return the view of all sweeps of an experiment, the newest first, as JSON."""
    verdicts = [f"metrics.`verdict.{name}`" for name in ("best_error", "supervised_error", "gain")]
    shown = ["tags.`mt.state`", "tags.`mt.verdict`", *verdicts, "metrics.`trials.complete`"]
    content = _table("tags.mt.arm = 'sweep'", "attributes.start_time", False, shown, {"tags.`mt.verdict`": 620})
    return _as_json(content)


def _as_json(content: dict[str, Any]) -> str:
    return json.dumps(content, separators=(",", ":"))


def _content(spec: SweepSpec, parent: str, columns: list[str], charts: list[str]) -> dict[str, Any]:
    metric = spec.metric
    other = metric_of(metric, "teacher" if spec.network == "student" else "student")
    has_teacher = spec.trainer.get("method", "mean_teacher") == "mean_teacher"
    metrics = [metric, other] if has_teacher else [metric]
    shown = [
        "tags.`mt.state`",
        *(f"metrics.`{name}`" for name in metrics),
        *(f"params.`{key}`" for key in columns),
        "tags.`mt.reason`",
    ]
    trials = f"tags.mlflow.parentRunId = '{parent}' and tags.mt.arm = 'search'"
    return {
        **_table(trials, f"metrics.`{final_metric(metric)}`", True, shown, {}),
        "runsHiddenMode": "SHOW_ALL",  # else the charts show ten runs
        "compareRunSections": [
            {"uuid": _SECTION, "name": f"Sweep {spec.name}", "display": True, "isReordered": False}
            | {"deleted": False, "isGenerated": False}
        ],
        "compareRunCharts": [
            _chart("PARALLEL", selectedParams=columns, selectedMetrics=[metric], showAllRuns=True),
            _chart(
                "LINE",
                metricKey=metric,
                selectedMetricKeys=[metric],
                xAxisKey="step",
                xAxisScaleType="linear",
                yAxisKey="metric",
                scaleType="log",
                lineSmoothness=0,
                selectedYAxisMetricKeys=[metric],
            ),
            *(
                _chart("SCATTER", key, xaxis={"key": key, "type": "PARAM"}, yaxis={"key": metric, "type": "METRIC"})
                for key in charts
            ),
        ],
    }


def _table(runs: str, order: str, ascending: bool, columns: list[str], widths: dict[str, int]) -> dict[str, Any]:
    """Return the part of a view that its table is made of.

    Args:
        runs: a search that finds them.
        order: the column that they are ordered by.
        ascending: whether the lowest is first.
        columns: that are shown beside the run's name and its duration.
        widths: of columns that are wider than their name, in pixels.
    """
    own = {_RUN_NAME: _NAME_WIDTH} | {column: _width(column.split("`")[1]) for column in columns}
    return {
        "searchFilter": runs,
        "orderByKey": order,
        "orderByAsc": ascending,
        "startTime": "ALL",
        "lifecycleFilter": "Active",
        "modelVersionFilter": "All Runs",
        "datasetsFilter": [],
        "selectedColumns": [*columns, "attributes.`Duration`"],
        "columnOrder": [_RUN_NAME, *columns],
        "columnWidths": own | widths,
    }


def _width(name: str) -> int:
    """Return the pixels that a column of this name takes, so that its name is not cut off."""
    return max(80, 7 * len(name) + 28)


def _chart(kind: str, name: str = "", **settings: Any) -> dict[str, Any]:
    common = {"type": kind, "uuid": f"{kind}{name}", "runsCountToCompare": _MOST_RUNS, "metricSectionId": _SECTION}
    return common | {"deleted": False, "isGenerated": False} | settings
