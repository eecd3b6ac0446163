import numpy as np
import pytest
import torch

from trainers.data.normalization import PerChannel, PerImage, Zca, fit_normalization, load_normalization

CPU = torch.device("cpu")


def images() -> np.ndarray:
    rng = np.random.default_rng(0)
    means, stds = [60, 120, 200], [10, 60, 30]  # a channel
    return np.clip(rng.normal(means, stds, (6000, 4, 5, 3)), 0, 255).astype(np.uint8)


def test_the_statistics_are_those_of_the_chosen_images():
    pixels = images()
    chosen = np.random.default_rng(1).permutation(6000)[:5000]  # more than are counted at once
    normalization = PerChannel.of(torch.from_numpy(pixels).__getitem__, torch.from_numpy(chosen))
    values = pixels[chosen].astype(np.float64)
    np.testing.assert_allclose(normalization.mean, values.mean((0, 1, 2)), rtol=1e-6)
    np.testing.assert_allclose(normalization.std, values.std((0, 1, 2)), rtol=1e-6)


def test_images_that_were_not_chosen_are_not_looked_at():
    pixels, chosen = torch.from_numpy(images()), torch.arange(100)
    before = PerChannel.of(pixels.__getitem__, chosen)
    pixels[100:] = 255
    after = PerChannel.of(pixels.__getitem__, chosen)
    assert torch.equal(before.mean, after.mean)
    assert torch.equal(before.std, after.std)


def test_a_channel_of_one_value_is_not_divided_by_zero():
    pixels = torch.from_numpy(images())
    pixels[..., 1] = 7
    normalization = PerChannel.of(pixels.__getitem__, torch.arange(100))
    assert (normalization.mean[1], normalization.std[1]) == (7, 1)
    assert (normalization(pixels[:100])[:, 1] == 0).all()


def test_normalised_images_have_channels_first_mean_zero_and_deviation_one():
    pixels = torch.from_numpy(images())
    normalised = PerChannel.of(pixels.__getitem__, torch.arange(6000))(pixels).double()
    assert normalised.shape == (6000, 3, 4, 5)
    assert normalised.mean((0, 2, 3)).tolist() == pytest.approx([0, 0, 0], abs=1e-5)
    assert normalised.std((0, 2, 3), correction=0).tolist() == pytest.approx([1, 1, 1], rel=1e-5)


@pytest.mark.parametrize(("dtype", "rtol"), [(torch.float32, 1e-6), (torch.float64, 1e-13)])
def test_statistics_and_images_are_in_the_default_precision(dtype, rtol):
    pixels = images()
    default = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        normalization = fit_normalization(
            "per_channel", torch.from_numpy(pixels).__getitem__, torch.arange(6000), "images", CPU
        )
    finally:
        torch.set_default_dtype(default)
    assert normalization(torch.from_numpy(pixels[:2])).dtype == normalization.mean.dtype == dtype
    np.testing.assert_allclose(normalization.std, pixels.astype(np.float64).std((0, 1, 2)), rtol=rtol)


def test_normalised_images_have_channels_last_in_memory():
    pixels = torch.from_numpy(images())
    assert PerChannel.of(pixels.__getitem__, torch.arange(100))(pixels).is_contiguous(memory_format=torch.channels_last)


def test_each_image_alone_gets_mean_zero_and_deviation_one():
    pixels = images()[:50]
    normalised = PerImage()(torch.from_numpy(pixels)).double().numpy()
    values = pixels.astype(np.float64).transpose(0, 3, 1, 2)
    mean, std = values.mean((1, 2, 3), keepdims=True), values.std((1, 2, 3), keepdims=True)
    np.testing.assert_allclose(normalised, (values - mean) / std, rtol=1e-5, atol=1e-5)


def test_an_image_of_one_value_becomes_nothing():
    assert (PerImage()(torch.full((2, 4, 4, 3), 200, dtype=torch.uint8)) == 0).all()
    assert (Zca(torch.zeros(48), torch.eye(48))(torch.full((2, 4, 4, 3), 200, dtype=torch.uint8)) == 0).all()


def whitened_by_hand(pixels: np.ndarray, chosen: np.ndarray) -> np.ndarray:
    flat = pixels.reshape(len(pixels), -1).astype(np.float64)
    flat -= flat.mean(1, keepdims=True)
    flat *= 55 / np.sqrt((flat**2).sum(1, keepdims=True))
    mean = flat[chosen].mean(0)
    left, spread, _ = np.linalg.svd((flat[chosen] - mean).T @ (flat[chosen] - mean) / len(chosen))
    return ((flat - mean) @ left / np.sqrt(spread + 0.1) @ left.T).reshape(pixels.shape)


def test_whitening_is_that_of_the_authors_computed_in_float64():
    pixels = images()[:3000]
    chosen = np.random.default_rng(1).permutation(3000)[:2500]  # more than are counted at once
    zca = Zca.of(torch.from_numpy(pixels).__getitem__, torch.from_numpy(chosen))
    expected = whitened_by_hand(pixels, chosen)
    np.testing.assert_allclose(zca.normalized(torch.from_numpy(pixels)), expected, rtol=1e-3, atol=1e-4)
    assert zca(torch.from_numpy(pixels[:2])).shape == (2, 3, 4, 5)


@pytest.mark.parametrize("kind", ["per_channel", "per_image", "zca"])
def test_what_is_kept_of_a_normalisation_is_enough_to_do_it_again(kind):
    pixels = torch.from_numpy(images()[:300])
    first = fit_normalization(kind, pixels.__getitem__, torch.arange(200), "images", CPU)
    assert torch.equal(load_normalization(kind, first.tensors())(pixels), first(pixels))


@pytest.mark.parametrize("kind", ["per_channel", "zca"])
def test_no_normalisation_looks_at_images_that_were_not_chosen(kind):
    pixels, chosen = torch.from_numpy(images()[:300]), torch.arange(200)
    before = fit_normalization(kind, pixels.__getitem__, chosen, "images", CPU).tensors()
    pixels[200:] = 255
    after = fit_normalization(kind, pixels.__getitem__, chosen, "changed images", CPU).tensors()
    assert all(torch.equal(value, after[name]) for name, value in before.items())


def test_a_whitening_is_computed_once_for_the_same_images_and_the_same_split(monkeypatch):
    pixels, calls, of = torch.from_numpy(images()[:300]), [], Zca.of
    monkeypatch.setattr(Zca, "of", lambda *args: calls.append(1) or of(*args))
    for indices, fingerprint in ((200, "a"), (200, "a"), (199, "a"), (200, "b")):
        zca = fit_normalization("zca", pixels.__getitem__, torch.arange(indices), fingerprint, CPU)
    assert len(calls) == 3
    assert torch.equal(zca.matrix, of(pixels.__getitem__, torch.arange(200)).matrix.float())
