"""VGG (Simonyan and Zisserman, ICLR 2015) with batch norm and one linear layer, for small images.

The networks are those of the CRD benchmark (Tian et al., ICLR 2020), whose checkpoints load
strictly. `find("vgg13")` returns one of these; for torchvision's, use
`raykd.models.imagenet.torchvision_model("vgg13_bn")`.
"""

import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from raykd.models.init import he_normal_
from raykd.models.output import Output
from raykd.storable import storable


@storable("convs", "num_classes", "in_channels")
class VGG(nn.Module):
    """VGG with a stem of 64 channels and four stages of 128, 256, 512 and 512 channels.

    Max pooling halves the height and width after the stem and after each of the first two stages.
    After the third stage it does so only for images of 64 pixels or more, so that an image of
    32 × 32 pixels has a last map of 4 × 4.

    Args:
        convs: Number of convolutions in the stem and in each stage.
        num_classes: Number of classes, the width of the classifier.
        in_channels: Number of input channels: 3 for colour images, 1 for grey ones.
    """

    def __init__(
        self, convs: tuple[int, int, int, int, int], num_classes: int = 100, in_channels: int = 3
    ) -> None:
        super().__init__()
        self.block0 = _block(convs[0], in_channels, 64)
        self.block1 = _block(convs[1], 64, 128)
        self.block2 = _block(convs[2], 128, 256)
        self.block3 = _block(convs[3], 256, 512)
        self.block4 = _block(convs[4], 512, 512)
        self.classifier = nn.Linear(512, num_classes)
        he_normal_(self)
        nn.init.normal_(self.classifier.weight, std=0.01)
        nn.init.zeros_(self.classifier.bias)

    @property
    def head(self) -> nn.Linear:
        """The classifier, which turns `pooled` into `logits`."""
        return self.classifier

    def forward(self, x: Float[Tensor, "B C H W"]) -> Output:
        """Runs the network; `stages` are the maps after each stage's last ReLU."""
        large = x.shape[2] >= 64
        x = F.max_pool2d(F.relu(self.block0(x), inplace=True), 2)
        preact1 = self.block1(x)
        f1 = F.relu(preact1)
        preact2 = self.block2(F.max_pool2d(f1, 2))
        f2 = F.relu(preact2)
        preact3 = self.block3(F.max_pool2d(f2, 2))
        f3 = F.relu(preact3)
        preact4 = self.block4(F.max_pool2d(f3, 2) if large else f3)
        f4 = F.relu(preact4)
        pooled = f4.mean(dim=(2, 3))
        preacts = (preact1, preact2, preact3, preact4)
        return Output(self.classifier(pooled), (f1, f2, f3, f4), pooled, preacts)


def _block(convs: int, channels_in: int, channels: int) -> nn.Sequential:
    """Returns 3×3 convolutions with batch norm, and with a ReLU after each except the last."""
    layers: list[nn.Module] = []
    for i in range(convs):
        conv = nn.Conv2d(channels if i else channels_in, channels, 3, padding=1)
        layers += [conv, nn.BatchNorm2d(channels), nn.ReLU(inplace=True)]
    return nn.Sequential(*layers[:-1])


@storable("num_classes", "in_channels")
def vgg8(num_classes: int = 100, in_channels: int = 3) -> VGG:
    """Builds VGG-8, with one convolution in the stem and in each stage."""
    return VGG((1, 1, 1, 1, 1), num_classes, in_channels)


@storable("num_classes", "in_channels")
def vgg11(num_classes: int = 100, in_channels: int = 3) -> VGG:
    """Builds VGG-11."""
    return VGG((1, 1, 2, 2, 2), num_classes, in_channels)


@storable("num_classes", "in_channels")
def vgg13(num_classes: int = 100, in_channels: int = 3) -> VGG:
    """Builds VGG-13."""
    return VGG((2, 2, 2, 2, 2), num_classes, in_channels)


@storable("num_classes", "in_channels")
def vgg16(num_classes: int = 100, in_channels: int = 3) -> VGG:
    """Builds VGG-16."""
    return VGG((2, 2, 3, 3, 3), num_classes, in_channels)


@storable("num_classes", "in_channels")
def vgg19(num_classes: int = 100, in_channels: int = 3) -> VGG:
    """Builds VGG-19."""
    return VGG((2, 2, 4, 4, 4), num_classes, in_channels)
