import pytest
import torch
from torch import nn

from trainers.models import Network
from trainers.models.blocks import Dropout, GlobalAverage, convolution
from trainers.models.weight_normalization import (
    MeanOnlyBatchNorm,
    initialize_from_batch,
    weight_normalized,
    weight_normalized_linear,
)


def network() -> Network:
    torch.manual_seed(0)
    layers = [convolution(3, 8, norm="weight"), Dropout(0.5), convolution(8, 6, norm="weight"), GlobalAverage()]
    return Network(nn.Sequential(*layers), 6, 4, 2, weight_normalized_linear)


def pixels() -> torch.Tensor:
    return 3 * torch.randn(40, 3, 8, 8, generator=torch.Generator().manual_seed(1)) + 2


@pytest.mark.parametrize("shape", [(50, 4), (50, 4, 5, 5)])
def test_mean_only_batch_norm_subtracts_the_mean_of_the_batch_and_in_eval_mode_their_average(shape):
    torch.manual_seed(0)
    layer, ones = MeanOnlyBatchNorm(4), [1] * (len(shape) - 2)
    layer.bias.data = torch.arange(4.0)
    batches = [3 * torch.randn(shape) + 2 for _ in range(3)]
    average = torch.zeros(4)
    for batch in batches:
        mean = batch.transpose(0, 1).flatten(1).mean(1)
        average = 0.999 * average + 0.001 * mean
        torch.testing.assert_close(layer(batch), batch + (torch.arange(4.0) - mean).view(4, *ones))
    layer.eval()
    torch.testing.assert_close(layer(batches[0]), batches[0] + (torch.arange(4.0) - average).view(4, *ones))


def test_weight_normalisation_keeps_length_and_direction_apart():
    torch.manual_seed(0)
    layer = weight_normalized(nn.Conv2d(3, 8, 3, bias=False))
    lengths, directions = layer.parametrizations.weight.original0, layer.parametrizations.weight.original1
    before = layer.weight.detach().clone()
    assert before.std().item() == pytest.approx(0.05, rel=0.1)
    directions.data *= 7
    torch.testing.assert_close(layer.weight, before)
    lengths.data *= 2
    torch.testing.assert_close(layer.weight, 2 * before)


def test_after_a_first_batch_what_each_layer_returns_on_it_has_mean_0_and_deviation_1():
    net, seen = network(), []
    torch.manual_seed(5)
    initialize_from_batch(net, pixels())
    for layer in net.modules():
        if isinstance(layer, MeanOnlyBatchNorm):
            layer.register_forward_hook(lambda _, __, output: seen.append(output.transpose(0, 1).flatten(1)))
    torch.manual_seed(5)  # the same dropout
    net.forward_heads(pixels())
    assert len(seen) == 4
    for output in seen:
        torch.testing.assert_close(output.mean(1), torch.zeros(len(output)), rtol=0, atol=1e-4)
        torch.testing.assert_close(output.std(1, correction=0), torch.ones(len(output)), rtol=0, atol=1e-3)


def test_a_first_batch_leaves_directions_and_biases_and_decides_lengths_and_means():
    net, before = network(), network().state_dict()
    initialize_from_batch(net, pixels())
    changed = {name for name, value in net.state_dict().items() if not torch.equal(value, before[name])}
    assert changed == {name for name in before if name.endswith(("original0", "running_mean"))}
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in net.modules())


def test_after_a_first_batch_evaluations_subtract_its_means():
    net = network()
    net.set_dropout(0.0)
    initialize_from_batch(net, pixels())
    trained = net(pixels())
    torch.testing.assert_close(net.eval()(pixels()), trained, rtol=1e-4, atol=1e-4)
