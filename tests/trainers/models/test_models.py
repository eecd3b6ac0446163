import pytest
import torch
from torch import nn

from trainers.config import ConvLarge, SmallCnn
from trainers.models import build
from trainers.models.blocks import Dropout


def convolutions(network: nn.Module) -> list[nn.Conv2d]:
    return [module for module in network.modules() if isinstance(module, nn.Conv2d)]


def test_conv_large_has_the_convolution_weights_of_the_paper():
    layers = convolutions(build(ConvLarge(name="conv_large"), 3, 10))
    # Table 5 of the paper, counted by hand: 3x3x(3 + 128 + 128)x128 and so on.
    blocks = [9 * 259 * 128, 9 * (128 + 256 + 256) * 256, 9 * 256 * 512, 512 * 256, 256 * 128]
    assert len(layers) == 9
    assert sum(layer.weight.numel() for layer in layers) == sum(blocks) == 3_116_416


def test_conv_large_averages_over_six_by_six_positions_of_32_pixels_a_side():
    network = build(ConvLarge(name="conv_large"), 3, 10).eval()
    shapes = []
    network.features[-1].register_forward_hook(lambda _, inputs, __: shapes.append(inputs[0].shape))
    network(torch.zeros(1, 3, 32, 32))
    assert shapes == [(1, 128, 6, 6)]


@pytest.mark.parametrize(
    ("model", "channels", "size"),
    [
        (SmallCnn(), 1, 8),
        (SmallCnn(width=3, dropout=0.5), 3, 32),
        (SmallCnn(), 3, 4),
        (ConvLarge(name="conv_large"), 3, 12),
        (ConvLarge(name="conv_large"), 1, 32),
    ],
)
def test_logits_are_one_row_an_image_and_one_column_a_class(model, channels, size):
    assert build(model, channels, 7)(torch.randn(2, channels, size, size)).shape == (2, 7)


def test_the_width_of_small_cnn_doubles_after_each_pooling():
    layers = convolutions(build(SmallCnn(width=5), 1, 10))
    assert [(layer.in_channels, layer.out_channels) for layer in layers] == [
        (1, 5),
        (5, 5),
        (5, 10),
        (10, 10),
        (10, 20),
    ]


@pytest.mark.parametrize(
    ("model", "layers"), [(SmallCnn(dropout=0.25), 1), (ConvLarge(name="conv_large", dropout=0.25), 2)]
)
def test_the_dropout_of_the_configuration_reaches_the_network(model, layers):
    torch.manual_seed(0)
    found = [module for module in build(model, 3, 10).modules() if isinstance(module, Dropout)]
    assert len(found) == layers
    for layer in found:
        share = (layer(torch.ones(100_000)) == 0).double().mean().item()
        assert share == pytest.approx(0.25, abs=0.01)


@pytest.mark.parametrize("model", [SmallCnn(width=4), ConvLarge(name="conv_large")])
def test_a_second_head_is_asked_for_and_alone_is_new(model):
    torch.manual_seed(0)
    one = build(model, 3, 10)
    torch.manual_seed(0)
    two = build(model, 3, 10, heads=2)
    assert one.agreement is None
    assert two.agreement.weight.shape == one.classifier.weight.shape
    state = two.state_dict()
    assert state.keys() - one.state_dict().keys() == {"agreement.weight", "agreement.bias"}
    assert all(torch.equal(value, state[name]) for name, value in one.state_dict().items())


def test_the_weights_follow_torchs_seed():
    def weights(seed: int) -> torch.Tensor:
        torch.manual_seed(seed)
        return torch.cat([parameter.flatten() for parameter in build(SmallCnn(), 1, 10).parameters()])

    assert torch.equal(weights(1), weights(1))
    assert not torch.equal(weights(1), weights(2))


@pytest.mark.parametrize("settings", [SmallCnn(width=4), SmallCnn(width=64), ConvLarge(name="conv_large")])
def test_the_forecast_of_weights_is_right_to_five_percent(settings):
    real = sum(weights.numel() for weights in build(settings, channels=3, classes=10).parameters())
    assert abs(settings.weights / real - 1) < 0.05
