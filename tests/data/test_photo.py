import io

import numpy as np
import pytest
import torch
from PIL import Image
from scipy.stats import ks_2samp
from torchvision.transforms import v2
from torchvision.transforms.v2 import functional as tv

from raykd.data.photo import DamagedImageError, Photo, decode, resized_crop


def encoded(kind="JPEG", mode="RGB", size=(50, 37)):
    pixels = np.random.default_rng(0).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
    out = io.BytesIO()
    Image.fromarray(pixels).convert(mode).save(out, kind)
    return out.getvalue()


@pytest.mark.parametrize(
    ("kind", "mode"),
    [
        ("JPEG", "RGB"),
        ("JPEG", "L"),
        ("JPEG", "CMYK"),
        ("PNG", "RGBA"),
        ("PNG", "P"),
        ("WEBP", "RGB"),
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


@pytest.mark.parametrize("data", [b"", b"no image", encoded()[:-10], encoded("PNG")[:300]])
def test_damaged(data):
    with pytest.raises(DamagedImageError):
        decode(data)


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
