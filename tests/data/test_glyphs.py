import numpy as np
import pytest
import torch

from raykd.data import glyphs
from raykd.data.glyphs import CHARACTERS, Glyphs, render


@pytest.fixture
def _small(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(glyphs, "TRAIN", 900)
    monkeypatch.setattr(glyphs, "TEST", 200)


def test_a_hundred_characters():
    assert len(CHARACTERS) == len(set(CHARACTERS)) == 100


def test_every_font_has_its_characters():
    from pathlib import Path

    import matplotlib
    from matplotlib.ft2font import FT2Font

    folder = Path(matplotlib.get_data_path()) / "fonts" / "ttf"
    latin = {c for c in CHARACTERS if c.isascii() and c.isalpha()}
    for fonts, needed in [(glyphs.COMPLETE, set(CHARACTERS)), (glyphs.LATIN, latin)]:
        for font in fonts:
            assert needed <= set(map(chr, FT2Font(str(folder / f"{font}.ttf")).get_charmap()))


def test_rendering_is_repeated_exactly():
    first = render(300)
    assert (first[:150] == render(150)).all()
    assert len(np.unique(first.reshape(300, -1), axis=0)) == 300


@pytest.mark.usefixtures("_small")
def test_glyphs_and_their_cache(tmp_path):
    d = Glyphs()
    assert (len(d), d.classes, d.shape, d.views) == (800, 100, (1, 32, 32), 81)
    assert sum(len(b.index) for b in d.validation()) == 100
    assert torch.cat([b.target for b in d.test()]).bincount().tolist() == [2] * 100
    [file] = (tmp_path / "raykd").iterdir()
    stamp = file.stat().st_mtime_ns
    assert Glyphs().describe() == d.describe()
    assert file.stat().st_mtime_ns == stamp
    file.write_bytes(file.read_bytes()[:1000])
    assert Glyphs().describe() == d.describe()
    assert file.stat().st_size > 1000


@pytest.mark.usefixtures("_small")
def test_a_home_that_cannot_be_written(monkeypatch, tmp_path):
    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    assert len(Glyphs()) == 800
