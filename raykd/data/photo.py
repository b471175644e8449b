"""Decodes photographs, and crops and resizes them to the input size of the networks.

The result is not yet normalised.
"""

import io
import struct
import zlib
from dataclasses import dataclass
from math import exp, log, sqrt
from typing import Any

import numpy as np
import torch
from jaxtyping import UInt8
from PIL import Image, UnidentifiedImageError
from torch import Tensor
from torchvision.io import decode_image
from torchvision.transforms.v2 import functional as transforms

from raykd.data.views import Purpose, random_words

AREA = (0.08, 1.0)
"""Range of the random crop's area, as a fraction of the image's.

This value and the next two were published with Inception and have been used for ImageNet since.
"""
RATIO = (3 / 4, 4 / 3)
"""Range of the random crop's width divided by its height."""
TRIES = 10
"""Number of random crops that are tried before a centre crop is taken."""

FORMATS = ("JPEG", "PNG", "WEBP", "GIF")
"""Pillow's names of the formats that are decoded."""
MAX_RATIO = 1000
"""Largest allowed ratio of an image's longer to its shorter side.

An image of this ratio takes 200 MB after its shorter side is resized to 256 pixels.
"""
PILLOW_ERRORS = (
    OSError,
    SyntaxError,
    ValueError,
    TypeError,
    LookupError,
    EOFError,
    ArithmeticError,
    RuntimeError,
    struct.error,
    zlib.error,
)
"""Exceptions that decoders raise for damaged files.

`RuntimeError` comes from torchvision, the others from Pillow's decoders, which are written in
Python.
"""


class DamagedImageError(ValueError):
    """An image that can't be decoded."""


@dataclass(frozen=True)
class Photo:
    """Random resized crop and flip for training; resize and centre crop for evaluation.

    The crop and flip of a training sample are a pure function of (seed, epoch, index) and of its
    size, so any process on any machine can repeat them.

    Args:
        size: Height and width of the networks' input, in pixels.
        seed: Seed of the random crops and flips.
    """

    size: int
    seed: int

    @property
    def resize(self) -> int:
        """Length of the shorter side before the centre crop, in pixels: 256 for a size of 224."""
        return round(self.size * 256 / 224)

    def train(self, data: bytes, epoch: int, index: int) -> UInt8[Tensor, "3 S S"]:
        """Decodes training sample `index` and returns its random crop for the given epoch.

        Raises:
            DamagedImageError: `data` can't be decoded.
        """
        image = decode(data)
        box, flip = resized_crop(self.seed, epoch, index, *image.shape[1:])
        image = transforms.resized_crop(image, *box, [self.size] * 2, antialias=True)
        view: Tensor = transforms.horizontal_flip(image) if flip else image
        return view.contiguous()

    def test(self, data: bytes) -> UInt8[Tensor, "3 S S"]:
        """Decodes an image and returns its centre crop.

        Raises:
            DamagedImageError: `data` can't be decoded.
        """
        image = transforms.resize(decode(data), [self.resize], antialias=True)
        centre: Tensor = transforms.center_crop(image, [self.size])
        return centre.contiguous()

    def describe(self) -> dict[str, Any]:
        """Returns a JSON-serialisable description of the augmentation."""
        return {"size": self.size, "resize": self.resize, "area": [*AREA], "ratio": [*RATIO]}


def decode(data: bytes) -> UInt8[Tensor, "3 H W"]:
    """Decodes a JPEG, PNG, WebP or GIF image to RGB; of an animation, the first frame.

    torchvision decodes JPEG and WebP, because it is faster (`benchmarks/decode.py`). Pillow decodes
    the rest: in torchvision, a damaged PNG can end the process, and animations have another shape.
    Transparency and EXIF orientation are ignored.

    Raises:
        DamagedImageError: `data` is not an image of these formats, is damaged, or is too large.
    """
    try:
        with Image.open(io.BytesIO(data), formats=FORMATS) as picture:  # reads the header only
            short, long = sorted(picture.size)
            if long > MAX_RATIO * short:
                raise DamagedImageError(f"a side is more than {MAX_RATIO} times the other")
            moving = picture.format == "WEBP" and getattr(picture, "n_frames", 1) > 1
            if picture.format in ("PNG", "GIF") or moving:
                return _pixels(picture)
        image: Tensor = decode_image(torch.frombuffer(bytearray(data), dtype=torch.uint8), "RGB")
        return image
    except UnidentifiedImageError as error:
        begins = f"it begins with {data[:12]!r}" if data else "it is empty"
        raise DamagedImageError(f"no JPEG, PNG, WebP or GIF image: {begins}") from error
    except Image.DecompressionBombError as error:
        limit = 2 * (Image.MAX_IMAGE_PIXELS or 0)
        raise DamagedImageError(f"it says that it has more than {limit:,} pixels") from error
    except PILLOW_ERRORS as error:
        raise DamagedImageError((str(error) or repr(error)).splitlines()[0]) from error


def _pixels(picture: Image.Image) -> UInt8[Tensor, "3 H W"]:
    picture.info.pop("transparency", None)  # otherwise Pillow warns that it is dropped
    if picture.mode.startswith("I;16"):  # Pillow would clip 16 bits, not scale them
        grey = (np.asarray(picture) >> 8).astype(np.uint8)
        pixels = np.repeat(grey[..., None], 3, axis=2)
    else:
        pixels = np.array(picture.convert("RGB"))
    return torch.from_numpy(pixels).permute(2, 0, 1)


def resized_crop(
    seed: int, epoch: int, index: int, height: int, width: int
) -> tuple[tuple[int, int, int, int], bool]:
    """Returns a random crop as (top, left, height, width), and whether to flip it.

    The area and the logarithm of the ratio are drawn from uniform distributions. The first of
    `TRIES` draws that fits into the image is taken. If none fits, the crop is the largest centre
    crop of an allowed ratio.

    Args:
        seed: Seed of the random crops.
        epoch: Number of the epoch, from 0.
        index: Index of the training sample.
        height: Height of the image, in pixels.
        width: Width of the image, in pixels.
    """
    words = random_words(Purpose.VIEW, seed, epoch, 3 + 2 * TRIES, index + 1)
    down, across, flip, *tries = (words / 2.0**64).tolist()
    for share, shape in zip(tries[::2], tries[1::2], strict=True):
        area = height * width * (AREA[0] + (AREA[1] - AREA[0]) * share)
        ratio = exp(log(RATIO[0]) + (log(RATIO[1]) - log(RATIO[0])) * shape)
        w, h = round(sqrt(area * ratio)), round(sqrt(area / ratio))
        if 0 < w <= width and 0 < h <= height:
            top = min(int(down * (height - h + 1)), height - h)  # `down` may be rounded up to 1
            left = min(int(across * (width - w + 1)), width - w)
            return (top, left, h, w), flip < 0.5
    w = min(width, round(height * RATIO[1]))
    h = min(height, round(width / RATIO[0]))
    return ((height - h) // 2, (width - w) // 2, h, w), flip < 0.5
