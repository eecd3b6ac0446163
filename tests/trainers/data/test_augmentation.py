import numpy as np
import pytest
import torch

from trainers.config import Augmentation
from trainers.data.augmentation import ViewAugmenter
from trainers.data.normalization import PerChannel

IMAGES = np.random.default_rng(0).integers(0, 256, (3, 8, 8, 3), dtype=np.uint8)
PIXELS = torch.from_numpy(IMAGES)
CPU = torch.device("cpu")
PLAIN = PerChannel(torch.zeros(3), torch.ones(3))
ALL = {"translate": 2, "flip": True, "noise": 0.1}
COLOURS = ALL | {"brightness": 0.4, "contrast": 0.4, "saturation": 0.4, "hue": 0.1}
CROPS = {"crop": 5, "rotate": 10.0, "flip": True}
STRONG = ALL | {"strong": "trivial_augment", "erase": 0.5}


def views(seed: int = 0, normalization: PerChannel = PLAIN, noise: float = 0.0, **settings) -> ViewAugmenter:
    nothing = {"translate": 0, "flip": False}
    return ViewAugmenter(normalization, Augmentation(**nothing | settings), noise, [seed], CPU)


def draw(view: ViewAugmenter, images: torch.Tensor, indices: torch.Tensor) -> torch.Tensor:
    (only,) = view.draw(images, indices)
    return only


def drawn(view: ViewAugmenter, image: int, n: int) -> np.ndarray:
    """float [n, height, width, channels], views of one image."""
    return draw(view, PIXELS, torch.full((n,), image)).numpy().transpose(0, 2, 3, 1)


def crops(image: np.ndarray, reach: int) -> list[bytes]:
    padded = np.pad(image, ((reach, reach), (reach, reach), (0, 0)), mode="reflect")
    size = len(image)
    places = range(2 * reach + 1)
    return [padded[y : y + size, x : x + size].tobytes() for y in places for x in places]


@pytest.mark.parametrize("reach", [1, 4, 6])
def test_translations_are_numpys_reflected_crops_all_of_them_alike_often(reach):
    expected = crops(IMAGES[1], reach)
    n = 60 * len(expected)
    found = [image.astype(np.uint8).tobytes() for image in drawn(views(translate=reach), 1, n)]
    counts = [found.count(crop) for crop in expected]
    assert sum(counts) == n  # so nothing else was drawn
    assert all(25 < count < 100 for count in counts)  # 60 expected, standard deviation 8


def test_an_image_is_mirrored_left_to_right_half_of_the_time():
    found = [image.astype(np.uint8).tobytes() for image in drawn(views(flip=True), 2, 1000)]
    plain, mirrored = found.count(IMAGES[2].tobytes()), found.count(IMAGES[2][:, ::-1].tobytes())
    assert plain + mirrored == 1000
    assert 420 < plain < 580  # standard deviation 16


def test_flip_and_translation_are_drawn_independently():
    expected = crops(IMAGES[0], 1) + crops(IMAGES[0][:, ::-1], 1)
    found = [image.astype(np.uint8).tobytes() for image in drawn(views(flip=True, translate=1), 0, 1800)]
    counts = [found.count(crop) for crop in expected]
    assert sum(counts) == 1800
    assert all(50 < count < 160 for count in counts)


def test_noise_has_the_standard_deviation_asked_for_and_is_drawn_for_each_pixel():
    noise = drawn(views(noise=0.3), 0, 2000) - IMAGES[0]
    assert noise.std() == pytest.approx(0.3, rel=0.01)
    assert noise.mean() == pytest.approx(0, abs=0.005)
    np.testing.assert_allclose(noise.std(0), 0.3, rtol=0.15)  # over images
    np.testing.assert_allclose(noise.reshape(2000, -1).std(1), 0.3, rtol=0.3)  # over the pixels of an image


def test_without_augmentation_a_view_is_the_normalised_image():
    mean, std = [10.0, 20.0, 30.0], [2.0, 4.0, 8.0]
    view = views(normalization=PerChannel(torch.tensor(mean), torch.tensor(std)))
    expected = ((IMAGES[[2, 0]].astype(np.float64) - mean) / std).transpose(0, 3, 1, 2)
    np.testing.assert_allclose(draw(view, PIXELS, torch.tensor([2, 0])).numpy(), expected, rtol=1e-6)


def test_noise_is_in_units_of_normalised_pixels():
    normalization = PerChannel(torch.zeros(3), torch.full((3,), 50.0))
    noise = drawn(views(normalization=normalization, noise=0.3), 0, 500) - IMAGES[0] / 50.0
    assert noise.std() == pytest.approx(0.3, rel=0.02)


@pytest.mark.parametrize("noise", [0.0, 0.2])
def test_a_view_has_its_own_noise_and_not_that_of_the_augmentation(noise):
    images = torch.from_numpy(IMAGES)
    pixels = draw(ViewAugmenter(PLAIN, Augmentation(translate=0, noise=0.9), noise, [0], CPU), images, torch.arange(3))
    assert (pixels - images.permute(0, 3, 1, 2)).std().item() == pytest.approx(noise, rel=0.1)


def test_views_are_in_the_precision_of_the_normalization_and_have_channels_last_in_memory():
    for dtype in (torch.float32, torch.float64):
        normalization = PerChannel(torch.zeros(3, dtype=dtype), torch.ones(3, dtype=dtype))
        pixels = draw(views(normalization=normalization, **ALL), PIXELS, torch.arange(3))
        assert pixels.dtype == dtype
        assert pixels.is_contiguous(memory_format=torch.channels_last)


@pytest.mark.parametrize("settings", [ALL, STRONG, ALL | {"strong": "rand_augment"}])
def test_views_of_one_seed_are_equal_and_of_another_seed_different(settings):
    indices = torch.arange(3).repeat(10)
    first = draw(views(5, **settings), PIXELS, indices)
    assert torch.equal(draw(views(5, **settings), PIXELS, indices), first)
    other = draw(views(6, **settings), PIXELS, indices)
    assert not any(torch.equal(a, b) for a, b in zip(first, other, strict=True))


@pytest.mark.parametrize("settings", [ALL | {"noise": 0.0}, ALL, STRONG, ALL | {"strong": "rand_augment"}])
def test_views_go_on_from_a_saved_state_as_if_they_had_never_stopped(settings):
    indices = torch.arange(3).repeat(10)
    view = views(5, **settings)
    draw(view, PIXELS, indices)
    state = view.generators[0].get_state()
    expected = [draw(view, PIXELS, indices) for _ in range(3)]
    resumed = views(99, **settings)
    resumed.generators[0].set_state(state)
    assert all(torch.equal(draw(resumed, PIXELS, indices), images) for images in expected)


@pytest.mark.parametrize("before", [{}, {"crop": 8, "smallest_crop": 1.0, "brightness": 0.3}])
def test_strong_operations_change_whole_grey_levels_before_they_are_normalised(before):
    """On images of one grey level, whose mean is not 0: what is moved in is black, and only then normalised."""
    grey = torch.full((1, 8, 8, 3), 100, dtype=torch.uint8)
    normalization = PerChannel(torch.full((3,), 50.0), torch.full((3,), 25.0))
    view = draw(views(normalization=normalization, strong="trivial_augment", **before), grey, torch.zeros(300).long())
    levels = view * 25 + 50
    torch.testing.assert_close(levels, levels.round(), atol=1e-4, rtol=0)
    assert (levels.round() == 0).any()
    assert (levels.round() == 100).any()


def test_erased_pixels_are_0_after_the_normalisation_and_have_no_noise():
    normalization = PerChannel(torch.full((3,), -1.0), torch.ones(3))  # so that no pixel is 0 unless it is erased
    view = draw(views(normalization=normalization, noise=0.1, erase=1.0), PIXELS, torch.arange(3).repeat(100))
    share = (view == 0).all(1).float().mean((1, 2))
    assert (share > 0).float().mean() > 0.95
    assert share.max() < 0.45


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("settings", [ALL, STRONG, ALL | {"strong": "rand_augment"}, COLOURS, CROPS])
def test_views_that_are_drawn_in_one_call_are_those_that_each_seed_draws_alone(settings, channels):
    images, indices = PIXELS[..., :channels].contiguous(), torch.tensor([2, 0, 1, 1, 0])
    normalization = PerChannel(torch.full((channels,), 3.0), torch.full((channels,), 7.0))
    together = ViewAugmenter(normalization, Augmentation(**settings), 0.1, [5, 6], CPU)
    alone = [ViewAugmenter(normalization, Augmentation(**settings), 0.1, [seed], CPU) for seed in (5, 6)]
    for _ in range(3):
        both = together.draw(images, indices)
        assert all(map(torch.equal, both, [draw(one, images, indices) for one in alone]))
        assert not torch.equal(*both)


def test_views_neither_follow_nor_move_torchs_global_generator():
    torch.manual_seed(0)
    before = torch.get_rng_state()
    first = draw(views(5, **ALL), PIXELS, torch.arange(3))
    assert torch.equal(torch.get_rng_state(), before)
    torch.manual_seed(1)
    assert torch.equal(draw(views(5, **ALL), PIXELS, torch.arange(3)), first)


def test_the_images_themselves_are_not_changed():
    images = torch.from_numpy(IMAGES.copy())
    draw(ViewAugmenter(PLAIN, Augmentation(**ALL), 0.1, [0], CPU), images, torch.arange(3))
    np.testing.assert_array_equal(images.numpy(), IMAGES)
