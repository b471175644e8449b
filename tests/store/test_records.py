import json
import math

import numpy as np
import pytest

from raykd.store import StoreError
from raykd.store.errors import DamagedObjectError
from raykd.store.records import checked, from_json, pack, to_json, unpack


def test_json_is_strict_and_keeps_nan_and_infinities():
    value = {"a": [math.inf, -math.inf, 1, 1.0, True, None, "NaN"], "b": {"c": math.nan}}
    text = to_json(value)
    json.loads(text, parse_constant=pytest.fail)
    again = from_json(text)
    assert repr(again) == repr(value)


def test_numpy_numbers_are_numbers(made):
    record = made.report(1, np.int64(2), val_top1=np.float32(0.5), loss=np.float64("inf"))
    assert unpack(pack([checked(record)])) == [made.report(1, 2, val_top1=0.5, loss=math.inf)]
    config = {"rank": np.int32(4), "alpha": np.float32(0.5), "stages": (1, 2), "clip": math.inf}
    stored = checked(made.trial(1, config=config))["config"]
    assert stored == {"rank": 4, "alpha": 0.5, "stages": [1, 2], "clip": math.inf}
    assert type(stored["rank"]) is int


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"kind": "event"}, "unknown kind of record 'event'; known: trial, report, end"),
        ({"epoch": 0}, "counted from 1"),
        ({"epoch": 1.0}, "epoch of a 'report' record is 1.0; it must be int"),
        ({"epoch": True}, "it must be int"),
        ({"epoch": 2**63}, "must fit in 64 bits"),
        ({"metrics": {"loss": "low"}}, "metrics must be numbers; not so: loss"),
        ({"metrics": {"epoch": 1}}, "cannot be called 'epoch'"),
        ({"step": 1}, "missing or unknown fields: step"),
        ({"trial": 7}, "must be str"),
    ],
)
def test_bad_reports(made, change, message):
    with pytest.raises(StoreError, match=message):
        checked(made.report(1, 1, loss=0.0) | change)


def test_bad_trials_and_ends(made):
    with pytest.raises(StoreError, match="role is 'best'; allowed: search, first, reference"):
        checked(made.trial(1, role="best"))
    with pytest.raises(StoreError, match="state is 'DONE'; allowed: COMPLETE, PRUNED, FAIL"):
        checked(made.end(1, "DONE"))
    with pytest.raises(StoreError, match="cannot store object values"):
        checked(made.trial(1, config={"f": object()}))
    with pytest.raises(StoreError, match="missing or unknown fields: config"):
        checked({key: value for key, value in made.trial(1).items() if key != "config"})


def test_ends_have_defaults():
    record = checked({"kind": "end", "trial": "1", "state": "FAIL"})
    assert (record["reason"], record["checkpoint"], record["cost"]) == ("", "", {})
    assert record["params"] is None


def test_damage_is_noticed_at_every_byte(made):
    data = pack([made.report(1, 1, loss=0.5), made.report(1, 2, loss=0.25)])
    for size in range(len(data)):
        with pytest.raises(DamagedObjectError):
            unpack(data[:size])
    for place in range(len(data)):
        with pytest.raises(DamagedObjectError):
            unpack(data[:place] + bytes([data[place] ^ 1]) + data[place + 1 :])


@pytest.mark.parametrize("data", [b"", b"hello", b"[]\n", b"{}\n", b"\xff\xfe", b'{"a": 1}\n{}\n'])
def test_foreign_bytes(data):
    with pytest.raises(DamagedObjectError):
        unpack(data)
