import numpy as np
import pytest
import torch
from torch import nn

from trainers.models import Network
from trainers.models.blocks import Dropout

PIXELS = torch.from_numpy(np.random.default_rng(0).normal(size=(6, 1, 2, 3)))


def network(heads: int) -> Network:
    torch.manual_seed(0)
    return Network(nn.Sequential(nn.Flatten()), 6, 4, heads).double()


def linear(layer: nn.Linear) -> np.ndarray:
    weight, bias = layer.weight.detach().numpy(), layer.bias.detach().numpy()
    return PIXELS.numpy().reshape(6, 6) @ weight.T + bias


def test_one_head_both_classifies_and_agrees():
    logits, consistency_logits = network(1).forward_heads(PIXELS)
    assert consistency_logits is logits
    np.testing.assert_allclose(logits.detach().numpy(), linear(network(1).classifier), rtol=0, atol=1e-14)


def test_two_heads_have_weights_of_their_own_on_the_same_features():
    two = network(2)
    logits, consistency_logits = two.forward_heads(PIXELS)
    np.testing.assert_allclose(logits.detach().numpy(), linear(two.classifier), rtol=0, atol=1e-14)
    np.testing.assert_allclose(consistency_logits.detach().numpy(), linear(two.agreement), rtol=0, atol=1e-14)
    assert (logits - consistency_logits).abs().min() > 1e-3


@pytest.mark.parametrize("heads", [1, 2])
def test_a_pass_gives_the_logits_that_classify(heads):
    assert torch.equal(network(heads)(PIXELS), network(heads).forward_heads(PIXELS)[0])


@pytest.mark.parametrize("heads", [1, 2])
def test_the_features_are_computed_once(heads):
    passes = []
    net = network(heads)
    net.features.register_forward_hook(lambda *_: passes.append(1))
    net.forward_heads(PIXELS)
    assert len(passes) == 1


def test_a_second_head_leaves_the_weights_of_the_first_as_they_were():
    assert torch.equal(network(1).classifier.weight, network(2).classifier.weight)


@pytest.mark.parametrize("heads", [1, 2])
def test_heads_are_computed_in_float32_on_features_in_bf16(heads):
    torch.manual_seed(0)
    net = Network(nn.Sequential(nn.Flatten(), nn.Linear(6, 6)), 6, 4, heads)
    with torch.autocast("cpu", torch.bfloat16):
        features = net.features(PIXELS.float())
        logits = net.forward_heads(PIXELS.float())
        target = logits[0].softmax(1)
    assert features.dtype == torch.bfloat16
    assert {one.dtype for one in (*logits, target)} == {torch.float32}
    for head, one in zip((net.classifier, net.agreement), logits[:heads], strict=False):
        assert torch.equal(one, head(features.float()))


@pytest.mark.parametrize("heads", [1, 2])
def test_logits_are_in_the_precision_of_the_weights_whatever_that_of_the_passes(heads):
    net = network(heads).float()
    with torch.autocast("cpu", torch.bfloat16):
        logits = net.forward_heads(PIXELS.float())
    assert {one.dtype for one in logits} == {torch.float32}
    exact = net.forward_heads(PIXELS.float())
    assert all(torch.allclose(a, b, rtol=0.02, atol=0.02) for a, b in zip(logits, exact, strict=True))


def test_dropout_is_set_throughout():
    layers = nn.Sequential(nn.Flatten(), Dropout(0.5), nn.Sequential(Dropout(0.25)))
    net = Network(layers, 6, 4, 1)
    net.set_dropout(0.0)
    features = torch.randn(50, 6)
    assert torch.equal(layers(features), features)
    net.set_dropout(0.75)
    kept = layers(torch.ones(20_000, 6)) > 0
    assert kept.double().mean().item() == pytest.approx(0.25**2, abs=0.005)


def test_batches_are_not_counted_and_weights_that_have_counts_are_read():
    net = Network(nn.Sequential(nn.Flatten(), nn.BatchNorm1d(6)), 6, 4, 1).double()
    net(PIXELS)
    saved = net.state_dict()
    assert not any("num_batches_tracked" in name for name in saved)
    earlier = {name: value + 1 for name, value in saved.items()}
    net.load_state_dict(earlier | {"features.1.num_batches_tracked": torch.tensor(7)})
    assert all(torch.equal(value, earlier[name]) for name, value in net.state_dict().items())


def test_batches_are_counted_where_the_statistics_are_a_plain_mean():
    net = Network(nn.Sequential(nn.Flatten(), nn.BatchNorm1d(6, momentum=None)), 6, 4, 1).double()
    net(PIXELS)
    net.load_state_dict(net.state_dict())
    assert net.features[1].num_batches_tracked == 1
