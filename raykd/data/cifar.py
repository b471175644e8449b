"""CIFAR-10 and CIFAR-100 (Krizhevsky, 2009), read from the archives of Python pickles."""

import pickle
from pathlib import Path
from pickle import UnpicklingError
from typing import Literal, Unpack

import numpy as np
import torch
from jaxtyping import Int64, UInt8
from torch import Tensor
from torchvision import datasets

from raykd.data.resident import Contents, Resident
from raykd.data.stream import Stream
from raykd.data.views import CROP_FLIP
from raykd.storable import storable

IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
"""Mean and standard deviation of ImageNet's channels, with which ReCU normalises CIFAR-10."""


class _CIFAR(Resident):
    """Common base of CIFAR-10 and CIFAR-100.

    Args:
        root: Folder that contains `cifar-10-batches-py` or `cifar-100-python`.
        download: Whether to download the archive into `root` if it is not there.
        verify: Whether to compare the files with the published MD5 sums; pass False for a data set
            of your own in the same format (`write_cifar`).
        validation: Fraction of the 50,000 training images that is held out.
        stream: Batch size, seed, device, rank and number of workers; see `Stream`.

    Raises:
        ValueError: The folder is missing or damaged.
    """

    crop = CROP_FLIP
    archive: type[datasets.CIFAR10]

    def __init__(
        self,
        root: str | Path,
        *,
        download: bool = False,
        verify: bool = True,
        validation: float = 0.1,
        **stream: Unpack[Stream],
    ) -> None:
        self._root, self._download, self._verify = Path(root).expanduser(), download, verify
        super().__init__(validation=validation, **stream)

    def load(self) -> Contents:
        """Returns the images and classes."""
        return Contents(*self._read(train=True), *self._read(train=False))

    def _read(self, train: bool) -> tuple[UInt8[Tensor, "N C H W"], Int64[Tensor, "N"]]:
        archive = self.archive if self._verify else _unverified(self.archive)
        try:
            files = archive(str(self._root), train=train, download=self._download)
        except (RuntimeError, OSError, EOFError, ValueError, LookupError, UnpicklingError) as error:
            folder = self._root / self.archive.base_folder
            raise ValueError(
                f"{type(self).__name__} needs the files of {self.archive.filename} in {folder},"
                f" which is {'damaged' if folder.is_dir() else 'missing'}; unpack the archive"
                f" there, or pass download=True ({error})"
            ) from error
        image = torch.from_numpy(np.ascontiguousarray(files.data.transpose(0, 3, 1, 2)))
        return image, torch.tensor(files.targets, dtype=torch.int64)


@storable("normalise", "validation")
class CIFAR10(_CIFAR):
    """60,000 photographs of 32 x 32 pixels in 10 classes.

    Args:
        root: Folder that contains `cifar-10-batches-py`.
        normalise: "cifar10" or "imagenet": data set whose mean and standard deviation are used for
            normalisation. ReCU uses ImageNet's.
        download: Whether to download the archive into `root` if it is not there.
        verify: Whether to compare the files with the published MD5 sums; pass False for a data set
            of your own in the same format (`write_cifar`).
        validation: Fraction of the 50,000 training images that is held out.
        stream: Batch size, seed, device, rank and number of workers; see `Stream`.

    Raises:
        ValueError: The folder is missing or damaged.
    """

    classes = 10
    archive = datasets.CIFAR10

    def __init__(
        self,
        root: str | Path,
        *,
        normalise: str = "cifar10",
        download: bool = False,
        verify: bool = True,
        validation: float = 0.1,
        **stream: Unpack[Stream],
    ) -> None:
        known = {
            "cifar10": ((0.4914, 0.4822, 0.4465), (0.2470, 0.2435, 0.2616)),
            "imagenet": (IMAGENET_MEAN, IMAGENET_STD),
        }
        if normalise not in known:
            raise ValueError(f"normalise is {normalise!r}; known: {', '.join(known)}")
        self.mean, self.std = known[normalise]
        super().__init__(root, download=download, verify=verify, validation=validation, **stream)


@storable("validation")
class CIFAR100(_CIFAR):
    """60,000 photographs of 32 x 32 pixels in 100 classes.

    Mean and standard deviation are those of the CRD benchmark. The arguments are those of `CIFAR10`
    without `normalise`; `root` contains `cifar-100-python`.
    """

    classes = 100
    archive = datasets.CIFAR100
    mean = (0.5071, 0.4867, 0.4408)
    std = (0.2675, 0.2565, 0.2761)


def write_cifar(
    root: str | Path, contents: Contents, archive: Literal["CIFAR10", "CIFAR100"]
) -> None:
    """Writes images into `root` in the published format, for tests and `--smoke`."""
    layout = {"CIFAR10": datasets.CIFAR10, "CIFAR100": datasets.CIFAR100}[archive]
    folder = Path(root) / layout.base_folder
    folder.mkdir(parents=True, exist_ok=True)
    key = "labels" if archive == "CIFAR10" else "fine_labels"
    parts = len(layout.train_list)
    chunks = [
        *zip(contents.train.chunk(parts), contents.train_target.chunk(parts), strict=True),
        (contents.test, contents.test_target),
    ]
    for (name, _), (image, target) in zip(
        layout.train_list + layout.test_list, chunks, strict=True
    ):
        entry = {"data": image.flatten(1).numpy(), key: target.tolist()}
        (folder / name).write_bytes(pickle.dumps(entry))
    names = [str(i) for i in range(int(contents.train_target.max()) + 1)]
    meta = pickle.dumps({layout.meta["key"]: names})
    (folder / layout.meta["filename"]).write_bytes(meta)


def _unverified(archive: type[datasets.CIFAR10]) -> type[datasets.CIFAR10]:
    """Returns the archive without its MD5 sums; torchvision then only checks that files exist."""
    return type(
        archive.__name__,
        (archive,),
        {
            "train_list": [[name, None] for name, _ in archive.train_list],
            "test_list": [[name, None] for name, _ in archive.test_list],
            "meta": archive.meta | {"md5": None},
        },
    )
