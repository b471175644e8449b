#!/usr/bin/env python
"""Compares raykd's CIFAR augmentation with that of torchvision in a DataLoader.

    python benchmarks/views.py [--images 10000] [--device cuda]

The views are crops and flips, normalised. raykd makes them from images in memory, in one thread, in
batches of 64, without a network. Both make an epoch of the same kind of views; a test shows that
single views are equal (`tests/data/test_views.py`).
"""

import argparse
import time
from collections.abc import Callable, Iterable

import torch
from rich.console import Console
from rich.table import Table
from torch.utils.data import DataLoader, Dataset
from torchvision import transforms
from torchvision.transforms.functional import to_pil_image

from raykd.data.synthetic import Synthetic

REPEATS = 3


class Photos(Dataset[tuple[torch.Tensor, int]]):
    """Data set like `torchvision.datasets.CIFAR100`, with made-up images."""

    def __init__(self, images: torch.Tensor, transform: Callable[..., torch.Tensor]) -> None:
        self.images, self.transform = images, transform

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> tuple[torch.Tensor, int]:
        return self.transform(to_pil_image(self.images[index])), index % 100


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--images", type=int, default=10_000)
    parser.add_argument("--device", default="cpu")
    options = parser.parse_args()
    torch.set_num_threads(1)
    data = Synthetic(classes=100, samples=options.images, validation=0.0, device=options.device)
    usual = transforms.Compose(
        [
            transforms.RandomCrop(32, padding=4),
            transforms.RandomHorizontalFlip(),
            transforms.ToTensor(),
            transforms.Normalize(data.mean, data.std),
        ]
    )
    loader = DataLoader(Photos(data.load().train, usual), batch_size=64, shuffle=True)
    ours, theirs = rate(lambda: data.train(0), len(data)), rate(lambda: loader, len(data))
    table = Table("pipeline", "images/s", "ratio")
    table.add_row("torchvision, DataLoader in one process", f"{theirs:,.0f}", "1.0")
    table.add_row(f"raykd, resident on {options.device}", f"{ours:,.0f}", f"{ours / theirs:.1f}")
    Console().print(table)


def rate(batches: Callable[[], Iterable[object]], count: int) -> float:
    """Returns the images per second over an epoch, the best of a few repeats."""
    best = float("inf")
    for _ in range(REPEATS):
        start = time.perf_counter()
        for _ in batches():
            pass
        if torch.cuda.is_available():
            torch.cuda.synchronize()
        best = min(best, time.perf_counter() - start)
    return count / best


if __name__ == "__main__":
    main()
