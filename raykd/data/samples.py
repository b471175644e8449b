"""Small made-up sets in the files of the published ones, for `--smoke`: nothing to download.

Each call writes the files into a folder of its own and reads them as those of the published set
are read. Their contents are the same on every machine.
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


@storable("normalise")
def sample_cifar10(*, normalise: str = "cifar10", **stream: Unpack[Stream]) -> CIFAR10:
    """CIFAR-10's pickles with 60 training and 20 test images."""
    with TemporaryDirectory(prefix="raykd-") as root:
        write_cifar(root, make(10, (3, 32, 32), 60, 20), "CIFAR10")
        return CIFAR10(root, normalise=normalise, verify=False, validation=VALIDATION, **stream)


@storable()
def sample_cifar100(**stream: Unpack[Stream]) -> CIFAR100:
    """CIFAR-100's pickles with 60 training and 20 test images, of 20 of its classes."""
    with TemporaryDirectory(prefix="raykd-") as root:
        write_cifar(root, make(20, (3, 32, 32), 60, 20), "CIFAR100")
        return CIFAR100(root, verify=False, validation=VALIDATION, **stream)


@storable()
def sample_imagenet(**stream: Unpack[Stream]) -> ImageNet:
    """ImageNet's folders with 60 training and 20 test JPEGs in 4 classes, seen as 64 x 64."""
    folder = TemporaryDirectory(prefix="raykd-")
    write_images(Path(folder.name), make(4, (3, 72, 96), 60, 20))
    data = ImageNet(folder.name, size=64, validation=VALIDATION, decoders=0, **stream)
    weakref.finalize(data, folder.cleanup)  # its files are read for as long as it lives
    return data
