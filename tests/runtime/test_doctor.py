"""What the doctor finds on clusters that have something wrong with them."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from machines import Machines
from typer.testing import CliRunner

from raykd.cli import app
from raykd.runtime import doctor
from raykd.runtime.doctor import Requirements, condition, examine


def faults(wishes: Requirements) -> list[str]:
    return [finding.text for finding in examine(wishes) if finding.level == "fault"]


@pytest.mark.usefixtures("moto_s3")
def test_a_bucket_that_is_not_there_is_said_before_the_cluster_is_asked() -> None:
    found = condition(Requirements(storage="s3://no-such-bucket/raykd"), on_node=False)
    [fault] = found.faults
    assert "there is no bucket 'no-such-bucket'" in fault


def test_data_that_this_machine_cannot_read(tmp_path: Path) -> None:
    [fault] = condition(Requirements(data=str(tmp_path / "imagenet"))).faults
    assert fault.endswith("is not there; put it on S3 or on a file system of all nodes")
    assert condition(Requirements(data=str(tmp_path))).faults == []


def test_data_on_s3(moto_s3: str) -> None:
    [fault] = condition(Requirements(data=f"{moto_s3}/imagenet")).faults
    assert "is not there; upload it" in fault


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (
            RuntimeError("Version mismatch: The cluster was started with Ray 2.50"),
            "make them equal",
        ),
        (ConnectionError("Invalid or missing authentication token"), "RAY_AUTH_MODE=token"),
        (ConnectionError("ray client connection timeout"), "ray job submit"),
    ],
)
def test_a_cluster_that_does_not_let_one_in(error: Exception, told: str) -> None:
    assert told in doctor._unreached("10.0.0.1:6379", error)


@pytest.fixture(scope="module")
def machines() -> Iterator[Machines]:
    cluster = Machines(workers=1)
    yield cluster
    cluster.stop()


@pytest.mark.slow
def test_a_cluster_in_order_and_one_without_gpus_and_data(
    machines: Machines, tmp_path: Path
) -> None:
    results = str(tmp_path / "results")
    wishes = ["--address", machines.address, "--storage", results, "--data", str(tmp_path)]
    done = CliRunner().invoke(app, ["doctor", *wishes])
    assert done.exit_code == 0, done.output
    assert done.output.count("store writable, data readable, clock right") == 2
    done = CliRunner().invoke(app, ["doctor", *wishes[:-1], str(tmp_path / "gone"), "--gpus"])
    assert done.exit_code == 1, done.output
    assert "no node has a GPU" in done.output
    assert done.output.count("is not there; put it on S3") == 2


@pytest.mark.slow
def test_nodes_that_differ(machines: Machines, monkeypatch: pytest.MonkeyPatch) -> None:
    """As if this machine had other packages, and a clock that nobody agrees with."""
    monkeypatch.setattr(doctor, "version", lambda name: "1.0")
    monkeypatch.setattr(doctor, "CLOCK_SECONDS", -10.0)
    found = faults(Requirements(address=machines.address))
    assert sum("and this machine 1.0" in fault for fault in found) == 2 * len(doctor.PACKAGES)
    assert sum("its clock is" in fault for fault in found) == 2


@pytest.mark.slow
def test_a_wrong_address() -> None:
    [fault] = faults(Requirements(address="127.0.0.1:1"))
    assert fault.startswith("no Ray cluster answers at 127.0.0.1:1")
