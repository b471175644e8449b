"""Which cluster a study runs on."""

import socket
from pathlib import Path

import pytest
from machines import free_port

from raykd.study import cluster


@pytest.fixture(autouse=True)
def _no_cluster(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv(cluster.ADDRESS)
    monkeypatch.setenv("RAY_TMPDIR", str(tmp_path))


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
