"""The initial weights that the families share."""

from torch import nn


def he_normal_(model: nn.Module) -> None:
    """Draws every convolution from N(0, 2 / fan_out) (He et al., ICCV 2015); its bias is 0."""
    for module in model.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
            if module.bias is not None:
                nn.init.zeros_(module.bias)
