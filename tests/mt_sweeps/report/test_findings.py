"""What `report --json` prints: scripts depend on these keys, as docs/json.md describes them."""

import json

import pytest

from mt_sweeps.report.findings import (
    BaselineFinding,
    BestFinding,
    ClassFinding,
    Cost,
    FailureFinding,
    Findings,
    Reproduction,
    SweepFinding,
)
from mt_sweeps.report.search_findings import (
    Curve,
    Curves,
    GoodChoice,
    GoodRange,
    Importance,
    Parameter,
    Progress,
    TrialFinding,
)
from mt_sweeps.results.finalists import MeanError, Verdict
from mt_sweeps.results.pictures import PictureSet
from mt_sweeps.results.statistics import Comparison, Gain, Interval
from mt_sweeps.results.training_result import FinalModel
from mt_sweeps.spec.arms import TrialId
from mt_sweeps.study.pruner import Correlation

DIFFERENCE = Interval(-0.1, -0.2, -0.05)
FINDINGS = Findings(
    sweep=SweepFinding(
        "digits",
        "finished",
        "validation.teacher_error",
        "error",
        "teacher",
        "mean_teacher",
        300,
        0.0,
        9.0,
        {},
        {"complete": 1},
        1,
        2,
    ),
    verdict=Verdict(
        means={"trial 0": MeanError(0.1, 0.05, 0.15, 5)},
        comparisons=[Comparison("trial 0", "supervised", DIFFERENCE, 0.01, 5)],
        gain=Gain(Interval(0.1, 0.05, 0.2), Interval(0.5, 0.2, 0.8), 5),
        failed={"published": 1},
        images=300,
        kept_back=True,
    ),
    cautions=["a sentence"],
    best=BestFinding(0, "complete", 300, 0.1, {"ema.decay": 0.99}, 0.01),
    search=["the best was drawn at random"],
    baselines={"supervised": BaselineFinding(0.2, 0.02)},
    trained=[FinalModel("search", 0, 0, [], "teacher", 0.1, 0.05, 0.15, 359, "sweeps/trained/digits-0-seed-0")],
    classes=[
        ClassFinding("the best", ["a", "b"], [0.1, None], 0.1, 0.02, 0.8, 0.03, {"classes": 2, "cells": [[0, 0, 9]]})
    ],
    pictures=[PictureSet(title="mistakes", pictures=[])],
    trials=[
        TrialFinding(0, "complete", 300, 0.1, 0.1, "", {"ema.decay": 0.99}),
        TrialFinding(1, "failed", 3, None, None, "diverged", {}),
        TrialFinding(2, "complete", 300, 0.05, 0.05, "", {}),
        TrialFinding(3, "pruned", 90, None, 0.4, "", {}),
    ],
    progress=[Progress(0, "complete", 1.0, 0.0, 0.1, 0.1, 0.1)],
    curves=Curves(1, [90], 60, 0, [Curve("search", 0, [30], [0.2], [None])]),
    parameters=[
        Parameter("ema.decay", "ema.decay", "", "log", [0.9, 0.99], GoodRange(0.95, 0.99), 1),
        Parameter("consistency.loss", "consistency.loss", "", "categorical", ["mse"], [GoodChoice("mse", 1, True)], 1),
    ],
    good=[0],
    importance=Importance("PED-ANOVA", 6, 3, {"ema.decay": 1.0}),
    rungs=[Correlation(90, 0.1, 9)],
    failures=[FailureFinding("diverged", [TrialId("search", 1)], "Diverged: nan")],
    ended_by_hand=[TrialId("supervised", 0)],
    finalists={"trial 0": {10_000: 0.1}},
    cost=[Cost("search", "complete", 1, 300, 1.0, 0.0)],
    reproduction=Reproduction("mt-sweep run spec.yaml", "", {}, {}, "abc", "Linux", "def", 0.0, 2),
)
KEYS = {
    (): "format sweep verdict cautions best search baselines trained classes trials progress curves parameters good "
    "importance rungs failures ended_by_hand finalists cost reproduction",
    ("sweep",): "name state metric error_name network method steps started seconds images states "
    "total finalists ended unstarted",
    ("verdict",): "means comparisons gain failed images kept_back probe ended",
    ("verdict", "means", "trial 0"): "mean low high seeds",
    ("verdict", "comparisons", 0): "a b difference p seeds level after most outcome winner told",
    ("verdict", "comparisons", 0, "difference"): "mean low high",
    ("verdict", "gain"): "absolute relative seeds told",
    ("best",): "trial state step error values standard_error",
    ("baselines", "supervised"): "error standard_error",
    (
        "classes",
        0,
    ): "title classes errors balanced_error balanced_standard_error macro_f1 macro_f1_standard_error confusion",
    ("trained", 0): "arm trial seed changed network error low high images folder",
    ("trials", 0): "trial state step error last_error reason values",
    ("progress", 0): "trial state hours gpu_hours error last_error best",
    ("curves",): "of rungs ramp_up best lines",
    ("curves", "lines", 0): "arm trial step student teacher",
    ("parameters", 0): "key name where scale range good good_trials",
    ("parameters", 0, "good"): "low high",
    ("parameters", 1, "good", 0): "choice trials marked",
    ("importance",): "method complete good shares",
    ("rungs", 0): "rung spearman trials is_guessing",
    ("failures", 0): "reason trials message",
    ("failures", 0, "trials", 0): "arm trial",
    ("ended_by_hand", 0): "arm trial",
    ("cost", 0): "arm state trials steps hours gpu_hours",
    ("reproduction",): "command spec versions seeds data_fingerprint platform id gpus_per_trial concurrent",
}


@pytest.mark.parametrize("path", KEYS, ids=lambda path: ".".join(map(str, path)) or "whole")
def test_the_keys_of_the_json_and_their_order_are_fixed(path):
    part = json.loads(json.dumps(FINDINGS.as_json()))
    for key in path:
        part = part[key]
    assert " ".join(part) == KEYS[path]


def test_the_json_has_the_sentences_and_the_derived_values_of_the_verdict():
    shown = FINDINGS.as_json()
    (comparison,) = shown["verdict"]["comparisons"]
    assert comparison["winner"] == "trial 0"
    assert comparison["told"] == str(FINDINGS.verdict.comparisons[0])
    assert shown["verdict"]["gain"]["told"] == str(FINDINGS.verdict.gain)
    assert shown["rungs"][0]["is_guessing"]
    assert shown["format"] == "mt-sweeps-report/2"


def test_completed_trials_are_sorted_by_their_error():
    assert [trial.trial for trial in FINDINGS.completed] == [2, 0]


def test_a_pruned_trial_is_drawn_at_the_error_of_its_last_report():
    (pruned,) = FINDINGS.pruned
    assert (pruned.trial, pruned.error, pruned.pruned) == (3, 0.4, True)
