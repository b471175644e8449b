"""Checks of a study that run before anything is trained."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import fields
from typing import Any

import torch
from torch import nn

from raykd.data import Data
from raykd.experiments.context import WorkerContext
from raykd.experiments.distillation import MakeMethod, fitted, method_class, method_name
from raykd.models import Output
from raykd.search.kinds import check_kinds, check_number
from raykd.search.samplers import SAMPLERS
from raykd.search.space import contains, corners
from raykd.store import Folder
from raykd.study.rehearsal import rehearse
from raykd.study.specification import Specification
from raykd.train.component import Component
from raykd.train.failure import reason
from raykd.train.pretrain import Source


def check(study: Specification) -> tuple[Data, Source]:
    """Checks a study and returns its data and its teacher's source.

    Raises:
        ValueError: A field of the study is invalid; the message says which one, and what is
            allowed.
    """
    _fields(study)
    check_kinds(study.space, study.first)
    _numbers(study)
    _arguments(study)
    _names(study)
    _first(study)
    _objectives(study)
    _rungs(study)
    data = _data(study)
    source = study.distillation.teacher_source(data)
    make = source.make if source.trained_here else _loaded(source)
    teacher, t = _output("teacher", make, data)
    _, s = _output("student", fitted(study.student, data), data)
    _methods(study, s, t)
    _optimizer(study)
    rehearse(study, data, source, teacher)
    return data, source


def _fields(study: Specification) -> None:
    """Refuses a string where a field must be a number."""
    for field in fields(study):
        value = getattr(study, field.name)
        if isinstance(value, str) and type(field.default) in (int, float):
            raise ValueError(f"{field.name} is the text {value!r}; give a number")


def _numbers(study: Specification) -> None:
    leasts = {"trials": 0, "cohort": 1, "seeds": 1, "batch_size": 1, "workers": 0, "concurrent": 1}
    for name, least in leasts.items():
        value = getattr(study, name)
        if value is not None and value < least:
            raise ValueError(f"{name} is {value}; it must be at least {least}")
    if study.cpus <= 0:
        raise ValueError(f"cpus is {study.cpus}; a worker needs more than 0, such as 1")
    if study.min_workers is not None and not 1 <= study.min_workers <= (study.workers or 0):
        raise ValueError(
            f"min_workers is {study.min_workers} and workers {study.workers}; give workers, and"
            " min_workers between 1 and that"
        )
    if study.sampler not in SAMPLERS:
        raise ValueError(f"unknown sampler {study.sampler!r}; known: {', '.join(SAMPLERS)}")
    if not study.name or not all(c.isalnum() or c in "-_." for c in study.name):
        raise ValueError(
            f"the study's name is {study.name!r}; use letters, digits, '-', '_' and '.'"
        )
    if not study.space and study.trials > len(study.first):
        raise ValueError(
            f"there are {study.trials} trials but no space to search; give a space, or"
            f" trials={len(study.first)}"
        )
    if study.trials == 0 and not study.references:
        raise ValueError("there are no trials and no references: nothing to do")
    if study.seed < 0:
        raise ValueError(f"seed is {study.seed}; it must be 0 or more")
    _ = study.recipe  # raises if the recipe is invalid


def _arguments(study: Specification) -> None:
    for name in ("data", "teacher", "student"):
        component = Component.of(getattr(study, name))
        if refused := component.refused():
            raise ValueError(
                f"the {name}'s {component.name} does not take what is bound to it"
                f" ({', '.join(refused)}); it takes {', '.join(component.parameters)}"
            )


def _names(study: Specification) -> None:
    method = method_class(study.method)
    of_method, of_optimizer = set(method.hyperparameters()), study.recipe.tunable()
    used = {*study.space, *(name for setting in study.first for name in setting)}
    unknown = sorted(used - of_method - of_optimizer)
    if unknown:
        raise ValueError(
            f"unknown hyperparameter {', '.join(map(repr, unknown))}; take one that"
            f" {method_name(study.method)} has ({', '.join(sorted(of_method)) or 'none'})"
            f" or the optimizer ({', '.join(sorted(of_optimizer))})"
        )
    not_searched = sorted({name for setting in study.first for name in setting} - set(study.space))
    if not_searched:
        raise ValueError(
            f"first sets {', '.join(not_searched)}, which the space does not search; search it, or"
            " fix it with a partial of the method"
        )
    _texts(study)
    for made in (study.method, *study.references):
        _bound(
            method_name(made), Component.of(made).bound, set(method_class(made).hyperparameters())
        )
    _bound(
        "the optimizer", Component.of(study.optimizer).bound, of_optimizer | {"foreach", "fused"}
    )


def _texts(study: Specification) -> None:
    """Refuses numbers that are given as strings."""
    optimizer = Component.of(study.optimizer)
    for name, value in optimizer.bound.items():
        known = optimizer.parameters.get(name)
        check_number(name, value, known.default if known else None)
    for method in (study.method, *study.references):
        defaults = method_class(method).hyperparameters()
        for name, value in Component.of(method).bound.items():
            check_number(name, value, defaults.get(name))


def _bound(owner: str, names: Mapping[str, Any], known: set[str]) -> None:
    if wrong := sorted(set(names) - known):
        raise ValueError(
            f"{owner} has no {', '.join(wrong)}; take one of {', '.join(sorted(known)) or 'none'}"
        )


def _first(study: Specification) -> None:
    for setting in study.first:
        for name, value in setting.items():
            if not contains(study.space[name], value):
                raise ValueError(
                    f"the first setting has {name}={value}, which lies outside of"
                    f" {study.space[name]}; widen the space, or name another value in first"
                )


def _objectives(study: Specification) -> None:
    if len(study.metrics) != len(study.modes):
        raise ValueError(
            f"there are {len(study.metrics)} metrics and {len(study.modes)} modes; give one mode"
            " for each metric"
        )
    for metric, mode in zip(study.metrics, study.modes, strict=True):
        if mode not in ("max", "min"):
            raise ValueError(f"the mode of {metric} is {mode!r}; it must be 'max' or 'min'")
        if metric not in (known := ("val_top1", "val_top5", "val_loss", "params")):
            why = " (a test set is never chosen by)" if metric.startswith("test") else ""
            raise ValueError(f"{metric!r} can't be an objective{why}; take {', '.join(known)}")


def _rungs(study: Specification) -> None:
    late = [r for r in (study.halving.rungs if study.halving else ()) if r >= study.epochs]
    if late:
        raise ValueError(
            f"halving has rungs {late}, but training ends after epoch {study.epochs}; rungs come"
            " before the last epoch"
        )


def _data(study: Specification) -> Data:
    """Opens the data as the worker of rank 0 does."""
    try:
        data = study.distillation.open_data(
            context=WorkerContext(world_size=max(1, study.workers or 1))
        )
    except TypeError as error:
        raise ValueError(
            f"the data set can't be opened ({error}); correct its arguments in data="
        ) from error
    for split in ("validation", "test"):
        if data.describe().get(split) == 0:
            raise ValueError(
                f"the data has no {split} samples, and every trial is evaluated on them; hold some"
                " out"
            )
    return data


def _loaded(source: Source) -> Callable[[], nn.Module]:
    """Returns a factory that loads the teacher's given weights, which do not lie in the store."""
    return lambda: source.load(Folder("."))


def _output(name: str, make: Callable[[], nn.Module], data: Data) -> tuple[nn.Module, Output]:
    """Makes a network and returns it with its output for two samples of zeros."""
    try:
        with torch.random.fork_rng(devices=[]), torch.no_grad():
            model = make().eval()
            output = model(torch.zeros(2, *data.shape))
    except ValueError:
        raise
    except Exception as error:  # a user's network may raise anything
        raise ValueError(
            f"the {name} can't be made and shown images of shape {data.shape}"
            f" ({reason(error)}); give a network and data that fit each other"
        ) from error
    if not isinstance(output, Output):
        raise ValueError(
            f"the {name} returns a {type(output).__name__}; raykd needs an Output: wrap the"
            " network with raykd.models.wrap"
        )
    if output.logits.shape[1] != data.classes:
        raise ValueError(
            f"the {name} tells {output.logits.shape[1]} classes apart, and the data has"
            f" {data.classes}; make them agree"
        )
    return model, output


def _optimizer(study: Specification) -> None:
    """Builds the optimizer and its schedule at each end of the search space."""
    known = set(method_class(study.method).hyperparameters())
    for config in _corners(study):
        overrides = {name: value for name, value in config.items() if name not in known}
        try:
            study.recipe.build([nn.Parameter(torch.zeros(1))], 1, **overrides)
        except (ValueError, TypeError) as error:
            setting = ", ".join(f"{name}={value}" for name, value in overrides.items())
            raise ValueError(
                f"the optimizer can't be made{' with ' if setting else ''}{setting} ({error});"
                " correct optimizer= or narrow the space"
            ) from error


def _methods(study: Specification, s: Output, t: Output) -> None:
    """Makes every reference once, and the searched method at each end of the search space.

    Methods check their hyperparameters when they are made.
    """
    for reference in study.references:
        _make(reference, s, t)
    known = method_class(study.method).hyperparameters()
    for config in _corners(study):
        _make(study.method, s, t, **{name: v for name, v in config.items() if name in known})


def _make(method: MakeMethod, s: Output, t: Output, **config: Any) -> None:
    try:
        method(s, t, **config)
    except ValueError:
        raise
    except Exception as error:  # a user's method may raise anything
        setting = ", ".join(f"{name}={value!r}" for name, value in config.items()) or "its defaults"
        raise ValueError(
            f"the method {method_name(method)} can't be made with {setting}: {reason(error)}"
        ) from error


def _corners(study: Specification) -> Iterator[dict[str, Any]]:
    """Yields the defaults, the settings to try first, and each end of the search space."""
    yield {}
    yield from study.search_config(concurrent=1).given
    yield from corners(study.space)
