"""Weight initialisation that several model families share."""

from torch import nn


def he_normal_(model: nn.Module) -> None:
    """Initialises every convolution in place, as He et al. (ICCV 2015).

    Weights are drawn from a normal distribution of mean 0 and variance 2 / fan_out; biases are 0.
    """
    for module in model.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
            if module.bias is not None:
                nn.init.zeros_(module.bias)
