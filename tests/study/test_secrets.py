"""Keys of the environment stand in nothing that a study leaves behind, prints or shows."""

import base64
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

import psutil
import pytest
from runs import TINY
from typer.testing import CliRunner

from raykd.cli import app
from raykd.data.synthetic import Synthetic
from raykd.store import Folder
from raykd.study import Study

KEY, SECRET, TOKEN, PROXY = "AKIAMARKEDFORTESTS", "mArKeDsEcReT", "mArKeDtOkEn", "mArKeDpRoXy"
MARKS = (KEY, SECRET, TOKEN, PROXY)
MARKED = {
    "AWS_ACCESS_KEY_ID": KEY,
    "AWS_SECRET_ACCESS_KEY": f"ab/{SECRET}+c%2Fd=",
    "AWS_SESSION_TOKEN": f"e/f+{TOKEN}==",
    "AWS_SECURITY_TOKEN": f"e/f+{TOKEN}==",
    "HTTPS_PROXY": f"http://user:{PROXY}@127.0.0.1:9",
}


def forms() -> dict[bytes, str]:
    """Every mark as it is, which is also how it stands percent-encoded, and in Base64."""
    found = {mark.encode(): mark for mark in MARKS}
    for mark in MARKS:
        for before in range(3):  # bytes of Base64 depend on where in three bytes the text begins
            coded = base64.b64encode(b"\0" * before + mark.encode())
            found[coded[4 if before else 0 : -4]] = f"{mark} in Base64"
    return found


def told(text: bytes) -> list[str]:
    return sorted({name for form, name in forms().items() if form in text})


@pytest.fixture
def home() -> Iterator[Path]:
    """A home, a working folder and a temporary folder in one, short enough for Ray's sockets."""
    folder = Path(tempfile.mkdtemp(prefix="s-", dir="/tmp"))
    yield folder
    shutil.rmtree(folder)


def run(home: Path, *options: str) -> tuple[bytes, set[str]]:
    """Runs a study to its end; returns what it printed and all its processes' command lines."""
    command = [sys.executable, str(TINY), "--trials", "1", "--epochs", "1", *options]
    where = {"HOME": str(home), "TMPDIR": str(home)}
    lines: set[str] = set()
    with (home / "printed").open("wb") as file:
        process = subprocess.Popen(
            command, cwd=home, env={**os.environ, **where}, stdout=file, stderr=file
        )
        while process.poll() is None:
            for child in psutil.Process(process.pid).children(recursive=True):
                with suppress(psutil.NoSuchProcess):
                    lines.add(" ".join(child.cmdline()))
            time.sleep(0.5)
    printed = (home / "printed").read_bytes()
    assert process.returncode == 0, printed.decode()
    return printed, lines


@pytest.mark.slow
@pytest.mark.parametrize(
    "workers", ["0", pytest.param("1", marks=pytest.mark.long, id="Ray Train")]
)
def test_nothing_that_is_left_holds_a_key(
    workers: str, moto_s3: str, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in MARKED.items():
        monkeypatch.setenv(name, value)
    printed, lines = run(home, "--storage", moto_s3, "--workers", workers)

    assert not (home / f"raykd-{os.getuid()}").stat().st_mode & 0o077
    files = [path for path in home.rglob("*") if path.is_file() and not path.is_symlink()]
    assert any(path.name == "gcs_server.out" and path.stat().st_size for path in files)
    leaks = {str(path): found for path in files if (found := told(path.read_bytes()))}
    assert not leaks
    assert any("raylet" in line for line in lines)
    assert not told("\n".join(lines).encode())

    store = Folder(moto_s3)
    monkeypatch.chdir(home)
    shown = [printed]
    for command in ("report", "best"):
        shown.append(CliRunner().invoke(app, [command, moto_s3, "tiny"]).output.encode())
    exported = CliRunner().invoke(app, ["export", moto_s3, "tiny", "--best", "--output", "taken"])
    assert exported.exit_code == 0, exported.output
    shown += [path.read_bytes() for path in Path("taken").iterdir()]
    paths = store.list()
    assert {"tiny/study.json", "tiny/report.html"} <= set(paths)
    shown += store.read_all(paths).values()
    assert not told(b"\0".join(shown))


class Bought(Synthetic):
    """Made-up data that take an address, as those of a user's own may."""

    def __init__(self, root: str, **options: Any) -> None:
        super().__init__(**options)


def test_credentials_in_what_study_json_would_hold_are_refused(
    study: Callable[..., Study], tmp_path: Path
) -> None:
    data = partial(Bought, "postgres://AKIA:sec/ret@host/x", **study().data.keywords)
    with pytest.raises(ValueError, match=r"^made_by\.data\.arguments\.root") as told_of:
        study(data=data).run(str(tmp_path / "results"))
    assert "sec/" not in str(told_of.value)
    assert not list(tmp_path.rglob("study.json"))
