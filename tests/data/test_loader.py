"""Decoding processes."""

import signal
import tempfile
from pathlib import Path

import pytest

from raykd.data.imagenet import Images


def test_they_decode_where_the_temporary_folder_is_too_long_for_a_socket(
    made_photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def late(*_: object) -> None:
        raise TimeoutError("the loader waits for ever")

    long = tmp_path / ("scratch-of-job-1234567." * 4)
    long.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(long))
    before = signal.signal(signal.SIGALRM, late)
    signal.alarm(120)
    try:
        batches = list(Images(made_photos, size=16, batch_size=16, decoders=1).validation())
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)
    assert sum(len(batch.index) for batch in batches) == 6
