"""Targets, compared with numpy in float64. Each network is a linear layer on the pixels, to be computed by hand."""

import copy
import io
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from tests.helpers.training import config
from trainers.methods import MeanTeacher, PiModel, Supervised, TemporalEnsembling
from trainers.models import Network
from trainers.models.blocks import Dropout
from trainers.timetable import Now, Timetable

WIDTH, CLASSES, BATCH = 6, 3, 20
INDICES = torch.arange(BATCH)


def softmax(logits: np.ndarray) -> np.ndarray:
    powers = np.exp(logits - logits.max(1, keepdims=True))
    return powers / powers.sum(1, keepdims=True)


def view(seed: int) -> torch.Tensor:
    return torch.from_numpy(np.random.default_rng(seed).normal(1, 2, size=(BATCH, 1, 2, 3)))


def network(*layers: nn.Module, heads: int = 1) -> Network:
    torch.manual_seed(0)
    return Network(nn.Sequential(nn.Flatten(), *layers), WIDTH, CLASSES, heads).double()


def classified(net: Network, features: np.ndarray) -> np.ndarray:
    """The probabilities that the classifier gives."""
    weight, bias = (tensor.detach().numpy() for tensor in (net.classifier.weight, net.classifier.bias))
    return softmax(features.reshape(BATCH, WIDTH) @ weight.T + bias)


def transparent(dropout: float) -> Network:
    """A network whose logits are its pixels after dropout: they show the mask."""
    net = Network(nn.Sequential(nn.Flatten(), Dropout(dropout)), 1000, 1000, 1)
    nn.init.eye_(net.classifier.weight)
    nn.init.zeros_(net.classifier.bias)
    return net


ONES = torch.ones(BATCH, 1, 1, 1000)


def dropped(probabilities: torch.Tensor) -> torch.Tensor:
    """Return which logits a transparent network dropped: they have the lower of two probabilities."""
    return probabilities < probabilities.mean(1, keepdim=True) * 0.999


def share(mask: torch.Tensor) -> float:
    return mask.double().mean().item()


def now(step: int, **settings: Any) -> Now:
    """Return the scheduled values of a step; `step` counts from 1."""
    torch.set_default_dtype(torch.float64)
    timetable = Timetable(config(**settings), torch.device("cpu"))
    timetable.plan(step - 1, 1)
    torch.set_default_dtype(torch.float32)
    return timetable.next()


# --- supervised


def test_a_supervised_run_has_no_target_no_teacher_and_one_look():
    method = Supervised()
    assert (method.target(INDICES), method.teacher, method.needs_second_view) == (None, None, False)
    method.after_step(now(1), INDICES, torch.zeros(BATCH, CLASSES))
    assert method.state_dict() == {}


# --- the Pi-model


@pytest.mark.parametrize("heads", [1, 2])
def test_the_target_of_the_pi_model_is_what_the_students_first_head_says_of_the_second_view(heads):
    student = network(heads=heads)
    target = PiModel(student, (0.0, 0.0)).target(INDICES, view(2))
    np.testing.assert_allclose(target.probabilities.numpy(), classified(student, view(2).numpy()), rtol=0, atol=1e-14)
    assert target.known is None


def test_the_pi_model_needs_a_second_view_and_has_no_teacher():
    method = PiModel(network(), (0.0, 0.0))
    assert method.needs_second_view
    assert method.teacher is None
    method.after_step(now(1), INDICES, torch.zeros(BATCH, CLASSES))
    assert method.state_dict() == {}


def test_no_gradient_flows_into_the_target_of_the_pi_model():
    assert not PiModel(network(), (0.0, 0.0)).target(INDICES, view(2)).probabilities.requires_grad


def test_with_a_target_gradient_the_pi_model_learns_through_both_passes():
    student = network()
    PiModel(student, (0.0, 0.0), target_gradient=True).target(INDICES, view(2)).probabilities[:, 0].sum().backward()
    assert student.classifier.weight.grad.abs().sum() > 0


@pytest.mark.parametrize(("first", "second"), [(0.0, 0.5), (0.5, 0.25), (0.25, 0.0)])
def test_the_second_look_of_the_pi_model_has_its_own_dropout_and_the_first_keeps_its(first, second):
    torch.manual_seed(0)
    student = transparent(first)
    method = PiModel(student, (first, second))
    for _ in range(3):
        assert share(dropped(student(ONES).softmax(1))) == pytest.approx(first, abs=0.02)
        assert share(dropped(method.target(INDICES, ONES).probabilities)) == pytest.approx(second, abs=0.02)


def test_the_two_passes_of_the_pi_model_drop_independently():
    torch.manual_seed(0)
    student = transparent(0.5)
    first = dropped(student(ONES).softmax(1))
    second = dropped(PiModel(student, (0.5, 0.5)).target(INDICES, ONES).probabilities)
    assert share(first & second) == pytest.approx(0.25, abs=0.02)


def test_the_first_look_of_the_pi_model_can_still_be_differentiated_after_the_second():
    torch.manual_seed(0)
    student, pixels = transparent(0.5), ONES.clone().requires_grad_()
    logits = student(pixels)
    PiModel(student, (0.5, 0.75)).target(INDICES, ONES)
    logits.sum().backward()
    assert torch.equal(pixels.grad.flatten(1), logits.detach())  # the mask times 2, of the first look


def test_both_passes_of_the_pi_model_update_the_statistics_of_the_student():
    student = network(nn.BatchNorm1d(WIDTH))
    method, mean = PiModel(student, (0.0, 0.0)), np.zeros(WIDTH)
    for step in range(3):
        for look in (view(2 * step), view(2 * step + 1)):
            mean = 0.9 * mean + 0.1 * look.numpy().reshape(BATCH, WIDTH).mean(0)
        student(view(2 * step))
        method.target(INDICES, view(2 * step + 1))
    np.testing.assert_allclose(student.features[1].running_mean.numpy(), mean, rtol=0, atol=1e-14)


# --- temporal ensembling


IMAGES = 30


def ensembling(decay: float = 0.6, images: int = IMAGES, dtype: torch.dtype = torch.float64) -> TemporalEnsembling:
    return TemporalEnsembling(images, CLASSES, decay, 7, torch.zeros(0, dtype=dtype))


def batches(n: int, seed: int = 0) -> list[tuple[np.ndarray, np.ndarray]]:
    """Return (images, logits) of n batches of 20. Of the 30 images, ten are in no batch, and some twice in one."""
    rng = np.random.default_rng(seed)
    return [(rng.integers(0, 20, BATCH), rng.normal(0, 2, (BATCH, CLASSES))) for _ in range(n)]


def predictions_by_image(seen: list[tuple[np.ndarray, np.ndarray]]) -> list[list[np.ndarray]]:
    """Return the predictions of each image, batch by batch: their mean, if it was in a batch more than once."""
    predictions: list[list[np.ndarray]] = [[] for _ in range(IMAGES)]
    for images, logits in seen:
        for image in set(images.tolist()):
            predictions[image].append(softmax(logits)[images == image].mean(0))
    return predictions


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
@pytest.mark.parametrize("decay", [0.0, 0.6, 0.95])
def test_the_target_of_temporal_ensembling_is_the_bias_corrected_average_of_each_images_past(decay, dtype):
    method, seen = ensembling(decay, dtype=dtype), batches(12)
    assert any(len(set(images.tolist())) < BATCH for images, _ in seen)
    for k, (images, logits) in enumerate(seen):
        target = method.target(torch.from_numpy(images))
        earlier = predictions_by_image(seen[:k])
        for row, image in enumerate(images):
            n = len(earlier[image])
            assert target.known[row] == (n > 0)
            # Z = sum of (1 - decay) decay^(age) z, divided by 1 - decay^n (Laine & Aila 2017, algorithm 2)
            terms = [(1 - decay) * decay ** (n - 1 - i) * z for i, z in enumerate(earlier[image])]
            expected = sum(terms, np.zeros(CLASSES)) / (1 - decay**n) if n else np.zeros(CLASSES)
            atol = 1e-14 if dtype == torch.float64 else 1e-6
            np.testing.assert_allclose(target.probabilities[row].numpy(), expected, rtol=0, atol=atol)
        method.after_step(now(k + 1), torch.from_numpy(images), torch.from_numpy(logits).to(dtype))
    counts = {len(predictions) for predictions in predictions_by_image(seen)}
    assert 0 in counts
    assert max(counts) >= 8


def test_targets_of_temporal_ensembling_are_probabilities_from_the_first_update_on():
    method = ensembling(0.99)
    for k, (images, logits) in enumerate(batches(5)):
        method.after_step(now(k + 1), torch.from_numpy(images), torch.from_numpy(logits))
        sums = method.target(torch.from_numpy(images)).probabilities.sum(1)
        np.testing.assert_allclose(sums.numpy(), 1, rtol=1e-13)


def test_an_image_that_was_never_seen_has_no_target():
    method = ensembling()
    method.after_step(now(1), torch.arange(10), torch.randn(10, CLASSES).double())
    target = method.target(torch.tensor([3, 25, 9, 29]))
    assert target.known.tolist() == [1, 0, 1, 0]
    assert torch.isfinite(target.probabilities).all()


def test_an_image_that_is_twice_in_a_batch_is_one_look_with_the_mean_of_both():
    method = ensembling(0.5)
    logits = torch.tensor([[0.0, 1.0, 2.0], [5.0, 0.0, 0.0], [0.0, 0.0, 4.0]]).double()
    method.after_step(now(1), torch.tensor([4, 2, 4]), logits)
    p = softmax(logits.numpy())
    target = method.target(torch.tensor([4, 2])).probabilities.numpy()
    np.testing.assert_allclose(target, [(p[0] + p[2]) / 2, p[1]], rtol=0, atol=1e-15)
    later = torch.tensor([[3.0, 0.0, 0.0]]).double()
    method.after_step(now(2), torch.tensor([4]), later)
    expected = (0.25 * (p[0] + p[2]) / 2 + 0.5 * softmax(later.numpy())[0]) / 0.75
    np.testing.assert_allclose(method.target(torch.tensor([4])).probabilities[0].numpy(), expected, rtol=0, atol=1e-15)


def test_temporal_ensembling_looks_once_and_has_targets_after_an_epoch():
    method = ensembling()
    assert (method.needs_second_view, method.teacher, method.first_target_step) == (False, None, 7)


def test_no_gradient_flows_into_the_targets_of_temporal_ensembling_nor_out_of_them():
    method = ensembling()
    method.after_step(now(1), INDICES, torch.randn(BATCH, CLASSES).double().requires_grad_())
    assert not method.target(INDICES).probabilities.requires_grad


def test_a_target_that_was_taken_does_not_change_with_later_looks():
    method = ensembling()
    images, logits = (torch.from_numpy(part) for part in batches(1)[0])
    method.after_step(now(1), images, logits)
    target = method.target(images)
    before = target.probabilities.clone()
    method.after_step(now(2), images, -logits)
    assert torch.equal(target.probabilities, before)


def test_temporal_ensembling_goes_on_from_a_saved_state_as_if_it_had_never_stopped():
    method, seen = ensembling(), batches(12)
    for k, (images, logits) in enumerate(seen[:5]):
        method.after_step(now(k + 1), torch.from_numpy(images), torch.from_numpy(logits))
    file = io.BytesIO()
    torch.save(method.state_dict(), file)
    resumed = ensembling()
    resumed.load_state_dict(torch.load(io.BytesIO(file.getvalue()), weights_only=True))
    for k, (images, logits) in enumerate(seen[5:]):
        for one in (method, resumed):
            one.after_step(now(k + 6), torch.from_numpy(images), torch.from_numpy(logits))
        ours, theirs = (one.target(torch.arange(IMAGES)) for one in (method, resumed))
        assert torch.equal(ours.probabilities, theirs.probabilities)
        assert torch.equal(ours.known, theirs.known)


# --- Mean Teacher


def mean_teacher(student: Network, teacher: dict[str, Any], **changes: Any) -> MeanTeacher:
    return MeanTeacher(student, copy.deepcopy(student), config(teacher=teacher, **changes))


@pytest.mark.parametrize("heads", [1, 2])
def test_the_target_of_mean_teacher_is_what_the_teachers_first_head_says_of_the_second_view(heads):
    method = mean_teacher(network(heads=heads), {})
    nn.init.normal_(method.teacher.classifier.weight)
    target = method.target(INDICES, view(2))
    expected = classified(method.teacher, view(2).numpy())
    np.testing.assert_allclose(target.probabilities.numpy(), expected, rtol=0, atol=1e-14)
    assert target.known is None
    assert method.needs_second_view


def test_no_gradient_reaches_the_teacher_and_every_one_the_student():
    student = network(heads=2)
    method = mean_teacher(student, {})
    assert not any(parameter.requires_grad for parameter in method.teacher.parameters())
    assert all(parameter.requires_grad for parameter in student.parameters())
    assert not method.target(INDICES, view(2)).probabilities.requires_grad


def test_after_a_step_the_teacher_has_moved_by_the_decay_that_is_reported():
    student = network()
    switched = {"ema": {"decay": 0.9, "ramp_up_decay": 0.6}, "consistency": {"ramp_up_steps": 4}}
    method = mean_teacher(student, {}, **switched)
    expected = student.classifier.weight.detach().numpy().copy()
    for step, decay in enumerate([1 / 2, 0.6, 0.6, 0.6, 5 / 6, 6 / 7, 7 / 8, 8 / 9, 0.9, 0.9], start=1):
        nn.init.normal_(student.classifier.weight)
        method.after_step(now(step, **switched), INDICES, torch.zeros(BATCH, CLASSES))
        reported = Timetable(config(**switched), torch.device("cpu")).metrics(step - 1)["train.ema_decay"]
        assert reported == pytest.approx(decay, rel=1e-14)
        expected = decay * expected + (1 - decay) * student.classifier.weight.detach().numpy()
        np.testing.assert_allclose(method.teacher.classifier.weight.numpy(), expected, rtol=0, atol=1e-14)


def statistics(features: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the statistics that batch norm takes of a batch: its mean, and its unbiased variance."""
    return features.mean(0), features.var(0, ddof=1)


def normalised(features: np.ndarray, mean: np.ndarray, variance: np.ndarray) -> np.ndarray:
    return (features - mean) / np.sqrt(variance + 1e-5)


def test_a_teacher_in_train_mode_normalises_by_its_batch_and_keeps_statistics_of_its_own_batches():
    student = network(nn.BatchNorm1d(WIDTH))
    method = mean_teacher(student, {"mode": "train", "batch_norm": "own"})
    mean, variance = np.zeros(WIDTH), np.ones(WIDTH)
    for step in range(3):
        student(view(10 + step))
        target = method.target(INDICES, view(step))
        features = view(step).numpy().reshape(BATCH, WIDTH)
        expected = classified(method.teacher, normalised(features, features.mean(0), features.var(0)))
        np.testing.assert_allclose(target.probabilities.numpy(), expected, rtol=0, atol=1e-13)
        mean, variance = (
            0.9 * old + 0.1 * new for old, new in zip((mean, variance), statistics(features), strict=True)
        )
        method.after_step(now(step + 1), INDICES, torch.zeros(BATCH, CLASSES))
    norm = method.teacher.features[1]
    np.testing.assert_allclose(norm.running_mean.numpy(), mean, rtol=0, atol=1e-14)
    np.testing.assert_allclose(norm.running_var.numpy(), variance, rtol=0, atol=1e-13)


@pytest.mark.parametrize("batch_norm", ["copied", "averaged"])
def test_a_teacher_in_eval_mode_normalises_by_the_students_statistics(batch_norm):
    # Statistics that stay as they began are the mistake that made others' teachers worse than their students.
    student = network(nn.BatchNorm1d(WIDTH))
    method = mean_teacher(student, {"mode": "eval", "batch_norm": batch_norm}, ema={"decay": 0.7})
    ours = theirs = (np.zeros(WIDTH), np.ones(WIDTH))
    for step in range(6):
        target = method.target(INDICES, view(step))
        expected = classified(method.teacher, normalised(view(step).numpy().reshape(BATCH, WIDTH), *ours))
        np.testing.assert_allclose(target.probabilities.numpy(), expected, rtol=0, atol=1e-13)
        student(view(10 + step))
        of_batch = statistics(view(10 + step).numpy().reshape(BATCH, WIDTH))
        theirs = tuple(0.9 * old + 0.1 * new for old, new in zip(theirs, of_batch, strict=True))
        decay = min(1 - 1 / (step + 2), 0.7) if batch_norm == "averaged" else 0.0
        ours = tuple(decay * old + (1 - decay) * new for old, new in zip(ours, theirs, strict=True))
        method.after_step(now(step + 1, ema={"decay": 0.7}), INDICES, torch.zeros(BATCH, CLASSES))
    assert np.abs(ours[0]).min() > 0.1  # they have moved


def test_a_teacher_in_eval_mode_drops_nothing():
    method = mean_teacher(transparent(0.5), {"mode": "eval", "batch_norm": "copied"})
    np.testing.assert_allclose(method.target(INDICES, ONES).probabilities, 1 / 1000, rtol=1e-5)


@pytest.mark.parametrize(("teacher", "share_of_teacher"), [({}, 0.5), ({"dropout": 0.25}, 0.25), ({"dropout": 0.0}, 0)])
def test_the_teacher_has_its_own_dropout_or_else_that_of_the_student(teacher, share_of_teacher):
    torch.manual_seed(0)
    student = transparent(0.5)
    method = mean_teacher(student, teacher)
    assert share(dropped(method.target(INDICES, ONES).probabilities)) == pytest.approx(share_of_teacher, abs=0.02)
    assert share(dropped(student(ONES).softmax(1))) == pytest.approx(0.5, abs=0.02)


def test_student_and_teacher_drop_independently():
    torch.manual_seed(0)
    student = transparent(0.5)
    method = mean_teacher(student, {})
    ours, theirs = dropped(student(ONES).softmax(1)), dropped(method.target(INDICES, ONES).probabilities)
    assert share(ours & theirs) == pytest.approx(0.25, abs=0.02)
