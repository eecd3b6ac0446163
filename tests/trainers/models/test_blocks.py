"""Layers. Statistical tolerances are at least five standard deviations, and the seeds are fixed."""

import math

import numpy as np
import pytest
import torch
from torch import nn

from trainers.models.blocks import Dropout, GlobalAverage, convolution


def dropped(layer: Dropout, shape: tuple[int, ...] = (1000, 1000)) -> torch.Tensor:
    """Return which of this many ones are zeroed."""
    return layer(torch.ones(shape)) == 0


@pytest.fixture(autouse=True)
def _seed():
    torch.manual_seed(0)


# --- dropout


@pytest.mark.parametrize("probability", [0.001, 0.1, 0.25, 0.5, 0.9, 0.999])
def test_dropout_zeroes_the_share_it_is_asked_for(probability):
    share = dropped(Dropout(probability)).double().mean().item()
    assert share == pytest.approx(probability, abs=5 * math.sqrt(probability * (1 - probability)) / 1000)


@pytest.mark.parametrize("probability", [0.1, 0.25, 0.5, 0.75, 0.9])
def test_what_dropout_keeps_is_scaled_to_keep_the_mean(probability):
    kept = Dropout(probability)(torch.full((1000, 1000), 3.0))
    scaled = kept[kept != 0].double()
    np.testing.assert_allclose(scaled, 3 / (1 - probability), rtol=2e-4)  # to 1 / 65536 of the probability
    deviation = 3 * math.sqrt(probability / (1 - probability)) / 1000
    assert kept.double().mean().item() == pytest.approx(3, abs=5 * deviation)


@pytest.mark.parametrize("position", range(4))
def test_each_of_the_four_values_cut_from_a_word_is_dropped_alike_often(position):
    share = dropped(Dropout(0.3)).flatten()[position::4].double().mean().item()
    assert share == pytest.approx(0.3, abs=5 * math.sqrt(0.3 * 0.7 / 250_000))


def test_neighbours_are_dropped_independently():
    pattern = dropped(Dropout(0.5)).flatten().double()
    for distance in (1, 2, 3, 4, 1000):
        both = (pattern[:-distance] * pattern[distance:]).mean().item()
        assert both == pytest.approx(0.25, abs=5 * 0.5 / 1000)


def test_a_dropout_of_zero_keeps_everything_as_it_is():
    features = torch.randn(100, 100)
    assert torch.equal(Dropout(0.0)(features), features)


def test_in_eval_mode_nothing_is_dropped_and_nothing_is_drawn():
    layer, features = Dropout(0.9).eval(), torch.randn(100, 100)
    before = torch.get_rng_state()
    assert layer(features) is features
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize("shape", [(1,), (3, 5), (7, 3, 5, 5), (1, 1, 1, 2), (0, 4)])
def test_any_number_of_values_can_be_dropped(shape):
    result = Dropout(0.5)(torch.ones(shape))
    assert result.shape == shape
    assert set(result.flatten().tolist()) <= {0.0, 2.0}


def test_an_odd_number_of_values_is_dropped_up_to_the_last_one():
    shares = torch.stack([dropped(Dropout(0.5), (7,)) for _ in range(1000)]).double().mean(0)
    assert ((shares > 0.42) & (shares < 0.58)).all()


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32, torch.float64])
@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_dropout_keeps_precision_shape_and_memory_layout(dtype, layout):
    features = torch.ones(8, 6, 5, 5, dtype=dtype).to(memory_format=layout)
    result = Dropout(0.75)(features)
    assert (result.dtype, result.shape, result.stride()) == (dtype, features.shape, features.stride())
    assert set(result.flatten().tolist()) == {0.0, 4.0}


def test_dropout_keeps_the_mean_in_bf16_as_far_as_bf16_can_tell():
    kept = Dropout(0.3)(torch.ones(1000, 1000, dtype=torch.bfloat16)).double()
    deviation = math.sqrt(0.3 / 0.7) / 1000
    assert kept.mean().item() == pytest.approx(1, abs=2**-8 + 5 * deviation)


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_the_gradient_of_dropout_is_its_mask_times_its_scale(layout):
    features = torch.randn(5, 3, 7, 7).to(memory_format=layout).requires_grad_()
    upstream = torch.randn(5, 3, 7, 7)
    result = Dropout(0.75)(features)
    result.backward(upstream)
    assert 0 < (result == 0).sum() < result.numel()
    expected = np.where(result.detach().numpy() == 0, 0.0, 4.0 * upstream.numpy())
    np.testing.assert_array_equal(features.grad.numpy(), expected)


def test_every_call_draws_a_mask_of_its_own_from_torchs_generator():
    layer = Dropout(0.5)
    first, second = dropped(layer), dropped(layer)
    assert (first & second).double().mean().item() == pytest.approx(0.25, abs=0.0025)
    torch.manual_seed(0)
    assert torch.equal(dropped(layer), first)


def test_a_probability_can_be_set_anew():
    layer = Dropout(0.5)
    for probability in (0.1, 0.0, 0.8):
        layer.set(probability)
        assert dropped(layer).double().mean().item() == pytest.approx(probability, abs=0.0025)


def test_a_probability_set_anew_leaves_a_pending_backward_pass_alone():
    layer, features = Dropout(0.5), torch.ones(1000, requires_grad=True)
    result = layer(features)
    layer.set(0.75)
    layer(torch.ones(1000))
    result.sum().backward()
    assert torch.equal(features.grad, result.detach())  # 0 or 2, not 4


def test_a_probability_that_returns_is_at_the_same_address_in_the_present_precision():
    layer = Dropout(0.5)
    first = layer.scale
    layer.set(0.3)
    layer.set(0.5)
    assert layer.scale is first
    layer.double().set(0.3)
    assert layer.scale.item() == 2**16 / (2**16 - round(0.3 * 2**16))


def test_a_probability_near_one_still_keeps_something_finite():
    result = Dropout(1 - 1e-9)(torch.ones(2000, 2000))
    assert torch.isfinite(result).all()
    assert 0 < (result > 0).sum() < 200  # one of 65536


def test_dropout_is_no_part_of_a_state():
    assert Dropout(0.5).state_dict() == {}


# --- the others


def test_the_global_average_is_over_height_and_width():
    features = np.random.default_rng(0).normal(size=(3, 4, 5, 6))
    averages = GlobalAverage()(torch.from_numpy(features)).numpy()
    np.testing.assert_allclose(averages, features.mean((2, 3)), rtol=0, atol=1e-15)


def test_a_convolution_is_normalised_and_leaks_a_tenth_below_zero():
    layer = convolution(2, 3, kernel=1, padding=0).double()
    features = np.random.default_rng(0).normal(size=(16, 2, 4, 4))
    convolved = np.einsum("oi,bihw->bohw", layer[0].weight.detach().numpy()[:, :, 0, 0], features)
    mean, variance = convolved.mean((0, 2, 3), keepdims=True), convolved.var((0, 2, 3), keepdims=True)
    normalised = (convolved - mean) / np.sqrt(variance + 1e-5)
    expected = np.where(normalised > 0, normalised, 0.1 * normalised)
    np.testing.assert_allclose(layer(torch.from_numpy(features)).detach().numpy(), expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize(("kernel", "padding", "size"), [(3, 1, 8), (3, 0, 6), (1, 0, 8)])
def test_a_convolution_keeps_the_size_that_its_padding_leaves(kernel, padding, size):
    assert convolution(2, 3, kernel, padding)(torch.zeros(1, 2, 8, 8)).shape == (1, 3, size, size)


def test_the_weights_of_a_convolution_keep_the_variance_of_what_passes():
    layer: nn.Conv2d = convolution(64, 64)[0]
    assert layer.bias is None
    expected = math.sqrt(2 / ((1 + 0.1**2) * 64 * 9))  # He et al. 2015, equation 15
    assert layer.weight.std().item() == pytest.approx(expected, rel=0.02)
    assert layer.weight.mean().item() == pytest.approx(0, abs=0.02 * expected)
