"""The folder that relative paths refer to, on the driver's machine and on other nodes."""

import sys
from functools import partial
from pathlib import Path

import pytest

from raykd.runtime.working_directory import enter, package_of, refuse_what_is_deleted
from raykd.train.component import describe


@pytest.fixture(autouse=True)
def trial(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder that Tune has put the process into."""
    folder = tmp_path / "trial"
    folder.mkdir()
    monkeypatch.chdir(folder)
    return folder


def copy_of_job(root: Path, name: str) -> Path:
    folder = root / "runtime_resources" / "working_dir_files" / name
    folder.mkdir(parents=True)
    return folder


def test_a_process_goes_to_where_the_study_was_started(tmp_path: Path) -> None:
    enter(tmp_path)
    assert Path.cwd() == tmp_path


def test_a_process_stays_where_that_folder_is_not_there(tmp_path: Path, trial: Path) -> None:
    enter(tmp_path / "on another machine")
    assert Path.cwd() == trial


def test_a_process_of_a_job_goes_to_its_own_nodes_copy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    drivers, own = (copy_of_job(tmp_path / node, "_ray_pkg_1f") for node in ("head", "worker"))
    (drivers / "deep").mkdir()
    (own / "deep").mkdir()
    monkeypatch.setattr(sys, "path", [str(own), *sys.path])
    enter(drivers / "deep")
    assert Path.cwd() == own / "deep"
    enter(drivers)
    assert Path.cwd() == own


def test_a_sent_working_directory_stands_in_for_a_folder_that_is_not_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = copy_of_job(tmp_path, "_ray_pkg_1f")
    monkeypatch.setattr(sys, "path", [*sys.path, str(own)])
    enter(tmp_path / "on another machine")
    assert Path.cwd() == own


def test_what_lies_in_a_job_is_told_from_what_does_not(tmp_path: Path) -> None:
    own = copy_of_job(tmp_path, "_ray_pkg_1f")
    assert package_of(own) == package_of(own / "results" / "deep") == own
    assert package_of(own.parent) is None
    assert package_of(tmp_path / "results") is None


def test_results_that_would_go_with_the_job_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = copy_of_job(tmp_path, "_ray_pkg_1f")
    (tmp_path / "link").symlink_to(own)
    monkeypatch.setattr(sys, "argv", ["mine.py", "--storage", "results", "--data", "my photos"])
    command = "-- python mine.py --data 'my photos' --storage s3://BUCKET/raykd`"
    for storage in (own / "results", tmp_path / "link" / "results"):
        with pytest.raises(ValueError, match=r"would be lost.*which Ray deletes") as told:
            refuse_what_is_deleted(str(storage))
        assert command in str(told.value)
    refuse_what_is_deleted("s3://bucket/raykd")
    refuse_what_is_deleted(str(tmp_path / "results"))


def weights(path: object) -> None:
    """Stands for a factory of networks."""


@pytest.mark.parametrize("kind", [str, Path])
def test_a_description_does_not_depend_on_the_copy(kind: type, tmp_path: Path) -> None:
    before, after = (copy_of_job(tmp_path, f"_ray_pkg_{i}") / "w.pth" for i in range(2))
    described = describe(partial(weights, path=kind(before)))
    assert described == describe(partial(weights, path=kind(after)))
    assert described == describe(partial(weights, path=kind("w.pth")))
