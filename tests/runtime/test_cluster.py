"""Which cluster a study runs on."""

import os
import shutil
import socket
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from machines import free_port

from raykd.runtime import cluster


@pytest.fixture(autouse=True)
def _no_cluster(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv(cluster.ADDRESS)
    monkeypatch.setenv("RAY_TMPDIR", str(tmp_path))


@pytest.fixture
def short() -> Iterator[Path]:
    """A folder with a path that leaves room for Ray's sockets, as pytest's own does not."""
    folder = Path(tempfile.mkdtemp(prefix="s-", dir="/tmp"))
    yield folder
    shutil.rmtree(folder)


def test_where_none_is_named_one_is_started(monkeypatch: pytest.MonkeyPatch) -> None:
    assert cluster.named() is None
    monkeypatch.setenv(cluster.ADDRESS, "local")
    assert cluster.named() is None


def test_the_one_of_the_environment_and_the_one_given(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as head, socket.create_server(("", 0)) as other:
        address = f"127.0.0.1:{head.getsockname()[1]}"
        monkeypatch.setenv(cluster.ADDRESS, f"ray://{address}")
        assert cluster.named() == f"ray://{address}"
        port = other.getsockname()[1]
        assert str(cluster.named(f"127.0.0.1:{port}")).endswith(f":{port}")


@pytest.mark.parametrize("by", ["environment", "ray start"])
def test_one_that_is_gone(by: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """As a head that crashed leaves it behind; Ray would try for five minutes and abort."""
    gone = f"127.0.0.1:{free_port()}"
    if by == "environment":
        monkeypatch.setenv(cluster.ADDRESS, gone)
    else:
        (tmp_path / "ray").mkdir()
        (tmp_path / "ray" / "ray_current_cluster").write_text(gone)
    with (
        pytest.raises(ValueError, match="no Ray cluster answers at") as told,
        cluster.cluster(dashboard=False),
    ):
        pass
    assert ("RAY_ADDRESS names" if by == "environment" else "last `ray start`") in str(told.value)
    assert str(told.value).endswith("RAY_ADDRESS=local to run the study on this machine alone")


def test_a_local_cluster_has_a_folder_of_its_user_alone(
    monkeypatch: pytest.MonkeyPatch, short: Path
) -> None:
    monkeypatch.setenv("RAY_TMPDIR", str(short))
    own = short / f"raykd-{os.getuid()}"
    for _ in range(2):  # the second time it is there, and open to everyone
        assert cluster.own_folders() == {"_temp_dir": str(own / "ray")}
        assert own.stat().st_mode & 0o777 == 0o700
        own.chmod(0o777)


def test_in_a_long_temporary_folder_sockets_lie_elsewhere_and_large_objects_in_it(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    long = tmp_path / ("scratch-of-job-1234567." * 4)
    long.mkdir()
    monkeypatch.delenv("RAY_TMPDIR")
    monkeypatch.setenv("TMPDIR", str(long))
    own = f"raykd-{os.getuid()}"
    assert cluster.own_folders() == {
        "_temp_dir": f"/tmp/{own}/ray",
        "object_spilling_directory": str(long / own),
    }


def test_what_another_put_in_the_place_of_the_folder_is_not_used(
    monkeypatch: pytest.MonkeyPatch, short: Path
) -> None:
    monkeypatch.setenv("RAY_TMPDIR", str(short))
    (short / "elsewhere").mkdir()
    (short / f"raykd-{os.getuid()}").symlink_to(short / "elsewhere")
    assert cluster.own_folders() == {"_temp_dir": f"/tmp/raykd-{os.getuid()}/ray"}


def test_where_no_folder_is_short_enough(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cluster, "RAY_FOLDER_BYTES", 3)
    with pytest.raises(ValueError, match="at most 3 bytes; set TMPDIR to a short path"):
        cluster.own_folders()
