"""The three kinds of storage, made-up records, and a folder that dies in the middle of things."""

import json
import os
from types import SimpleNamespace

import pytest

from raykd.store import Folder, Study
from raykd.store.metrics import long_table
from raykd.store.records import checked
from raykd.store.trials import Trials

SPEC = {
    "metric": ["val_top1"],
    "mode": ["max"],
    "space": {},
    "trials": 4,
    "identity": {"seed": 0, "space": {"alpha": [1.0, 2.0]}},
}


def trial(number, *, config=None, role="search", method="itrd", cohort="0000"):
    return {
        "kind": "trial",
        "trial": f"{number:04d}",
        "number": number,
        "cohort": cohort,
        "role": role,
        "method": method,
        "seed": number,
        "config": {"alpha": 1 + number / 10} if config is None else config,
        "time": "2026-01-01T00:00:00+00:00",
    }


def report(number, epoch, **metrics):
    return {"kind": "report", "trial": f"{number:04d}", "epoch": epoch, "metrics": metrics}


def end(number, state="COMPLETE", **fields):
    fields = {"reason": "", "checkpoint": "", "cost": {"seconds": 1.5}, "params": 100, **fields}
    return {"kind": "end", "trial": f"{number:04d}", "state": state, **fields}


def finished(number, *values, state="COMPLETE", **fields):
    """A whole trial; one epoch for each value of `val_top1`."""
    reports = [report(number, i + 1, val_top1=value) for i, value in enumerate(values)]
    return [trial(number, **fields), *reports, end(number, state)]


def bury(folder, term):
    """Makes a writer in this very process count as dead."""
    folder.write(f"writer/{term:06d}.beat", json.dumps({"time": 0.0, "closed": True}).encode())


def assert_holds(folder, records):
    """The study says exactly what a replay of all records says."""
    records = [checked(record) for record in records]
    trials = Trials(None, "val_top1", "max")
    trials.apply(records)
    study = Study(folder, "study")
    expected = trials.table().drop_columns(["config"])
    assert repr(study.trials().to_pydict()) == repr(expected.to_pydict())
    assert study.trials().schema == expected.schema
    assert repr(study.metrics().to_pydict()) == repr(long_table(records).to_pydict())
    assert study.warnings == []


class KilledError(BaseException):
    """The process ends here."""


class DyingFolder(Folder):
    """Lets so many requests that change something through, and dies at the next."""

    lives = 10**9

    def _live(self):
        self.lives -= 1
        if self.lives < 0:
            raise KilledError

    def write(self, path, data, *, if_absent=False):
        self._live()
        return super().write(path, data, if_absent=if_absent)

    def delete(self, *paths):
        for path in paths:
            self._live()
            super().delete(path)


@pytest.fixture(scope="session")
def made():
    return SimpleNamespace(
        spec=SPEC,
        trial=trial,
        report=report,
        end=end,
        finished=finished,
        bury=bury,
        assert_holds=assert_holds,
        DyingFolder=DyingFolder,
        KilledError=KilledError,
    )


@pytest.fixture(params=["local", "moto", "rclone"])
def root(request, tmp_path):
    """A URI on each kind of storage; nothing is stored below it."""
    if request.param == "local":
        return os.fspath(tmp_path / "store")
    return request.getfixturevalue(f"{request.param}_s3")


@pytest.fixture(params=["local", "moto"])
def conditional_root(request, tmp_path):
    """The storages on which one of several writers wins."""
    if request.param == "local":
        return os.fspath(tmp_path / "store")
    return request.getfixturevalue(f"{request.param}_s3")
