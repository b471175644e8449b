"""Small synthetic data sets in the file formats of published ones, for `--smoke`.

Each call writes the files into a temporary folder and reads them in the way that the files of the
published data set are read, so nothing is downloaded. The contents are the same on every machine.
"""

import weakref
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Unpack

from raykd.data.cifar import CIFAR10, CIFAR100, write_cifar
from raykd.data.imagenet import ImageNet
from raykd.data.stream import Stream
from raykd.data.synthetic import make, write_images
from raykd.storable import storable

VALIDATION = 0.2
"""Fraction of the training images that is held out for validation: 12 of 60."""


@storable("normalise")
def sample_cifar10(*, normalise: str = "cifar10", **stream: Unpack[Stream]) -> CIFAR10:
    """Makes a CIFAR-10 with 60 training and 20 test images, in pickles as the published ones."""
    with TemporaryDirectory(prefix="raykd-") as root:
        write_cifar(root, make(10, (3, 32, 32), 60, 20), "CIFAR10")
        return CIFAR10(root, normalise=normalise, verify=False, validation=VALIDATION, **stream)


@storable()
def sample_cifar100(**stream: Unpack[Stream]) -> CIFAR100:
    """Makes a CIFAR-100 with 60 training and 20 test images, of 20 of its classes, in pickles."""
    with TemporaryDirectory(prefix="raykd-") as root:
        write_cifar(root, make(20, (3, 32, 32), 60, 20), "CIFAR100")
        return CIFAR100(root, verify=False, validation=VALIDATION, **stream)


@storable()
def sample_imagenet(**stream: Unpack[Stream]) -> ImageNet:
    """Makes an ImageNet with 60 training and 20 test JPEG files in 4 classes, cropped to 64 x 64.

    The temporary folder is deleted together with the returned object.
    """
    folder = TemporaryDirectory(prefix="raykd-")
    write_images(Path(folder.name), make(4, (3, 72, 96), 60, 20))
    data = ImageNet(folder.name, size=64, validation=VALIDATION, decoders=0, **stream)
    weakref.finalize(data, folder.cleanup)  # files are read as long as `data` lives
    return data
