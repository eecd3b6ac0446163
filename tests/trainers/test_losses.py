import numpy as np
import pytest
import torch

from trainers import losses

IMAGES, CLASSES = 7, 4


def softmax(logits: np.ndarray) -> np.ndarray:
    powers = np.exp(logits - logits.max(1, keepdims=True))
    return powers / powers.sum(1, keepdims=True)


@pytest.fixture
def logits() -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    return 2 * rng.normal(size=(IMAGES, CLASSES)), 2 * rng.normal(size=(IMAGES, CLASSES))


def tensors(logits: tuple[np.ndarray, np.ndarray]) -> tuple[torch.Tensor, torch.Tensor]:
    student, teacher = (torch.tensor(z, dtype=torch.float32, requires_grad=True) for z in logits)
    return student, teacher


@pytest.mark.parametrize("denominator", [IMAGES, 28])
def test_classification_is_the_sum_of_cross_entropies_over_the_denominator(logits, denominator):
    labels = np.array([0, 1, 2, 3, 0, 1, 2])
    expected = -np.log(softmax(logits[0])[np.arange(IMAGES), labels]).sum() / denominator
    loss = losses.classification(tensors(logits)[0], torch.from_numpy(labels), denominator)
    assert loss.item() == pytest.approx(expected, rel=1e-6)


def test_mse_is_the_mean_over_images_and_classes_of_the_squared_difference_of_softmaxes(logits):
    p, q = map(softmax, logits)
    assert losses.mse(*tensors(logits)).item() == pytest.approx(((p - q) ** 2).sum() / (IMAGES * CLASSES), rel=1e-6)


def test_mse_of_certain_and_opposed_predictions_is_two_over_the_classes():
    student, teacher = torch.tensor([[100.0, 0, 0, 0]]), torch.tensor([[0, 0, 100.0, 0]])
    assert losses.mse(student, teacher).item() == pytest.approx(2 / CLASSES, rel=1e-6)


def test_kl_is_that_of_the_student_from_the_teacher_and_not_the_reverse(logits):
    p, q = map(softmax, logits)
    forward, reverse = ((a * np.log(a / b)).sum() / IMAGES for a, b in ((q, p), (p, q)))
    assert abs(forward - reverse) > 0.01  # or the test could not tell
    assert losses.kl(*tensors(logits)).item() == pytest.approx(forward, rel=1e-6)


def test_kl_of_certain_and_opposed_predictions_is_finite():
    student, teacher = torch.tensor([[200.0, 0]], requires_grad=True), torch.tensor([[0, 200.0]])
    loss = losses.kl(student, teacher)
    loss.backward()
    assert loss.item() == pytest.approx(200, rel=1e-6)
    assert torch.isfinite(student.grad).all()


@pytest.mark.parametrize("name", ["mse", "kl"])
def test_no_gradient_flows_into_the_teacher(logits, name):
    student, teacher = tensors(logits)
    losses.CONSISTENCY[name](student, teacher).backward()
    assert teacher.grad is None


def consistency_gradient(name: str, logits: tuple[np.ndarray, np.ndarray]) -> np.ndarray:
    p, q = map(softmax, logits)
    if name == "kl":
        return (p - q) / IMAGES
    outer = 2 * (p - q) / (IMAGES * CLASSES)
    return p * (outer - (p * outer).sum(1, keepdims=True))


@pytest.mark.parametrize("name", ["mse", "kl"])
def test_the_gradient_into_the_student_is_the_derivative(logits, name):
    student, teacher = tensors(logits)
    losses.CONSISTENCY[name](student, teacher).backward()
    expected = consistency_gradient(name, logits)
    assert np.abs(expected).max() > 0.01
    np.testing.assert_allclose(student.grad, expected, rtol=1e-4, atol=1e-7)


@pytest.mark.parametrize("name", ["mse", "kl"])
def test_gradient_norm_is_that_of_the_derivative_and_leaves_the_graph_usable(logits, name):
    student, teacher = tensors(logits)
    loss = losses.CONSISTENCY[name](student, teacher)
    expected = np.sqrt((consistency_gradient(name, logits) ** 2).sum())
    assert losses.gradient_norm(loss, student).item() == pytest.approx(expected, rel=1e-5)
    loss.backward()
    assert student.grad is not None


def test_gradient_norm_is_zero_where_the_loss_does_not_depend_on_the_logits(logits):
    student, teacher = tensors(logits)
    assert losses.gradient_norm(losses.mse(student, teacher).detach(), student) == 0
    assert losses.gradient_norm((teacher**2).sum(), student) == 0
