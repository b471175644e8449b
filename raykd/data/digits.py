"""The handwritten digits that come with scikit-learn, so that nothing is downloaded."""

from typing import Unpack

import numpy as np
import torch

from raykd.data.resident import Contents, Resident
from raykd.data.stream import Stream
from raykd.data.views import Crop, Purpose, random_order
from raykd.storable import storable

TEST = 397
"""Number of test images; it leaves 1,400 of the 1,797 for training."""


@storable("validation")
class Digits(Resident):
    """1,797 digits of 8 x 8 pixels in 10 classes (UCI's optical recognition test set).

    The images are not resized: the maps of the three stages of a CIFAR ResNet have 8 x 8, 4 x 4 and
    2 x 2 pixels. The published set has no split; the test set is 397 images, the same for every
    seed. Augmentation shifts an image by up to one pixel in each direction (9 views) and doesn't
    flip it.

    Args:
        validation: Fraction of the 1,400 training images that is held out.
        stream: Batch size, seed, device, rank and number of workers; see `Stream`.
    """

    classes = 10
    crop = Crop(padding=1, flip=False)
    mean = (0.305,)
    std = (0.376,)

    def __init__(self, *, validation: float = 0.2, **stream: Unpack[Stream]) -> None:
        super().__init__(validation=validation, **stream)

    def load(self) -> Contents:
        """Returns the images, their 17 grey levels scaled to the range of a byte."""
        from sklearn.datasets import load_digits  # installed with the extra `offline`

        images, targets = load_digits(return_X_y=True)
        image = torch.from_numpy(np.rint(images * (255 / 16)).astype(np.uint8)).view(-1, 1, 8, 8)
        target = torch.from_numpy(targets.astype(np.int64))
        order = torch.from_numpy(random_order(Purpose.CONTENT, 0, 0, len(target)))
        train, test = order[TEST:], order[:TEST]
        return Contents(image[train], target[train], image[test], target[test])
