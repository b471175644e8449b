import contextlib
import io
import multiprocessing
import warnings

import numpy as np
import pytest
import torch
from PIL import Image
from scipy.stats import ks_2samp
from torchvision.io import decode_image
from torchvision.transforms import v2
from torchvision.transforms.v2 import functional as tv

from raykd.data.photo import DamagedImageError, Photo, decode, resized_crop


def noise(size=(50, 37), seed=0):
    pixels = np.random.default_rng(seed).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
    return Image.fromarray(pixels)


def encoded(kind="JPEG", mode="RGB", size=(50, 37), **options):
    out = io.BytesIO()
    noise(size).convert(mode).save(out, kind, **options)
    return out.getvalue()


def decode_damaged(kind, mode):
    """Decodes files with one wrong bit each; other errors than the expected one end it with 1."""
    whole = encoded(kind, mode, (20, 16))
    for bit in range(0, 8 * len(whole), max(1, 8 * len(whole) // 600)):
        data = bytearray(whole)
        data[bit // 8] ^= 1 << bit % 8
        with contextlib.suppress(DamagedImageError):
            decode(bytes(data))


@pytest.mark.parametrize(
    ("kind", "mode"),
    [
        ("JPEG", "RGB"),
        ("JPEG", "L"),
        ("JPEG", "CMYK"),
        ("PNG", "RGBA"),
        ("PNG", "LA"),
        ("PNG", "P"),
        ("PNG", "1"),
        ("WEBP", "RGB"),
        ("WEBP", "RGBA"),
        ("GIF", "P"),
    ],
)
def test_decodes_what_pillow_does(kind, mode):
    data = encoded(kind, mode)
    expected = np.asarray(Image.open(io.BytesIO(data)).convert("RGB")).transpose(2, 0, 1)
    assert np.abs(decode(data).numpy().astype(int) - expected).max() <= 1


def test_decodes_16_bits():
    out = io.BytesIO()
    Image.fromarray(np.full((4, 5), 257 * 128, np.uint16)).save(out, "PNG")
    image = decode(out.getvalue())
    assert image.dtype == torch.uint8
    assert (image == 128).all()


@pytest.mark.parametrize("mode", ["1", "L", "P", "LA", "RGB", "RGBA"])
def test_png_has_the_pixels_of_torchvisions_decoder(mode):
    data = encoded("PNG", mode)
    theirs = decode_image(torch.frombuffer(bytearray(data), dtype=torch.uint8), "RGB")
    ours = decode(data)
    assert ours.equal(theirs)
    assert ours.stride() == theirs.stride()


@pytest.mark.parametrize("kind", ["GIF", "WEBP", "PNG"])
def test_a_moving_picture_is_its_first_frame(kind):
    frames = [noise(seed=number) for number in range(3)]
    out, first = io.BytesIO(), io.BytesIO()
    options = {"lossless": True} if kind == "WEBP" else {}
    frames[0].save(out, kind, save_all=True, append_images=frames[1:], **options)
    frames[0].save(first, kind, **options)
    assert decode(out.getvalue()).equal(decode(first.getvalue()))


def test_transparency_in_a_palette_is_no_warning():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert decode(encoded("PNG", "P", transparency=bytes(range(256)))).shape == (3, 37, 50)


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "it is empty"),
        (b"no image at all", "it begins with b'no image at "),
        (encoded("BMP"), "no JPEG, PNG, WebP or GIF image: it begins with b'BM"),
        (encoded()[:-10], "incomplete or truncated"),
        (encoded("PNG")[:300], "truncated"),
        (encoded("PNG", "1", (30_000, 30_000)), "more than 178,956,970 pixels"),
        (encoded("PNG", "1", (1, 1001)), "a side is more than 1000 times the other"),
    ],
)
def test_damaged(data, reason):
    with pytest.raises(DamagedImageError, match=reason):
        decode(data)


@pytest.mark.parametrize(
    ("kind", "mode"),
    [("PNG", "RGB"), ("PNG", "P"), ("JPEG", "RGB"), ("WEBP", "RGB")],
)
def test_a_wrong_bit_never_ends_the_process(kind, mode):
    process = multiprocessing.get_context("fork").Process(target=decode_damaged, args=(kind, mode))
    process.start()
    process.join(60)
    assert process.exitcode == 0


def test_a_view_is_named_by_seed_epoch_and_index():
    data = encoded()
    first = Photo(16, seed=0).train(data, 3, 5)
    assert first.equal(Photo(16, seed=0).train(data, 3, 5))
    assert (first.shape, first.dtype) == ((3, 16, 16), torch.uint8)
    for photo, epoch, index in [(Photo(16, 1), 3, 5), (Photo(16, 0), 4, 5), (Photo(16, 0), 3, 6)]:
        assert not first.equal(photo.train(data, epoch, index))


def test_training_view_equals_torchvision():
    data = encoded(size=(90, 70))
    flips = 0
    for index in range(20):
        box, flip = resized_crop(0, 0, index, 70, 90)
        expected = tv.resized_crop(decode(data), *box, [24, 24], antialias=True)
        expected = tv.horizontal_flip(expected) if flip else expected
        assert Photo(24, 0).train(data, 0, index).equal(expected)
        flips += flip
    assert 0 < flips < 20


def test_evaluation_view_equals_torchvision():
    data = encoded(size=(300, 400))
    usual = v2.Compose([v2.Resize(256), v2.CenterCrop(224)])
    assert Photo(224, 0).test(data).equal(usual(decode(data)))


def test_boxes_are_distributed_as_torchvisions():
    torch.manual_seed(0)
    theirs = v2.RandomResizedCrop(224)
    image = torch.empty(3, 100, 140)
    expected = [theirs.make_params([image]) for _ in range(2000)]
    got = [resized_crop(0, 0, index, 100, 140)[0] for index in range(2000)]
    for i, name in enumerate(("top", "left", "height", "width")):
        assert ks_2samp([box[i] for box in got], [box[name] for box in expected]).pvalue > 0.01


@pytest.mark.parametrize(("height", "width"), [(1, 1), (1, 400), (400, 1), (3, 2)])
def test_boxes_fit_images_of_any_shape(height, width):
    for index in range(50):
        (top, left, h, w), _ = resized_crop(0, 0, index, height, width)
        assert 0 <= top <= height - h < height
        assert 0 <= left <= width - w < width
