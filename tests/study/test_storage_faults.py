"""Storage that fails for a while: the study waits, says so, and loses nothing."""

import os
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import psutil
import pytest
from PIL import Image
from proxy import FaultyS3
from runs import finish, numbers, reports, start, trials, undisturbed, wait_for

from raykd.data.pack import pack

pytestmark = pytest.mark.long
FAULT_SECONDS = 20.0
"""Of each kind; `RAYKD_FAULT_SECONDS=60` for a minute."""


@pytest.fixture(scope="module")
def seconds() -> float:
    return float(os.environ.get("RAYKD_FAULT_SECONDS", FAULT_SECONDS))


@pytest.fixture(scope="module")
def unbroken(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return undisturbed(tmp_path_factory.mktemp("unbroken"))


@pytest.fixture
def faulty(moto_s3: str) -> Iterator[FaultyS3]:
    proxy = FaultyS3(os.environ["AWS_ENDPOINT_URL"])
    yield proxy
    proxy.stop()


def keys(file: Path, access: str) -> None:
    file.write_text(f"[default]\naws_access_key_id = {access}\naws_secret_access_key = secret-1\n")


def test_s3_refuses_is_slow_and_wants_new_keys(
    faulty: FaultyS3, moto_s3: str, unbroken: Path, tmp_path: Path, seconds: float
) -> None:
    """503 for a while, then answers that take seconds, then keys that have expired."""
    file = tmp_path / "credentials"
    keys(file, "old-key-of-the-study")
    environment = {"AWS_ENDPOINT_URL": faulty.url, "AWS_SHARED_CREDENTIALS_FILE": str(file)}
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        os.environ.pop(name)  # the fixture `s3_env` puts the environment back
    process = start(moto_s3, **environment)
    os.environ.update({"AWS_ACCESS_KEY_ID": "anything", "AWS_SECRET_ACCESS_KEY": "anything"})
    wait_for(lambda: reports(moto_s3) >= 2)
    faulty.busy = True
    time.sleep(seconds)
    faulty.busy = False
    before = reports(moto_s3)
    wait_for(lambda: reports(moto_s3) > before)
    faulty.delay = 1.0
    time.sleep(seconds)
    faulty.delay = 0.0
    assert faulty.refused > 0
    assert process.poll() is None, process.communicate()[0]
    before = reports(moto_s3)
    wait_for(lambda: reports(moto_s3) > before)
    faulty.only, faulty.refused = "new-key-of-the-study", 0
    wait_for(lambda: faulty.refused > 0)
    time.sleep(seconds)
    assert process.poll() is None, process.communicate()[0]
    keys(file, "new-key-of-the-study")
    output = finish(process)
    assert process.returncode == 0, output
    assert "the store fails, what is new waits in memory" in output
    assert "refuses the AWS credentials (ExpiredToken)" in output
    assert "the store answers again" in output
    assert trials(moto_s3) == trials(unbroken)
    assert numbers(moto_s3) == numbers(unbroken)


def test_everything_lost_but_s3(moto_s3: str, unbroken: Path) -> None:
    """Head, workers and driver die at once; another cluster goes on from the bucket alone."""
    process = start(moto_s3)
    wait_for(lambda: reports(moto_s3) >= 6)
    everything = [*psutil.Process(process.pid).children(recursive=True)]
    os.kill(process.pid, signal.SIGKILL)
    for child in everything:
        if child.is_running():
            child.send_signal(signal.SIGKILL)
    process.wait()
    again = start(moto_s3)
    output = finish(again)
    assert again.returncode == 0, output
    assert trials(moto_s3) == trials(unbroken)
    assert numbers(moto_s3) == numbers(unbroken)


def test_a_full_disk(unbroken: Path, tmp_path: Path) -> None:
    """Results and checkpoints on a disk that fills up, and has room again later."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=16m", "tmpfs", str(disk)]
    if subprocess.run(mount, capture_output=True).returncode:
        pytest.skip("only root may mount a small disk")
    try:
        process = start(disk / "results")
        wait_for(lambda: reports(disk / "results") >= 2)
        ballast = disk / "ballast"
        with ballast.open("wb") as file:
            try:
                while True:
                    file.write(b"\0" * 65536)
                    file.flush()
            except OSError:
                pass
        wait_for(lambda: psutil.disk_usage(str(disk)).free == 0)
        time.sleep(15)
        assert process.poll() is None, process.communicate()[0]
        ballast.unlink()
        output = finish(process)
        assert process.returncode == 0, output
        assert "the store fails, what is new waits in memory" in output
        assert "No space left on device" in output
        assert trials(disk / "results") == trials(unbroken)
        assert numbers(disk / "results") == numbers(unbroken)
    finally:
        subprocess.run(["umount", str(disk)], check=True)


PHOTOS = Path(__file__).with_name("photos.py")


def test_the_server_of_the_data_is_away(
    faulty: FaultyS3, moto_s3: str, tmp_path: Path, seconds: float
) -> None:
    """Packed images in S3, results on the disk: the images' server hangs up on everyone."""
    for split, count in (("train", 48), ("val", 16)):
        for name in "ab":
            folder = tmp_path / "photos" / split / name
            folder.mkdir(parents=True)
            for number in range(count):
                draw = np.random.default_rng(ord(name) + 1000 * number + count)
                Image.fromarray(draw.integers(0, 256, (24, 24, 3), np.uint8)).save(
                    folder / f"{number:02d}.png"
                )
    pack(tmp_path / "photos", moto_s3)
    there = {"AWS_ENDPOINT_URL": faulty.url, "PHOTOS": moto_s3}
    calm = undisturbed(tmp_path / "calm", script=PHOTOS, **there)
    results = tmp_path / "results"
    process = start(results, script=PHOTOS, **there)
    wait_for(lambda: reports(results) >= 2)
    faulty.away, faulty.refused = True, 0
    wait_for(lambda: faulty.refused > 0)
    time.sleep(seconds)
    assert process.poll() is None, process.communicate()[0]
    before = reports(results)
    time.sleep(2)
    assert reports(results) == before
    faulty.away = False
    output = finish(process)
    assert process.returncode == 0, output
    assert trials(results) == trials(calm)
    assert numbers(results) == numbers(calm)
