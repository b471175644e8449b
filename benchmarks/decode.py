#!/usr/bin/env python
"""Compares ways to decode a JPEG file into a training view, in images per second of one core.

    python benchmarks/decode.py [--images 64]

The photographs are made up, of 500 x 375 pixels (ImageNet's usual size) and of 2000 x 1500; the
view is a random resized crop to 224 pixels. The benchmark counts processor time, so that other work
on the machine matters little. If there is a GPU, its decoder is measured in wall time, for a whole
batch.
"""

import argparse
import io
import time
from collections.abc import Callable

import numpy as np
import torch
from PIL import Image
from rich.console import Console
from rich.table import Table
from torch import Tensor
from torchvision.io import decode_jpeg
from torchvision.transforms.v2 import functional as transforms

from raykd.data.photo import Photo, resized_crop

SIZE, REPEATS = 224, 5


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--images", type=int, default=64, help="photographs of each size")
    count: int = parser.parse_args().images
    torch.set_num_threads(1)
    ways: dict[str, Callable[[bytes, int], object]] = {
        "raykd: torchvision's decoder, tensors": lambda data, i: Photo(SIZE, 0).train(data, 0, i),
        "Pillow": lambda data, i: pillow(data, i, draft=False),
        "Pillow, decoding at a fraction of the size": lambda data, i: pillow(data, i, draft=True),
    }
    table = Table("way", "500 x 375", "2000 x 1500", title="images per second of one core")
    small, large = photographs(count, 375, 500), photographs(max(count // 8, 1), 1500, 2000)
    for name, way in ways.items():
        table.add_row(name, f"{rate(way, small):,.0f}", f"{rate(way, large):,.0f}")
    if torch.cuda.is_available():
        table.add_row(
            "GPU's decoder, a batch", f"{gpu_rate(small):,.0f}", f"{gpu_rate(large):,.0f}"
        )
    Console().print(table)


def photographs(count: int, height: int, width: int) -> list[bytes]:
    """Returns JPEG files of smooth images with grain, about as large as ImageNet's files."""
    rng = np.random.default_rng(0)
    files = []
    for _ in range(count):
        coarse = rng.integers(0, 256, (height // 12, width // 12, 3), dtype=np.uint8)
        smooth = np.asarray(
            Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC)
        )
        grain = (smooth + rng.normal(0, 14, smooth.shape)).clip(0, 255).astype(np.uint8)
        out = io.BytesIO()
        Image.fromarray(grain).save(out, "JPEG", quality=90)
        files.append(out.getvalue())
    return files


def pillow(data: bytes, index: int, draft: bool) -> Tensor:
    """Makes the same view with Pillow."""
    image: Image.Image = Image.open(io.BytesIO(data))
    width, height = image.size
    (top, left, h, w), flip = resized_crop(0, 0, index, height, width)
    if draft:
        scale = min(h, w) / SIZE
        image.draft("RGB", (int(width / scale), int(height / scale)))
        shrunk = image.size[0] / width
        top, left, h, w = (int(x * shrunk) for x in (top, left, h, w))
    view = transforms.resized_crop(image.convert("RGB"), top, left, h, w, [SIZE] * 2)
    tensor: Tensor = transforms.pil_to_tensor(transforms.horizontal_flip(view) if flip else view)
    return tensor


def rate(way: Callable[[bytes, int], object], files: list[bytes]) -> float:
    """Returns the images per second of processor time, the best of a few repeats."""
    best = float("inf")
    for _ in range(REPEATS):
        start = time.process_time()
        for index, data in enumerate(files):
            way(data, index)
        best = min(best, time.process_time() - start)
    return len(files) / best


def gpu_rate(files: list[bytes]) -> float:
    """Returns the images per second of decoding alone, the best of a few repeats."""
    tensors = [torch.frombuffer(bytearray(data), dtype=torch.uint8) for data in files]
    best = float("inf")
    for _ in range(REPEATS):
        start = time.perf_counter()
        decode_jpeg(tensors, device="cuda")
        torch.cuda.synchronize()
        best = min(best, time.perf_counter() - start)
    return len(files) / best


if __name__ == "__main__":
    main()
