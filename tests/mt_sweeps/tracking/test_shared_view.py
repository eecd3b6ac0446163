import json

from mt_sweeps.tracking.shared_view import (
    MOST_CHARACTERS,
    final_metric,
    sweeps_page,
    sweeps_view_text,
    view_page,
    view_text,
)
from tests.helpers.sweeps import digits


def view(*overrides):
    return json.loads(view_text(digits(*overrides), "the-parent"))


def test_the_view_has_the_errors_and_every_searched_key_as_a_column_and_a_chart():
    made = view()
    keys = {"ema.decay", "consistency.loss", "consistency.weight", "labeled_batch_fraction"}
    assert made["selectedColumns"][1:3] == ["metrics.`validation.teacher_error`", "metrics.`validation.student_error`"]
    assert {f"params.`{key}`" for key in keys} | {"tags.`mt.state`"} <= set(made["selectedColumns"])
    charts = made["compareRunCharts"]
    assert [chart["type"] for chart in charts] == ["PARALLEL", "LINE", *["SCATTER"] * 4]
    assert {chart["xaxis"]["key"] for chart in charts[2:]} == set(charts[0]["selectedParams"]) == keys
    assert "the-parent" in made["searchFilter"]


def test_the_best_is_first_by_the_error_that_completed_trials_alone_have():
    made = view("objective.metric=validation.student_balanced_error")
    assert made["orderByKey"] == "metrics.`final.student_balanced_error`"
    assert made["orderByAsc"]
    assert made["selectedColumns"][1] == "metrics.`validation.student_balanced_error`"
    assert final_metric("validation.teacher_error") == "final.teacher_error"


def test_a_method_without_a_teacher_has_the_students_error_alone():
    spec = digits().model_copy(update={"trainer": {**digits().trainer, "method": "pi_model"}})
    columns = json.loads(view_text(spec, "a"))["selectedColumns"]
    assert "metrics.`validation.student_error`" in columns
    assert "metrics.`validation.teacher_error`" not in columns


def test_where_a_view_does_not_fit_charts_are_left_out_first_and_then_columns():
    entries = digits().search_space
    for count, has_all_columns in ((20, True), (200, False)):
        more = {f"augmentation.setting_{i:03d}": entries["ema.decay"] for i in range(count)}
        text = view_text(digits().model_copy(update={"search_space": more}), "a")
        made = json.loads(text)
        columns = [column for column in made["selectedColumns"] if column.startswith("params.")]
        assert len(text) <= MOST_CHARACTERS
        assert (len(columns) == count) == has_all_columns
        assert len(made["compareRunCharts"]) < 2 + count


def test_the_page_of_a_view_is_that_of_its_sweep():
    assert view_page("3", "abc") == "experiments/3/runs?workflowType=machine_learning&viewStateShareKey=abc"
    assert view_page("3", "abc", charts=True) == f"{view_page('3', 'abc')}&compareRunsMode=CHART"


def test_the_view_of_all_sweeps_has_a_row_per_sweep_with_its_verdict_the_newest_first():
    made = json.loads(sweeps_view_text())
    assert made["searchFilter"] == "tags.mt.arm = 'sweep'"
    assert (made["orderByKey"], made["orderByAsc"]) == ("attributes.start_time", False)
    assert {"tags.`mt.verdict`", "metrics.`verdict.gain`"} <= set(made["selectedColumns"])
    assert sweeps_page("3") == "experiments/3/runs?workflowType=machine_learning&viewStateShareKey=sweeps"
