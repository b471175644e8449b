"""Synthetic images of any size and number of classes, for tests and `--smoke`."""

from math import prod
from pathlib import Path
from typing import Unpack

import torch
from torch import Tensor
from torchvision.io import write_jpeg

from raykd.data.resident import Contents, Resident
from raykd.data.stream import Stream
from raykd.data.views import CROP_FLIP, random_noise
from raykd.storable import storable

MOST = 2**29
"""Largest number of values in all images together.

They take 4 GiB (as float64) while they are made. There is a limit because a store may request
images of any size.
"""


@storable("classes", "shape", "samples", "tests", "noise", "validation")
class Synthetic(Resident):
    """Random images: each class has a coarse pattern, to which each image adds its own noise.

    Args:
        classes: Number of classes.
        shape: Channels, height and width of an image.
        samples: Number of training images, including the validation split.
        tests: Number of test images.
        noise: Standard deviation of the noise, relative to that of the pattern.
        validation: Fraction of the training images that is held out.
        stream: Batch size, seed, device, rank and number of workers; see `Stream`. The images are
            the same for every seed.

    Raises:
        ValueError: A size is below 1, or the images have more than `MOST` values.
    """

    crop = CROP_FLIP

    def __init__(
        self,
        *,
        classes: int = 10,
        shape: tuple[int, int, int] = (3, 32, 32),
        samples: int = 640,
        tests: int = 128,
        noise: float = 1.0,
        validation: float = 0.2,
        **stream: Unpack[Stream],
    ) -> None:
        if min(classes, samples, tests, *shape) < 1:
            raise ValueError(
                f"classes={classes}, shape={shape}, samples={samples}, tests={tests}:"
                " each must be at least 1"
            )
        if (samples + tests + classes) * prod(shape) > MOST:
            raise ValueError(
                f"{samples + tests} images of shape {shape} are more than {MOST} values; made-up"
                " images are held in memory, so ask for fewer or smaller ones"
            )
        self.classes, self.mean, self.std = classes, (0.5,) * shape[0], (0.25,) * shape[0]
        self._contents = make(classes, shape, samples, tests, noise)
        super().__init__(validation=validation, **stream)

    def load(self) -> Contents:
        """Returns the images and classes."""
        return self._contents


def make(
    classes: int, shape: tuple[int, int, int], samples: int, tests: int, noise: float = 1.0
) -> Contents:
    """Returns synthetic images; the arguments are those of `Synthetic`."""
    channels, height, width = shape
    size = (classes, channels, -(-height // 4), -(-width // 4))
    coarse = torch.from_numpy(random_noise(0, size))
    # The patterns are symmetric: augmentation flips images, and that must not change the class.
    coarse = (coarse + coarse.flip(3)) / 2**0.5
    pattern = coarse.repeat_interleave(4, 2).repeat_interleave(4, 3)[:, :, :height, :width]
    parts: list[Tensor] = []
    for series, count in ((1, samples), (2, tests)):
        target = torch.arange(count) % classes
        noisy = pattern[target] + noise * torch.from_numpy(random_noise(series, (count, *shape)))
        parts += [(127.5 + 40 * noisy).clamp(0, 255).byte(), target]
    return Contents(*parts)


def write_images(root: str | Path, contents: Contents) -> None:
    """Writes images as JPEG files into `train/` and `val/`, in a folder for each class."""
    train, train_target, test, test_target = contents
    for name, images, targets in (("train", train, train_target), ("val", test, test_target)):
        for i, (image, target) in enumerate(zip(images, targets.tolist(), strict=True)):
            folder = Path(root) / name / f"class{target:03d}"
            folder.mkdir(parents=True, exist_ok=True)
            write_jpeg(image, str(folder / f"{i:06d}.jpeg"))
