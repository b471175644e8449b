"""Images of 100 characters, rendered from the fonts in matplotlib: nothing is downloaded."""

import os
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Unpack

import numpy as np
import torch
from jaxtyping import UInt8
from PIL import Image, ImageDraw, ImageFont

from raykd.data.resident import Contents, Resident
from raykd.data.stream import Stream
from raykd.data.views import Crop, Purpose, random_noise, random_words
from raykd.storable import storable

CHARACTERS = (
    "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabdefghijmnqrtyαβγδεζηθλμξπσφψω"
    "ΓΔΘΛΞΠΣΦΨΩЖИДЮЯЭЩЦЫБЧ&@#$%?§¶€£¥±"
)
"""The characters, one for each class.

Lower-case letters that differ from their capitals only in size are left out, since size is random.
"""
COMPLETE = (
    *(f"DejaVuSans{style}" for style in ("", "-Bold", "-Oblique", "-BoldOblique")),
    *(f"DejaVuSansMono{style}" for style in ("", "-Bold", "-Oblique", "-BoldOblique")),
    *(f"DejaVuSerif{style}" for style in ("", "-Bold", "-Italic", "-BoldItalic")),
    *(f"STIXGeneral{style}" for style in ("", "Bol", "Italic", "BolIta")),
)
"""Names of the fonts that have all characters."""
LATIN = (*COMPLETE, "cmb10", "cmr10", "cmss10", "cmti10", "cmtt10")
"""Names of the fonts that have the Latin letters.

Computer Modern is only used for these: its Greek letters are not at their Unicode positions.
"""
CLASSES = len(CHARACTERS)
TRAIN, TEST = 9000, 2000
"""Numbers of training and test images."""
SIZE = 32
"""Height and width of an image, in pixels."""
RECIPE = 1
"""Version of the rendering; it must be increased when the rendering changes."""


@storable("images", "validation")
class Glyphs(Resident):
    """9,000 training and 2,000 test images of 32 x 32 pixels, one channel, in 100 classes.

    Font, size, position, angle, brightness and noise are random, but the same for every seed.
    Augmentation shifts an image by up to four pixels in each direction (81 views) and doesn't flip
    it.

    The images are rendered in seconds and cached in `$XDG_CACHE_HOME/raykd` (`~/.cache/raykd`).

    Args:
        images: Number of training images, including those held out; 9,000, all, by default.
        validation: Fraction of the training images that is held out; 1,000 of 9,000 by default.
        stream: Batch size, seed, device, rank and number of workers; see `Stream`.

    Raises:
        ValueError: `images` is above 9,000 or below 100, the number of classes.
    """

    classes = CLASSES
    crop = Crop(padding=4, flip=False)
    mean = (0.24,)
    std = (0.18,)

    def __init__(
        self, *, images: int | None = None, validation: float = 1 / 9, **stream: Unpack[Stream]
    ) -> None:
        images = TRAIN if images is None else images
        if not CLASSES <= images <= TRAIN:
            raise ValueError(
                f"images is {images}; glyphs has {TRAIN} training images, and at least {CLASSES}"
                " are needed for one of each class"
            )
        self._train = images
        super().__init__(validation=validation, **stream)

    def load(self) -> Contents:
        """Returns the images and classes; renders the images if they are not in the cache."""
        images = torch.from_numpy(_cached())[:, None]
        target = torch.arange(len(images)) % self.classes
        train = slice(self._train)
        return Contents(images[train], target[train], images[TRAIN:], target[TRAIN:])


def render(count: int) -> UInt8[np.ndarray, "count 32 32"]:
    """Renders the first `count` images; the class of image i is `i % 100`."""
    words = random_words(Purpose.CONTENT, 0, RECIPE, 8 * count).reshape(count, 8)
    chance = (words >> np.uint64(11)) / 2.0**53  # uniform in [0, 1)
    glyphs = np.stack([_draw(CHARACTERS[i % len(CHARACTERS)], row) for i, row in enumerate(chance)])
    black, white, level = chance[:, 5:, None, None].transpose(1, 0, 2, 3)
    black, white, level = 20 + 60 * black, 160 + 95 * white, 8 + 14 * level
    noise = random_noise(1, (count, SIZE, SIZE))
    images = black + (white - black) * (glyphs / 255) + level * noise
    octets: np.ndarray = np.rint(images).clip(0, 255).astype(np.uint8)
    return octets


def _draw(character: str, chance: np.ndarray) -> UInt8[np.ndarray, "32 32"]:
    """Draws a character in white on black, at twice the size, and then halves it.

    Args:
        character: The character.
        chance: Random numbers in [0, 1) for font, size, angle and position.
    """
    fonts = LATIN if character.isascii() and character.isalpha() else COMPLETE
    font = _font(fonts[int(chance[0] * len(fonts))], 32 + 2 * int(chance[1] * 12))
    canvas = Image.new("L", (2 * SIZE, 2 * SIZE))
    left, top, right, bottom = font.getbbox(character)
    across, down = (SIZE + 10 * (x - 0.5) for x in chance[3:5])
    corner = across - (left + right) / 2, down - (top + bottom) / 2
    ImageDraw.Draw(canvas).text(corner, character, fill=255, font=font)
    canvas = canvas.rotate(40 * (chance[2] - 0.5), Image.Resampling.BILINEAR)
    return np.asarray(canvas.reduce(2))


@cache
def _font(name: str, size: int) -> ImageFont.FreeTypeFont:
    import matplotlib  # installed with the extra `offline`

    folder = Path(matplotlib.get_data_path()) / "fonts" / "ttf"
    return ImageFont.truetype(
        str(folder / f"{name}.ttf"), size, layout_engine=ImageFont.Layout.BASIC
    )


def _cached() -> UInt8[np.ndarray, "N 32 32"]:
    """Returns all images from the cache; renders and caches them if they are not there."""
    folder = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "raykd"
    made_by = f"{RECIPE}-pillow-{version('pillow')}-matplotlib-{version('matplotlib')}"
    file = folder / f"glyphs-{made_by}.npy"
    try:
        images = np.load(file)
    except (OSError, ValueError, EOFError):
        pass  # not there yet, or damaged
    else:
        if (
            isinstance(images, np.ndarray)
            and images.shape == (TRAIN + TEST, SIZE, SIZE)
            and images.dtype == np.uint8
        ):
            return images
    images = render(TRAIN + TEST)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        part = file.with_suffix(f".{os.getpid()}.part")
        with part.open("wb") as out:
            np.save(out, images)
        part.replace(file)  # atomic, since other processes may render at the same time
    except OSError:
        pass  # without a cache the images are rendered again next time
    return images
