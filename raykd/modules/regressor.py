"""Layers that carry a student's map to a teacher's channels and size."""

import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn


class BatchNorm2d(nn.BatchNorm2d):
    """Batch norm that takes its running statistics where a channel has a single value.

    A last batch of one on a map of 1 × 1 has no deviation: `torch.nn.BatchNorm2d` refuses it.
    """

    def forward(self, input: Float[Tensor, "B C H W"]) -> Float[Tensor, "B C H W"]:
        """Normalises each channel."""
        if self.training and input[:, 0].numel() == 1:
            return F.batch_norm(
                input, self.running_mean, self.running_var, self.weight, self.bias, eps=self.eps
            )
        return super().forward(input)


class Regressor(nn.Sequential):
    """Convolution, batch norm and ReLU from a student's map to a teacher's (FitNet's regressor).

    As in the CRD benchmark: a strided convolution from twice the size, a transposed one to twice
    the size, and an unpadded one of the right kernel from any other larger or equal size. Other
    whole multiples of the student's size are reached by a transposed convolution as well.

    Args:
        student: Channels, height and width of the student's map.
        teacher: The same of the teacher's.

    Raises:
        ValueError: The teacher's map is larger and no whole multiple of the student's.
    """

    def __init__(self, student: tuple[int, ...], teacher: tuple[int, ...]) -> None:
        super().__init__(_resize(student, teacher), BatchNorm2d(teacher[0]), nn.ReLU())


def _resize(student: tuple[int, ...], teacher: tuple[int, ...]) -> nn.Module:
    (c_s, h_s, w_s), (c_t, h_t, w_t) = student, teacher
    if (h_s, w_s) == (2 * h_t, 2 * w_t):
        return nn.Conv2d(c_s, c_t, 3, stride=2, padding=1)
    if h_s >= h_t and w_s >= w_t:
        return nn.Conv2d(c_s, c_t, (1 + h_s - h_t, 1 + w_s - w_t))
    ratio = h_t // h_s
    if (h_t, w_t) == (ratio * h_s, ratio * w_s):
        pad = ratio // 2
        return nn.ConvTranspose2d(c_s, c_t, ratio + 2 * pad, stride=ratio, padding=pad)
    raise ValueError(
        f"the student's map is {h_s} x {w_s} and the teacher's {h_t} x {w_t}; a regressor reaches"
        " maps of the same size, smaller ones, and whole multiples: choose another stage"
    )
