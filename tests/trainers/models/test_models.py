import pytest
import torch
from torch import nn

from trainers.config import ConvLarge, Residual, ShakeShake, SmallCnn, WideResnet
from trainers.models import build
from trainers.models.blocks import Dropout
from trainers.models.shake_shake import _Shake


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


PUBLISHED = [  # millions of parameters with one head, as the papers and torchvision count them
    (ShakeShake(name="shake_shake"), 10, 26.2),
    (WideResnet(name="wide_resnet"), 10, 1.47),
    (WideResnet(name="wide_resnet", depth=16, width=8), 10, 10.97),
    (Residual(name="resnet18", stem="large"), 1000, 11.69),
    (Residual(name="resnet50", stem="large"), 1000, 25.56),
    (Residual(name="resnext152", stem="large"), 1000, 59.95),
]


@pytest.mark.parametrize(("model", "classes", "millions"), PUBLISHED, ids=lambda value: getattr(value, "name", value))
def test_a_published_network_has_its_published_number_of_parameters(model, classes, millions):
    with torch.device("meta"):
        network = build(model, 3, classes)
    assert sum(weights.numel() for weights in network.parameters()) / 1e6 == pytest.approx(millions, rel=0.003)


@pytest.mark.parametrize(
    ("model", "channels", "size"),
    [
        (ShakeShake(name="shake_shake", width=4), 3, 32),
        (ShakeShake(name="shake_shake", width=3), 1, 8),
        (WideResnet(name="wide_resnet", depth=10, width=1), 3, 32),
        (Residual(name="resnet18"), 3, 8),
        (Residual(name="resnet50", stem="large"), 3, 32),
        (ConvLarge(name="conv_large", norm="weight"), 3, 16),
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


@pytest.mark.parametrize(
    "settings",
    [SmallCnn(width=4), SmallCnn(width=64), ConvLarge(name="conv_large"), *(model for model, *_ in PUBLISHED)],
)
def test_the_forecast_of_weights_is_right_to_five_percent(settings):
    classes = 1000 if isinstance(settings, Residual) else 10
    with torch.device("meta"):
        real = sum(weights.numel() for weights in build(settings, 3, classes).parameters())
    assert abs(settings.parameters / real - 1) < 0.05


def test_the_stem_for_small_images_keeps_their_size_and_that_for_large_ones_takes_a_quarter_of_each_side():
    for stem, expected in (("small", 64), ("large", 16)):
        network, sizes = build(Residual(name="resnet18", stem=stem), 3, 10).eval(), []
        network.features.layer1.register_forward_hook(lambda _, inputs, __, sizes=sizes: sizes.append(inputs[0].shape))
        network(torch.zeros(1, 3, 64, 64))
        assert sizes == [(1, 64, expected, expected)]


def test_a_depth_that_makes_no_whole_blocks_is_refused():
    with pytest.raises(ValueError, match="29 layers make no whole blocks; use 4 and a multiple of 6"):
        WideResnet(name="wide_resnet", depth=29)


def test_shaking_draws_a_gate_an_image_and_another_for_the_way_back():
    torch.manual_seed(0)
    first, second = (torch.rand(200, 2, 3, 3, requires_grad=True) for _ in range(2))
    forward, backward = (torch.rand(200, 1, 1, 1) for _ in range(2))
    mixed = _Shake.apply(first, second, forward, backward)
    expected = forward * first + (1 - forward) * second
    torch.testing.assert_close(mixed, expected)
    mixed.sum().backward()
    torch.testing.assert_close(first.grad, backward.expand_as(first))
    torch.testing.assert_close(second.grad, (1 - backward).expand_as(second))


def test_shake_shake_has_no_norm_after_its_stem_and_no_rectifier_before_the_average():
    layers = list(build(ShakeShake(name="shake_shake", width=2), 3, 10).features)
    assert [type(layer).__name__ for layer in layers] == ["Conv2d", *12 * ["_Block"], "GlobalAverage"]


def test_shake_shake_is_noisy_in_training_alone_and_each_image_has_noise_of_its_own():
    torch.manual_seed(0)
    network = build(ShakeShake(name="shake_shake", width=2), 3, 10)
    for layer in network.modules():
        if isinstance(layer, nn.BatchNorm2d):
            layer.eval()  # so that images are independent but for their gates
    same = torch.randn(1, 3, 8, 8).expand(6, -1, -1, -1)
    with torch.no_grad():
        assert len(network(same).unique(dim=0)) == 6
        network.eval()
        assert torch.equal(network(same), network(same))
        torch.testing.assert_close(network(same)[0], network(same)[5])


def test_with_weight_normalisation_the_heads_of_conv_large_have_it_too():
    network = build(ConvLarge(name="conv_large", norm="weight"), 3, 10, heads=2)
    for head in (network.classifier, network.agreement):
        assert set(head.state_dict()) == {
            "0.parametrizations.weight.original0", "0.parametrizations.weight.original1", "1.bias", "1.running_mean"
        }  # fmt: skip
