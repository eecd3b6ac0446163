"""torchvision's residual networks, with a first layer that fits the images."""

from torch import nn

from trainers.models.network import Network


def residual(channels: int, classes: int, heads: int, name: str, stem: str) -> Network:
    """Build ResNet-18, ResNet-50, or ResNeXt-152 32x4d (the paper's network for ImageNet, section 3.4).

    Args:
        channels: of the images.
        classes: length of the logits.
        heads: 1 or 2.
        name: `resnet18`, `resnet50` or `resnext152`.
        stem: `large`: a 7x7 convolution and a pooling, which leave a 16th of the pixels, as published for 224x224
            pixels. `small`: a 3x3 convolution, which keeps them all.
    """
    # The import takes half a second, which other networks need not pay.
    from torchvision.models.resnet import BasicBlock, Bottleneck, ResNet

    if name == "resnext152":
        features = ResNet(Bottleneck, [3, 8, 36, 3], groups=32, width_per_group=4)
    elif name == "resnet50":
        features = ResNet(Bottleneck, [3, 4, 6, 3])
    else:
        features = ResNet(BasicBlock, [2, 2, 2, 2])
    kernel, stride, padding = (7, 2, 3) if stem == "large" else (3, 1, 1)
    features.conv1 = nn.Conv2d(channels, 64, kernel, stride=stride, padding=padding, bias=False)
    nn.init.kaiming_normal_(features.conv1.weight, mode="fan_out", nonlinearity="relu")
    if stem == "small":
        features.maxpool = nn.Identity()
    width = features.fc.in_features
    features.fc = nn.Identity()
    return Network(features, width, classes, heads)
