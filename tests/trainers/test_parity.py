"""The trainer, compared with `helpers.reference.Reference`: an independent second implementation."""

from typing import Any

import pytest
import torch

from tests.helpers.reference import Reference
from tests.helpers.training import METHODS, REVISITED, config
from trainers import Trainer, TrainerConfig
from trainers.data import dataset
from trainers.data.augmentation import ViewAugmenter
from trainers.models.blocks import Dropout

RTOL, ATOL = 1e-10, 1e-13  # of what is reported and of the weights after the last step


@pytest.fixture
def _float64():
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


class Recorded:
    """All that was drawn at random, in order: (indices, view) of each view, and the factors of dropout."""

    def __init__(self) -> None:
        self.views: list[tuple[torch.Tensor, torch.Tensor]] = []
        self.masks: list[torch.Tensor] = []


@pytest.fixture
def recorded(monkeypatch) -> Recorded:
    drawn = Recorded()
    draw, forward = ViewAugmenter.draw, Dropout.forward

    def drawing(self, images, indices):
        views = draw(self, images, indices)
        drawn.views.extend((indices, view) for view in views)
        return views

    def dropping(self, features):
        dropped = forward(self, features)
        if self.training:
            drawn.masks.append((dropped / features).detach())
        return dropped

    monkeypatch.setattr(ViewAugmenter, "draw", drawing)
    monkeypatch.setattr(Dropout, "forward", dropping)
    return drawn


def state(trainer: Trainer) -> dict[str, dict[str, torch.Tensor]]:
    networks = trainer._networks()
    return {
        name: {key: value.clone() for key, value in network.state_dict().items()} for name, network in networks.items()
    }


def assert_recomputed(settings: TrainerConfig, recorded: Recorded, rtol: float, atol: float) -> list[dict[str, float]]:
    """Run the trainer and the reference side by side; return the reports of each step."""
    trainer = Trainer(settings)
    reference = Reference(settings, state(trainer), dataset.load(settings.dataset).train_labels)
    looks = 2 if settings.method in ("mean_teacher", "pi_model") else 1
    reports = []
    for t, report in enumerate(trainer.run()):
        drawn = recorded.views[looks * t : looks * (t + 1)]
        assert all(torch.equal(indices, drawn[0][0]) for indices, _ in drawn)
        masks = iter(recorded.masks[looks * t : looks * (t + 1)])
        expected = reference.step(t, drawn[0][0], [view for _, view in drawn], masks)
        measured = {name: value for name, value in report.metrics.items() if name.startswith("train.")}
        assert measured == pytest.approx(expected, rel=rtol, abs=atol), f"step {t}"
        reports.append(measured)
    assert len(reports) == settings.steps
    for name, network in state(trainer).items():
        for key, value in network.items():
            ours, theirs = value.double(), reference.networks[name][key].double()
            torch.testing.assert_close(ours, theirs, rtol=rtol, atol=atol, msg=lambda m, k=f"{name} {key}": f"{k}: {m}")
    return reports


NOISY = {
    "dataset": REVISITED,
    "augmentation": {"translate": 2, "flip": True, "noise": 0.2},
    "consistency": {"weight": 20.0},
    "steps": 12,
    "evaluate_every": 1,
}
SGD = {"learning_rate": 0.1, "momentum": 0.8, "weight_decay": 0.01}
AUTHORS_ADAM = {
    "name": "adam",
    "warm_up_beta2": 0.99,
    "ramp_down_beta1": 0.5,
    "weight_decay": 0.01,
    "epsilon": 1e-3,
}
UNSUPERVISED, ENSEMBLING, TEACHER = METHODS[1:], METHODS[2:3], METHODS[3:]
VARIATIONS: dict[str, tuple[tuple[str, ...], dict[str, Any]]] = {
    "nesterov": (METHODS, {"optimizer": SGD}),
    "plain momentum": (METHODS, {"optimizer": SGD | {"nesterov": False}}),
    "no decay of norms and biases": (METHODS, {"optimizer": SGD | {"weight_decay_on": "weights"}}),
    "adam": (METHODS, {"optimizer": {"name": "adam", "weight_decay": 0.01}}),
    "the authors' adam": (
        METHODS,
        {
            "optimizer": AUTHORS_ADAM,
            "schedule": {"name": "ramp_down", "ramp_down_steps": 4, "warm_up": "sigmoid", "warm_up_steps": 5},
        },
    ),
    "adamw": (METHODS, {"optimizer": {"name": "adamw", "weight_decay": 0.1, "weight_decay_on": "weights"}}),
    "half cosine after a warm-up": (METHODS, {"schedule": {"warm_up_steps": 4, "warm_up_from": 0.1, "length": 15}}),
    "quarter cosine": (METHODS, {"schedule": {"name": "quarter_cosine"}}),
    "step decay": (METHODS, {"schedule": {"name": "step_decay", "at": [3, 7], "factor": 0.3}}),
    "constant": (METHODS, {"schedule": {"name": "constant"}}),
    "kl": (UNSUPERVISED, {"consistency": {"loss": "kl", "weight": 5.0}}),
    "on the unlabeled": (UNSUPERVISED, {"consistency": {"images": "unlabeled", "weight": 20.0}}),
    "two heads": (UNSUPERVISED, {"consistency": {"heads": 2, "weight": 20.0, "logit_distance_weight": 0.3}}),
    "two heads, kl, on the unlabeled": (
        UNSUPERVISED,
        {"consistency": {"heads": 2, "weight": 5.0, "loss": "kl", "images": "unlabeled"}},
    ),
    "whole batch": (UNSUPERVISED, {"class_loss_normalizer": "whole_batch"}),
    "whole batch, on the unlabeled": (
        UNSUPERVISED,
        {"class_loss_normalizer": "whole_batch", "consistency": {"images": "unlabeled", "weight": 20.0}},
    ),
    "a gradient through both passes": (["pi_model"], {"consistency": {"target_gradient": True, "weight": 20.0}}),
    "kl, a gradient through both passes": (
        ["pi_model"],
        {"consistency": {"target_gradient": True, "loss": "kl", "heads": 2, "weight": 5.0}},
    ),
    "weighted classes": (METHODS, {"class_weights": {"3": 4.0, "5": 0.5}}),
    "weighted classes, whole batch": (
        UNSUPERVISED,
        {"class_weights": {"3": 4.0, "5": 0.5}, "class_loss_normalizer": "whole_batch"},
    ),
    "linear ramp-up": (UNSUPERVISED, {"consistency": {"ramp_up": "linear", "ramp_up_steps": 5, "weight": 20.0}}),
    "no ramp-up": (UNSUPERVISED, {"consistency": {"ramp_up_steps": 0, "weight": 20.0}}),
    "an image twice in a batch": (UNSUPERVISED, {"labeled_batch_fraction": 1.0, "batch_size": 25}),
    "a long ensemble": (ENSEMBLING, {"ensemble": {"decay": 0.9}}),
    "switched ema": (TEACHER, {"ema": {"decay": 0.9, "ramp_up_decay": 0.5}, "consistency": {"ramp_up_steps": 6}}),
    "no average": (TEACHER, {"ema": {"decay": 0.0}}),
    "copied batch norm": (TEACHER, {"teacher": {"mode": "eval", "batch_norm": "copied"}}),
    "averaged batch norm": (TEACHER, {"teacher": {"mode": "eval", "batch_norm": "averaged"}}),
    "independent start": (TEACHER, {"teacher": {"start": "independent"}}),
}
# Of every variation one method is a unit test, the last that it is for; the others are system tests.
CASES = [
    pytest.param(method, of, id=f"{method}, {name}", marks=[pytest.mark.system] if method != on[-1] else [])
    for name, (on, of) in VARIATIONS.items()
    for method in on
]


@pytest.mark.usefixtures("_float64")
@pytest.mark.parametrize(("method", "variation"), CASES)
def test_a_run_in_float64_is_the_algorithm_recomputed(recorded, method, variation):
    assert_recomputed(config(**NOISY | {"method": method} | variation), recorded, RTOL, ATOL)


@pytest.mark.parametrize("method", METHODS)
def test_a_run_in_float32_is_the_algorithm_recomputed_in_float64(recorded, method):
    assert_recomputed(config(**NOISY | {"method": method, "steps": 6}), recorded, rtol=1e-4, atol=1e-5)


@pytest.mark.system
@pytest.mark.usefixtures("_float64")
@pytest.mark.parametrize(("first", "second"), [(0.0, 0.6), (0.6, 0.0), (0.6, None)])
@pytest.mark.parametrize("method", ["pi_model", "mean_teacher"])
def test_the_two_looks_have_noise_and_dropout_of_their_own(recorded, method, first, second):
    settings = config(
        **NOISY
        | {
            "method": method,
            "model": {"name": "small_cnn", "width": 4, "dropout": first},
            "augmentation": {"translate": 0, "noise": first},
            "teacher": {"dropout": second, "noise": second},
        }
    )
    assert_recomputed(settings, recorded, RTOL, ATOL)
    second = first if second is None else second
    for look, strength in enumerate((first, second)):
        dropped = torch.stack(recorded.masks[look::2]) == 0
        assert dropped.double().mean().item() == pytest.approx(strength, abs=0.05)
    views = [torch.stack([view for _, view in recorded.views[look::2]]) for look in (0, 1)]
    assert (views[1] - views[0]).std().item() == pytest.approx((first**2 + second**2) ** 0.5, rel=0.05)


def test_the_teacher_starts_as_a_copy_or_with_weights_of_its_own():
    for start, same in (("copy", True), ("independent", False)):
        networks = state(Trainer(config(teacher={"start": start})))
        weights = [network["features.0.0.weight"] for network in networks.values()]
        assert torch.equal(*weights) is same
