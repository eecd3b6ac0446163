"""Losses, compared with numpy in float64. The tolerance is relative to the largest value of a result."""

import numpy as np
import pytest
import torch

from trainers import losses

IMAGES, CLASSES = 7, 4
TOLERANCES = {torch.float64: 1e-13, torch.float32: 2e-6}


def softmax(logits: np.ndarray) -> np.ndarray:
    powers = np.exp(logits - logits.max(1, keepdims=True))
    return powers / powers.sum(1, keepdims=True)


def assert_close(result: torch.Tensor, expected: np.ndarray) -> None:
    assert np.abs(expected).max() > 0.01  # or the test could not tell
    atol = TOLERANCES[result.dtype] * np.abs(expected).max()
    np.testing.assert_allclose(result.detach().double().numpy(), expected, rtol=0, atol=atol)


@pytest.fixture
def logits() -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    return 2 * rng.normal(size=(IMAGES, CLASSES)), 2 * rng.normal(size=(IMAGES, CLASSES))


@pytest.fixture(params=TOLERANCES, ids=str)
def tensors(logits, request) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the logits of the student and the probabilities of its target; both require a gradient."""
    values = logits[0], softmax(logits[1])
    student, target = (torch.tensor(value, dtype=request.param, requires_grad=True) for value in values)
    return student, target


# --- classification


LABELS = np.array([0, 1, 2, 3, 0, 1, 2])


def test_classification_is_the_mean_of_the_cross_entropies(logits, tensors):
    expected = -np.log(softmax(logits[0])[np.arange(IMAGES), LABELS]).mean()
    assert_close(losses.classification(tensors[0], torch.from_numpy(LABELS)), expected)


def test_the_gradient_of_classification_is_the_derivative(logits, tensors):
    losses.classification(tensors[0], torch.from_numpy(LABELS)).backward()
    assert_close(tensors[0].grad, (softmax(logits[0]) - np.eye(CLASSES)[LABELS]) / IMAGES)


@pytest.mark.parametrize("divisor", ["weights", "count"])
def test_weighted_classification_divides_by_the_weights_of_the_images_or_by_their_number(logits, tensors, divisor):
    weights = np.array([1.0, 0.5, 2.0, 3.0])
    of_images = weights[LABELS]
    entropies = -np.log(softmax(logits[0])[np.arange(IMAGES), LABELS])
    expected = (of_images * entropies).sum() / (of_images.sum() if divisor == "weights" else IMAGES)
    of_classes = torch.tensor(weights, dtype=tensors[0].dtype)
    assert_close(losses.classification(tensors[0], torch.from_numpy(LABELS), of_classes, divisor), expected)


# --- consistency


def test_mse_is_of_each_image_the_mean_over_classes_of_the_squared_difference_of_probabilities(logits, tensors):
    p, q = map(softmax, logits)
    assert_close(losses.mse(*tensors), ((p - q) ** 2).sum(1) / CLASSES)


def test_mse_of_certain_and_opposed_predictions_is_two_over_the_classes():
    student, target = torch.tensor([[100.0, 0, 0, 0]]), torch.tensor([[0, 0, 1.0, 0]])
    assert losses.mse(student, target).item() == pytest.approx(2 / CLASSES, rel=1e-6)


def test_kl_is_of_each_image_that_of_the_student_from_the_target_and_not_the_reverse(logits, tensors):
    p, q = map(softmax, logits)
    forward, reverse = ((a * np.log(a / b)).sum(1) for a, b in ((q, p), (p, q)))
    assert np.abs(forward - reverse).max() > 0.01  # or the test could not tell
    assert_close(losses.kl(*tensors), forward)


def test_kl_of_certain_and_opposed_predictions_is_finite():
    student, target = torch.tensor([[200.0, 0]], requires_grad=True), torch.tensor([[0, 1.0]])
    loss = losses.kl(student, target)
    loss.sum().backward()
    assert loss.item() == pytest.approx(200, rel=1e-6)
    assert student.grad.tolist() == [[1, -1]]


@pytest.mark.parametrize("name", ["mse", "kl"])
def test_a_student_that_agrees_with_its_target_has_no_loss(logits, name):
    student = torch.tensor(logits[0])
    assert losses.CONSISTENCY[name](student, student.softmax(1)).abs().max() < 1e-15


@pytest.mark.parametrize("name", ["mse", "kl"])
def test_a_gradient_flows_into_a_target_only_if_it_requires_one(tensors, name):
    student, target = tensors
    fixed = target.detach()
    losses.CONSISTENCY[name](student, fixed).sum().backward()
    assert fixed.grad is None
    assert student.grad.abs().sum() > 0
    leaf = fixed.requires_grad_()
    losses.CONSISTENCY[name](student, leaf).sum().backward()
    expected = {"mse": 2 * (leaf - student.softmax(1)) / CLASSES, "kl": 1 + leaf.log() - student.log_softmax(1)}[name]
    assert_close(leaf.grad, expected.detach().numpy())


def consistency_gradients(name: str, logits: tuple[np.ndarray, np.ndarray]) -> np.ndarray:
    """Return the derivative of each image's loss with respect to its logits, one row per image."""
    p, q = map(softmax, logits)
    if name == "kl":
        return p - q
    outer = 2 * (p - q) / CLASSES
    return p * (outer - (p * outer).sum(1, keepdims=True))


@pytest.mark.parametrize("name", ["mse", "kl"])
def test_the_gradient_into_the_student_is_the_derivative_image_by_image(logits, tensors, name):
    student, target = tensors
    of_images = np.arange(1, IMAGES + 1)  # each has a weight of its own
    (losses.CONSISTENCY[name](student, target) * torch.from_numpy(of_images)).sum().backward()
    assert_close(student.grad, consistency_gradients(name, logits) * of_images[:, None])


# --- two heads


def test_logit_distance_is_the_mean_over_images_and_classes_of_the_squared_difference(logits):
    ours, theirs = map(torch.tensor, logits)
    assert_close(losses.logit_distance(ours, theirs), ((logits[0] - logits[1]) ** 2).sum() / (IMAGES * CLASSES))


def test_logit_distance_pulls_both_heads(logits):
    ours, theirs = (torch.tensor(values, requires_grad=True) for values in logits)
    losses.logit_distance(ours, theirs).backward()
    expected = 2 * (logits[0] - logits[1]) / (IMAGES * CLASSES)
    assert_close(ours.grad, expected)
    assert_close(theirs.grad, -expected)


# --- the norm of a gradient


@pytest.mark.parametrize("name", ["mse", "kl"])
def test_gradient_norm_is_that_of_the_derivative_and_leaves_the_graph_usable(logits, tensors, name):
    student, target = tensors
    loss = losses.CONSISTENCY[name](student, target).mean()
    expected = np.sqrt((consistency_gradients(name, logits) ** 2).sum()) / IMAGES
    assert_close(losses.gradient_norm(loss, student), expected)
    assert student.grad is None
    loss.backward()
    assert student.grad is not None


def test_gradient_norm_is_zero_where_the_loss_does_not_depend_on_the_logits(tensors):
    student, target = tensors
    assert losses.gradient_norm(losses.mse(student, target).mean().detach(), student) == 0
    assert losses.gradient_norm((target**2).sum(), student) == 0
    assert losses.gradient_norm(losses.mse(student, target).mean(), student.detach()) == 0
