"""Made-up studies of every shape, written by the store's own writer."""

import math
import random
from types import SimpleNamespace

import pytest
from optuna.distributions import (
    CategoricalDistribution,
    FloatDistribution,
    distribution_to_json,
)

import raykd

SPACE = {
    "alpha": FloatDistribution(1.0, 2.0),
    "beta_corr": FloatDistribution(0.1, 10, log=True),
    "beta_mi": FloatDistribution(0.01, 10, log=True),
}
EPOCHS = 8


def spec(space=None, metric=("val_top1",), mode=("max",), **fields):
    """The content of `study.json`, as `raykd.study` writes it."""
    space = SPACE if space is None else space
    return {
        "identity": {},
        "data": {"name": "Glyphs", "train": 8000, "validation": 2000, "test": 2000, "sha256": "ab"},
        "teacher": {"model": {"name": "resnet8w24", "num_classes": 100}},
        "student": {"name": "resnet8w6"},
        "method": {"name": "ITRD"},
        "method_name": "itrd",
        "references": [{"name": "Vanilla"}, {"name": "KD"}],
        "space": {name: distribution_to_json(item) for name, item in sorted(space.items())},
        "first": [{}],
        "metric": list(metric),
        "mode": list(mode),
        "recipe": {
            "epochs": EPOCHS,
            "optimizer": {"name": "SGD", "lr": 0.05, "momentum": 0.9, "weight_decay": 0.0005},
            "schedule": "milestones",
            "milestones": [5, 7],
            "decay": 0.1,
            "warmup": 0,
        },
        "batch_size": 64,
        "halving": {"rungs": [3, 5], "keep": 0.5},
        "seed": 0,
        "seeds": 1,
        "trials": 25,
        "cohort": 4,
        "epochs": EPOCHS,
        "sampler": "tpe",
        "command": "python studies/glyphs_itrd.py --storage results",
        "commit": "0123456789ab-dirty",
        "versions": {"python": "3.11.7", "raykd": "0.1.0", "torch": "2.15.0"},
        "hardware": {"processor": "x86_64", "gpus": ["NVIDIA H200"]},
        "host": "node-7",
        "time": "2026-01-01T12:00:00+00:00",
        **fields,
    }


def started(trial, number, config, *, role="search", method="itrd", cohort="0000", seed=0):
    return {
        "kind": "trial",
        "trial": trial,
        "number": number,
        "cohort": cohort,
        "role": role,
        "method": method,
        "seed": seed,
        "config": config,
        "time": f"2026-01-01T12:{max(number, 0) % 60:02d}:00+00:00",
    }


def report(trial, epoch, top1, **more):
    metrics = {
        "val_top1": top1,
        "test_top1": top1 - 0.006,
        "val_loss": 4 * (1 - top1),
        "train_loss": 5 * (1 - top1),
        "lr": 0.05 if epoch <= 5 else 0.005,
        **more,
    }
    return {"kind": "report", "trial": trial, "epoch": epoch, "metrics": metrics}


def ended(trial, state="COMPLETE", reason="", params=11284):
    cost = {"seconds": 41.5, "epochs": float(EPOCHS)}
    checkpoint = f"made/checkpoints/{trial}/last.safetensors"
    return {
        "kind": "end",
        "trial": trial,
        "state": state,
        "reason": reason,
        "checkpoint": checkpoint,
        "cost": cost,
        "params": params,
    }


def curve(final, epochs=EPOCHS, dice=None):
    """Validation accuracies that rise to `final`; the best epoch may come before the last."""
    noise = dice or random.Random(0)
    values = [final * (1 - 0.85 * math.exp(-0.55 * e)) for e in range(1, EPOCHS + 1)]
    values = [v + noise.gauss(0, 0.004) for v in values[:-1]] + [final]
    return values[:epochs]


def whole(trial, number, config, values, *, state="COMPLETE", reason="", params=11284, **fields):
    """A trial from its beginning to its end; `params` as an objective is reported too."""
    reports = [
        report(trial, epoch, value, params=float(params)) for epoch, value in enumerate(values, 1)
    ]
    return [
        started(trial, number, config, **fields),
        *reports,
        ended(trial, state, reason, params),
    ]


def teacher():
    return whole("teacher", -1, {}, [0.9412], role="teacher", method="", cohort="", params=173842)


def references(suffix="", shift=0.0, seed=0):
    where = {"role": "reference", "cohort": f"0000{suffix}", "seed": seed}
    return [
        *whole(f"vanilla{suffix}", -1, {}, curve(0.7312 + shift), method="vanilla", **where),
        *whole(f"kd{suffix}", -1, {}, curve(0.8203 + shift), method="kd", **where),
    ]


def accuracy(config, dice):
    """A landscape with its top inside the space."""
    corr, mi = math.log10(config["beta_corr"] / 3), math.log10(config["beta_mi"] / 0.3)
    loss = 0.05 * corr**2 + 0.02 * mi**2 + 0.02 * (config["alpha"] - 1.4) ** 2
    return max(0.02, 0.858 - loss + dice.gauss(0, 0.003))


def search(count, *, suffix="", seed=0, several=False):
    """The paper's setting, then settings at random; some pruned, one diverged."""
    choices, dice = random.Random(7), random.Random(11 + seed)
    records = []
    for number in range(count + 1):
        config = {
            "alpha": choices.uniform(1, 2),
            "beta_corr": 10 ** choices.uniform(-1, 1),
            "beta_mi": 10 ** choices.uniform(-2, 1),
        }
        if number == 0:
            config = {"alpha": 1.01, "beta_corr": 2.0, "beta_mi": 1.0}
        final = accuracy(config, dice)
        trial, cohort = f"{number:04d}{suffix}", f"{number // 4:04d}{suffix}"
        where = {"cohort": cohort, "seed": seed, "role": "search" if number else "first"}
        params = choices.choice([11284, 24000, 52000]) if several else 11284
        final += 0.02 * math.log(params / 11284) if several else 0
        values = curve(final, dice=dice)
        match number % 12:
            case 5:
                fate = {"state": "PRUNED", "reason": "12th of 16 after epoch 3"}
                values = values[:3]
            case 9:
                fate = {"state": "FAIL", "reason": "loss_corr became nan in epoch 2"}
                values = [values[0], math.nan]
            case _:
                fate = {}
        records += whole(trial, number, config, values, params=params, **where, **fate)
    return records


def write(root, records, name="made", **fields):
    store = raykd.open_store(root, create=True)
    with store.writer(name, spec(**fields)) as writer:
        writer.append(records)
    return store.study(name)


def standard(root):
    return write(root, [*teacher(), *references(), *search(24)])


def replicated(root):
    records = teacher()
    for seed, suffix in enumerate(("", "-s1", "-s2")):
        records += references(suffix, 0.002 * seed, seed)
        records += search(8, suffix=suffix, seed=seed)
    return write(root, records, seeds=3)


def several(root):
    records = [*teacher(), *references(), *search(24, several=True)]
    return write(root, records, metric=("val_top1", "params"), mode=("max", "min"))


def hostile(root):
    """Texts that would be markup if somebody forgot to escape them."""
    evil = "<script>alert(1)</script><b>&\"'"
    space = {"beta_mi": SPACE["beta_mi"], "where": CategoricalDistribution([evil, "[red]x"])}
    records = [
        *teacher(),
        *references(),
        *whole("0000", 0, {"beta_mi": 1.0, "where": evil}, curve(0.8), role="first"),
        *whole("0001", 1, {"beta_mi": 0.1, "where": "[red]x"}, curve(0.82)),
        *whole("0002", 2, {"beta_mi": 0.2, "where": evil}, [0.1], state="FAIL", reason=evil),
    ]
    return write(root, records, space=space, command=evil, host=evil, commit=evil)


def one(root):
    return write(
        root,
        whole("0000", 0, {"alpha": 1.01}, curve(0.8), role="first"),
        space={"alpha": SPACE["alpha"]},
        references=[],
    )


def none_complete(root):
    config = {"alpha": 1.5, "beta_corr": 1.0, "beta_mi": 1.0}
    records = [*teacher(), *whole("0000", 0, config, [0.1, math.nan], state="FAIL", reason="nan")]
    return write(root, [*records, started("0001", 1, config), report("0001", 1, 0.3)])


def empty(root):
    return write(root, [])


def no_space(root):
    records = [*teacher(), *references(), *whole("0000", 0, {}, curve(0.83), role="first")]
    return write(root, records, space={})


def one_parameter(root):
    records = [*teacher(), *references()]
    for number in range(6):
        config = {"alpha": 1 + number / 10}
        records += whole(f"{number:04d}", number, config, curve(0.8 + number / 100))
    return write(root, records, space={"alpha": SPACE["alpha"]})


def constant(root):
    """Every trial has the same value and the same setting of one parameter."""
    records = [*teacher(), *references()]
    for number in range(6):
        config = {"alpha": 1.5, "beta_corr": 0.1 + number, "beta_mi": 1.0}
        records += whole(f"{number:04d}", number, config, curve(0.8))
    return write(root, records)


def failed(root):
    """References, given and searched settings that failed, each with the best value of all."""
    nan = "val_loss became nan in epoch 8"
    best = [*curve(0.5)[:-1], 0.99]
    records = teacher()
    for seed, suffix in enumerate(("", "-s1")):
        where = {"cohort": f"0000{suffix}", "seed": seed}
        lost = {"state": "FAIL", "reason": nan}
        late = lost if suffix else {}
        records += whole(
            f"vanilla{suffix}", -1, {}, best, method="vanilla", role="reference", **lost, **where
        )
        records += whole(
            f"kd{suffix}", -1, {}, best, method="kd", role="reference", **late, **where
        )
        records += whole(f"0000{suffix}", 0, {"alpha": 1.01}, best, role="first", **lost, **where)
        records += whole(f"0001{suffix}", 1, {"alpha": 1.2}, curve(0.7), **where)
        records += whole(f"0002{suffix}", 2, {"alpha": 1.3}, best, **late, **where)
        records += whole(f"0003{suffix}", 3, {"alpha": 1.4}, best[-2:], state="PRUNED", **where)
    return write(root, records, space={"alpha": SPACE["alpha"]}, seeds=2)


@pytest.fixture(scope="session")
def made():
    """The makers, each called with a root."""
    return SimpleNamespace(
        standard=standard,
        replicated=replicated,
        several=several,
        hostile=hostile,
        one=one,
        none_complete=none_complete,
        empty=empty,
        no_space=no_space,
        one_parameter=one_parameter,
        constant=constant,
        failed=failed,
        write=write,
        whole=whole,
        curve=curve,
        teacher=teacher,
        references=references,
        search=search,
        EPOCHS=EPOCHS,
    )


@pytest.fixture(scope="session")
def study(tmp_path_factory):
    """A realistic finished study."""
    return standard(tmp_path_factory.mktemp("store"))
