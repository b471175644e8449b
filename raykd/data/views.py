"""Random numbers, augmentation and normalisation of the data sets.

The view of a sample (its augmented image) in an epoch is a pure function of (seed, epoch, index).
All random numbers in `raykd.data` come from NumPy's Philox, a counter-based generator. Its key is
(seed, epoch), and each purpose has its own range of the counter. So any view can be identified,
repeated and cached without replaying the random stream before it. Only raw words are used, because
NumPy keeps them the same from version to version.
"""

from dataclasses import dataclass
from enum import IntEnum

import numpy as np
import torch
from jaxtyping import Bool, Float, Float64, Int64, UInt8, UInt64
from numpy.typing import NDArray
from torch import Tensor


class Purpose(IntEnum):
    """Purpose of random words; it is the highest word of the counter."""

    VIEW = 0
    ORDER = 1
    SPLIT = 2
    CONTENT = 3
    """Synthetic data, such as the glyphs."""


def random_words(
    purpose: Purpose, seed: int, epoch: int, count: int, index: int = 0
) -> UInt64[np.ndarray, "count"]:
    """Returns `count` random 64-bit words for (purpose, seed, epoch, index)."""
    bits = np.random.Philox(
        key=np.array([seed, epoch], np.uint64),
        counter=np.array([0, index, 0, purpose], np.uint64),
    )
    words: NDArray[np.uint64] = np.asarray(bits.random_raw(count), np.uint64)
    return words


def random_order(purpose: Purpose, seed: int, epoch: int, count: int) -> Int64[np.ndarray, "count"]:
    """Returns a random permutation of `range(count)`."""
    order: NDArray[np.int64] = np.argsort(random_words(purpose, seed, epoch, count), kind="stable")
    return order


def random_noise(series: int, shape: tuple[int, ...]) -> Float64[np.ndarray, "..."]:
    """Returns nearly normal numbers of mean 0 and standard deviation 1, for synthetic data.

    They are scaled sums of four random bytes. Integer sums are the same on every machine.
    """
    count = int(np.prod(shape))
    words = random_words(Purpose.CONTENT, series, 0, -(-count // 2))
    octets = words.astype("<u8").view(np.uint8).reshape(-1, 4)
    sums = octets.sum(1, dtype=np.int64)[:count].reshape(shape)
    noise: NDArray[np.float64] = (sums - 510) / np.sqrt((256**2 - 1) / 3)
    return noise


@dataclass(frozen=True)
class Crop:
    """Random crop of the padded image, with a random horizontal flip if `flip` is True.

    A view is identified by one number, `(flip * side + down) * side + right`, where
    `side = 2 * padding + 1` and (down, right) is the offset of the crop in the padded image.

    Args:
        padding: Width of the black border that is added on each side, in pixels.
        flip: Whether images may be flipped.
    """

    padding: int
    flip: bool

    @property
    def side(self) -> int:
        """Number of possible offsets in each direction."""
        return 2 * self.padding + 1

    @property
    def views(self) -> int:
        """Number of distinct views of an image."""
        return self.side**2 * (1 + self.flip)

    @property
    def centre(self) -> int:
        """Number of the view that is the original image."""
        return self.padding * (self.side + 1)

    def choose(self, seed: int, epoch: int, count: int) -> Int64[np.ndarray, "count"]:
        """Returns the number of the view of each of `count` samples in an epoch."""
        words = random_words(Purpose.VIEW, seed, epoch, count)
        return (words % np.uint64(self.views)).astype(np.int64)

    def pad(self, image: UInt8[Tensor, "N C H W"]) -> UInt8[Tensor, "N C PH PW"]:
        """Returns the images with a black border, as `apply` expects them."""
        return torch.nn.functional.pad(image, (self.padding,) * 4)

    def apply(
        self,
        padded: UInt8[Tensor, "N C PH PW"],
        index: Int64[Tensor, "B"],
        view: Int64[Tensor, "B"],
    ) -> UInt8[Tensor, "B C H W"]:
        """Returns the images `index`, each cropped and flipped as its `view` says.

        The result is on the device of the images.
        """
        height, width = (size - 2 * self.padding for size in padded.shape[2:])
        crops = padded.unfold(2, height, 1).unfold(3, width, 1)  # all crops, without copying
        down = view // self.side % self.side
        image = crops[index, :, down, view % self.side]
        if not self.flip:
            return image
        flipped: Bool[Tensor, "B 1 1 1"] = (view >= self.side**2)[:, None, None, None]
        return torch.where(flipped, image.flip(3), image)


CROP_FLIP = Crop(padding=4, flip=True)
"""The usual augmentation of CIFAR: 9 x 9 offsets, flipped or not, which makes 162 views."""


class Normalise:
    """Converts bytes to normalised floats: `(byte / 255 - mean) / std` for each channel."""

    def __init__(
        self, mean: tuple[float, ...], std: tuple[float, ...], device: torch.device
    ) -> None:
        channel = torch.tensor([mean, std], dtype=torch.float64)[:, :, None, None]
        self.scale = (1 / (255 * channel[1])).to(device, torch.float32)
        self.shift = (-channel[0] / channel[1]).to(device, torch.float32)

    def __call__(self, image: UInt8[Tensor, "B C H W"]) -> Float[Tensor, "B C H W"]:
        """Returns the normalised images."""
        return torch.addcmul(self.shift, image.float(), self.scale)
