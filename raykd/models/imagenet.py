"""Torchvision's classification models as raykd models, under torchvision's names."""

import re

from torch import nn
from torchvision import models

from raykd.models.wrap import Wrapped, wrap
from raykd.storable import storable

STAGES = {
    r"(wide_)?res(net|next)\d+.*": ("layer1", "layer2", "layer3", "layer4"),
    r"regnet_.*": tuple(f"trunk_output.block{i}" for i in (1, 2, 3, 4)),
    r"convnext_.*": tuple(f"features.{i}" for i in (1, 3, 5, 7)),
    r"densenet\d+": tuple(f"features.denseblock{i}" for i in (1, 2, 3, 4)),
    r"efficientnet_v2_s": tuple(f"features.{i}" for i in (2, 3, 5, 6)),
    r"efficientnet_.*": tuple(f"features.{i}" for i in (2, 3, 5, 7)),
    r"mobilenet_v2": tuple(f"features.{i}" for i in (3, 6, 13, 17)),
    r"mobilenet_v3_large": tuple(f"features.{i}" for i in (3, 6, 12, 15)),
    r"mobilenet_v3_small": tuple(f"features.{i}" for i in (1, 3, 8, 11)),
    r"mnasnet.*": tuple(f"layers.{i}" for i in (8, 9, 11, 13)),
    r"shufflenet_v2_.*": ("stage2", "stage3", "stage4"),
}
"""Names of the nodes that are a model's stages, by a regular expression for the model's name.

They are the last map at 1/4, 1/8, 1/16 and 1/32 of the image's size. ShuffleNet V2 has no stage at
1/4, so its three start at 1/8.
"""


def names() -> list[str]:
    """Returns the names of torchvision's classification models."""
    known: list[str] = models.list_models(module=models)
    return known


@storable("name", "num_classes", "in_channels", "stages")
def torchvision_model(
    name: str,
    num_classes: int = 1000,
    in_channels: int = 3,
    *,
    weights: str | None = None,
    stages: tuple[str, ...] | None = None,
) -> Wrapped:
    """Returns torchvision's model `name` as a raykd model.

    Args:
        name: Name of the model, as in `torchvision.models.list_models()`.
        num_classes: Number of classes, the width of the classifier.
        in_channels: Number of input channels: 3 for colour images. With any other number the first
            convolution is replaced by a new one.
        weights: Name of a member of the model's weights enum, such as "IMAGENET1K_V1"; by default
            the weights are random. They are downloaded unless torch's cache has them.
        stages: Names of the nodes that are the stages. By default those that `STAGES` has for the
            model's family, or none if it doesn't have the family.

    Raises:
        ValueError: There is no such model or no such weights, the weights are for another number
            of classes or channels, or the classifier isn't a linear layer.
    """
    if name not in names():
        raise ValueError(f"torchvision has no model {name!r}; it has {', '.join(names())}")
    if weights is not None:
        _check_weights(name, weights, num_classes, in_channels)
    module = models.get_model(name, weights=weights, num_classes=num_classes)
    if in_channels != 3:
        _replace_stem(module, in_channels)
    linear = [path for path, child in module.named_modules() if isinstance(child, nn.Linear)]
    if not linear:
        raise ValueError(
            f"{name} has no linear classifier on pooled features; choose another model, or use"
            " raykd.models.wrap.wrap and name a head yourself"
        )
    if stages is None:
        known = (nodes for family, nodes in STAGES.items() if re.fullmatch(family, name))
        stages = next(known, ())
    preacts: list[str] = []
    if isinstance(module, models.ResNet):
        preacts = [f"{stage}.{len(module.get_submodule(stage)) - 1}.add" for stage in stages]
    return wrap(module, stages=stages, preacts=preacts, head=linear[-1])


def _check_weights(name: str, weights: str, num_classes: int, in_channels: int) -> None:
    known = {member.name: member for member in models.get_model_weights(name)}
    if weights not in known:
        raise ValueError(f"{name} has no weights {weights!r}; it has {', '.join(known)}")
    classes = len(known[weights].meta["categories"])
    if num_classes != classes or in_channels != 3:
        raise ValueError(
            f"the weights {weights} of {name} are for {classes} classes and 3 channels, not for"
            f" {num_classes} and {in_channels}; use other data, or no weights"
        )


def _replace_stem(module: nn.Module, in_channels: int) -> None:
    path, stem = next(
        (path, child) for path, child in module.named_modules() if isinstance(child, nn.Conv2d)
    )
    new = nn.Conv2d(
        in_channels,
        stem.out_channels,
        stem.kernel_size,  # type: ignore[arg-type]
        stem.stride,  # type: ignore[arg-type]
        stem.padding,  # type: ignore[arg-type]
        bias=stem.bias is not None,
    )
    nn.init.kaiming_normal_(new.weight, mode="fan_out", nonlinearity="relu")
    module.set_submodule(path, new)


@storable("num_classes", "in_channels")
def resnet18(
    num_classes: int = 1000, in_channels: int = 3, *, weights: str | None = None
) -> Wrapped:
    """Builds torchvision's ResNet-18; the arguments are those of `torchvision_model`."""
    return torchvision_model("resnet18", num_classes, in_channels, weights=weights)


@storable("num_classes", "in_channels")
def resnet34(
    num_classes: int = 1000, in_channels: int = 3, *, weights: str | None = None
) -> Wrapped:
    """Builds torchvision's ResNet-34; the arguments are those of `torchvision_model`."""
    return torchvision_model("resnet34", num_classes, in_channels, weights=weights)


@storable("num_classes", "in_channels")
def resnet50(
    num_classes: int = 1000, in_channels: int = 3, *, weights: str | None = None
) -> Wrapped:
    """Builds torchvision's ResNet-50; the arguments are those of `torchvision_model`."""
    return torchvision_model("resnet50", num_classes, in_channels, weights=weights)
