"""Wide residual networks (Zagoruyko & Komodakis 2016), the network of most later comparisons (Oliver et al. 2018)."""

from torch import Tensor, nn

from trainers.models.blocks import GlobalAverage, plain_convolution
from trainers.models.network import Network


def wide_resnet(channels: int, classes: int, heads: int, depth: int, width: int) -> Network:
    """Build a stem of 16 channels and three stages of pre-activated blocks. WRN-28-2 has 1.47 million parameters.

    Args:
        channels: of the images, which have at least 8 pixels per side.
        classes: length of the logits.
        heads: 1 or 2.
        depth: layers: 4 plus a multiple of 6.
        width: the stages have 16, 32 and 64 times as many channels.
    """
    layers: list[nn.Module] = [plain_convolution(channels, 16)]
    inputs = 16
    for stage in range(3):
        outputs = 16 * width * 2**stage
        for block in range((depth - 4) // 6):
            layers.append(_Block(inputs, outputs, stride=2 if stage > 0 and block == 0 else 1))
            inputs = outputs
    features = nn.Sequential(*layers, nn.BatchNorm2d(inputs), nn.LeakyReLU(0.1, inplace=True), GlobalAverage())
    return Network(features, inputs, classes, heads)


class _Block(nn.Module):
    """Two convolutions, each after batch norm and a rectifier, added to a shortcut."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.before = nn.Sequential(nn.BatchNorm2d(inputs), nn.LeakyReLU(0.1, inplace=True))
        self.convolutions = nn.Sequential(
            plain_convolution(inputs, outputs, stride=stride),
            nn.BatchNorm2d(outputs),
            nn.LeakyReLU(0.1, inplace=True),
            plain_convolution(outputs, outputs),
        )
        self.shortcut = None if inputs == outputs else plain_convolution(inputs, outputs, kernel=1, stride=stride)

    def forward(self, features: Tensor) -> Tensor:
        activated = self.before(features)
        # If the shape changes, the shortcut too starts after the activation.
        shortcut = features if self.shortcut is None else self.shortcut(activated)
        result: Tensor = shortcut + self.convolutions(activated)
        return result
