"""Made-up images of any size and number of classes: for tests and `--smoke`."""

from pathlib import Path
from typing import Unpack

import torch
from jaxtyping import Int64, UInt8
from torch import Tensor
from torchvision.io import write_jpeg

from raykd.data.resident import Contents, Resident
from raykd.data.stream import Stream
from raykd.data.views import CROP_FLIP, random_noise


class Synthetic(Resident):
    """Each class is a coarse random pattern; each image is its class's pattern under noise.

    Args:
        classes: Number of classes.
        shape: Channels, height and width.
        samples: Number of training images, the validation split included.
        tests: Number of test images.
        noise: Standard deviation of the noise, where the pattern's is 1.
        validation: Fraction of the training images that is held out.
        stream: See `Stream`. The images are the same for every seed.

    Raises:
        ValueError: A size is below 1.
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
        self.classes, self.shape, self.noise = classes, shape, noise
        self._counts = samples, tests
        self.mean, self.std = (0.5,) * shape[0], (0.25,) * shape[0]
        super().__init__(validation=validation, **stream)

    def load(self) -> Contents:
        """Returns the images."""
        channels, height, width = self.shape
        size = (self.classes, channels, -(-height // 4), -(-width // 4))
        coarse = torch.from_numpy(random_noise(0, size))
        # Mirror images are of the same class, as for photographs: the views flip.
        coarse = (coarse + coarse.flip(3)) / 2**0.5
        pattern = coarse.repeat_interleave(4, 2).repeat_interleave(4, 3)[:, :, :height, :width]
        return Contents(*self._make(pattern, 0), *self._make(pattern, 1))

    def _make(
        self, pattern: Tensor, split: int
    ) -> tuple[UInt8[Tensor, "N C H W"], Int64[Tensor, "N"]]:
        count = self._counts[split]
        target = torch.arange(count) % self.classes
        noise = torch.from_numpy(random_noise(1 + split, (count, *self.shape)))
        return (127.5 + 40 * (pattern[target] + self.noise * noise)).clamp(0, 255).byte(), target


def write_images(root: str | Path, data: Synthetic) -> None:
    """Writes made-up images as JPEG files into `train/` and `val/` of `root`."""
    train, train_target, test, test_target = data.load()
    for name, images, targets in (("train", train, train_target), ("val", test, test_target)):
        for i, (image, target) in enumerate(zip(images, targets.tolist(), strict=True)):
            folder = Path(root) / name / f"class{target:03d}"
            folder.mkdir(parents=True, exist_ok=True)
            write_jpeg(image, str(folder / f"{i:06d}.jpeg"))
