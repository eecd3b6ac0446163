import torch

from trainers.config import Augmentation, SmallCnn
from trainers.data.augmentation import Views
from trainers.data.normalization import Normalization
from trainers.methods import MeanTeacher
from trainers.models import build


def mean_teacher() -> tuple[torch.nn.Module, MeanTeacher, torch.Tensor]:
    torch.manual_seed(0)
    images = torch.randint(0, 256, (40, 8, 8, 1), dtype=torch.uint8)
    views = Views(images, Normalization(torch.tensor([128.0]), torch.tensor([64.0])), Augmentation(translate=0), 0)
    student = build(SmallCnn(width=4), 1, 3)
    pixels = (images.double().permute(0, 3, 1, 2) - 128) / 64
    return student, MeanTeacher(student, views, 0.9), pixels


def test_the_teacher_starts_as_a_copy_that_no_gradient_reaches():
    student, method, _ = mean_teacher()
    assert all(torch.equal(a, b) for a, b in zip(student.parameters(), method.teacher.parameters(), strict=True))
    assert not any(parameter.requires_grad for parameter in method.teacher.parameters())
    assert all(parameter.requires_grad for parameter in student.parameters())
    assert not method.target_logits(torch.arange(20)).requires_grad


def test_the_batch_norm_statistics_of_the_teacher_follow_its_own_batches():
    student, method, pixels = mean_teacher()
    convolution, norm = method.teacher[0][0], method.teacher[0][1]
    mean = torch.zeros(4, dtype=torch.float64)
    for indices in (torch.arange(20), torch.arange(20, 40)):
        features = torch.nn.functional.conv2d(pixels[indices], convolution.weight.double(), padding=1)
        mean = 0.9 * mean + 0.1 * features.mean((0, 2, 3))
        method.target_logits(indices)
        method.after_step(1)
    torch.testing.assert_close(norm.running_mean.double(), mean, rtol=1e-4, atol=1e-6)
    assert torch.equal(student[0][1].running_mean, torch.zeros(4))
