import numpy as np
import pytest
import torch
from torchvision.transforms.v2 import functional as tv

from raykd.data.views import (
    CROP_FLIP,
    Crop,
    Normalise,
    Purpose,
    random_noise,
    random_order,
    random_words,
)


def images(count=3, channels=3, size=32):
    generator = torch.Generator().manual_seed(0)
    shape = (count, channels, size, size)
    return torch.randint(0, 256, shape, generator=generator, dtype=torch.uint8)


def test_words_are_named_by_purpose_seed_epoch_and_index():
    first = random_words(Purpose.VIEW, 3, 5, 8)
    assert (first == random_words(Purpose.VIEW, 3, 5, 8)).all()
    for other in [(Purpose.ORDER, 3, 5, 8), (Purpose.VIEW, 4, 5, 8), (Purpose.VIEW, 3, 6, 8)]:
        assert not np.isin(first, random_words(*other)).any()
    assert not np.isin(first, random_words(Purpose.VIEW, 3, 5, 8, index=1)).any()


def test_words_never_change():
    """The stored results and cached features of all earlier studies depend on these."""
    golden = [213000021201967259, 4455796210202625458, 2055444239878205049]
    assert random_words(Purpose.VIEW, 0, 0, 3).tolist() == golden


def test_a_view_does_not_depend_on_how_many_are_asked_for():
    assert (CROP_FLIP.choose(1, 2, 50_000)[:10] == CROP_FLIP.choose(1, 2, 10)).all()


@pytest.mark.parametrize(
    ("crop", "views"), [(CROP_FLIP, 162), (Crop(4, flip=False), 81), (Crop(1, flip=False), 9)]
)
def test_all_views_occur_and_differ(crop, views):
    assert crop.views == views
    assert np.unique(crop.choose(0, 0, 5000)).tolist() == list(range(views))
    seen = crop.apply(
        crop.pad(images(1)), torch.zeros(views, dtype=torch.int64), torch.arange(views)
    )
    assert len(seen.flatten(1).unique(dim=0)) == views


def test_views_are_equally_likely():
    counts = np.bincount(CROP_FLIP.choose(0, 0, 162_000), minlength=162)
    assert ((counts - 1000) ** 2 / 1000).sum() < 162 + 4 * (2 * 162) ** 0.5  # chi-squared


def test_centre_is_the_image_itself():
    view = torch.full((3,), CROP_FLIP.centre)
    assert CROP_FLIP.apply(CROP_FLIP.pad(images()), torch.arange(3), view).equal(images())


def test_equals_torchvision():
    mean, std = (0.5071, 0.4867, 0.4408), (0.2675, 0.2565, 0.2761)
    view = torch.arange(162)
    index = view % 3
    ours = CROP_FLIP.apply(CROP_FLIP.pad(images()), index, view)
    ours = Normalise(mean, std, torch.device("cpu"))(ours)
    for i, got in zip(view.tolist(), ours, strict=True):
        flip, down, right = i // 81, i // 9 % 9, i % 9
        expected = tv.crop(tv.pad(images()[i % 3], [4] * 4), down, right, 32, 32)
        expected = tv.horizontal_flip(expected) if flip else expected
        expected = tv.normalize(tv.to_dtype(expected, torch.float32, scale=True), mean, std)
        torch.testing.assert_close(got, expected, rtol=0, atol=1e-6)


def test_order_is_a_permutation_of_its_own():
    order = random_order(Purpose.ORDER, 0, 0, 1000)
    assert sorted(order) == list(range(1000))
    assert (order != random_order(Purpose.ORDER, 0, 1, 1000)).any()
    assert (order != random_order(Purpose.SPLIT, 0, 0, 1000)).any()


def test_noise_is_nearly_normal():
    noise = random_noise(0, (100, 1000))
    assert abs(noise.mean()) < 0.02
    assert abs(noise.std() - 1) < 0.02
    assert random_noise(0, (3,)).tolist() == noise.flat[:3].tolist()
