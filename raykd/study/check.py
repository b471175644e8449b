"""All that can be known to be wrong before anything is trained."""

from collections.abc import Iterator
from typing import Any

from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

from raykd.data import Data
from raykd.models import Output
from raykd.study.lesson import fitted, look, open_data, source_of
from raykd.study.search import SAMPLERS
from raykd.study.study import Study, bound, defaults_of, method_class, method_name
from raykd.train.pretrain import Source


def check(study: Study) -> tuple[Data, Source]:
    """Checks a study and returns its data and its teacher's source.

    Raises:
        ValueError: Something in it can't be; the sentence says what, and what can.
    """
    _numbers(study)
    _names(study)
    _objectives(study)
    _rungs(study)
    data = open_data(study)
    source = source_of(study, data)
    t = _model("teacher", source, data) if source.trained_here else _loaded(source, data)
    s = _checked("student", look(fitted(study.student, data), data), data)
    _methods(study, s, t)
    return data, source


def _numbers(study: Study) -> None:
    for name, least in (("trials", 0), ("cohort", 1), ("seeds", 1), ("batch_size", 1)):
        value = getattr(study, name)
        if value < least:
            raise ValueError(f"{name} is {value}; it must be at least {least}")
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
    _ = study.recipe  # raises where the recipe can't be


def _names(study: Study) -> None:
    method = method_class(study.method)
    of_method, of_optimizer = set(method.hyperparameters()), study.recipe.tunable()
    used = {*study.space, *(name for setting in study.first for name in setting)}
    unknown = sorted(used - of_method - of_optimizer)
    if unknown:
        raise ValueError(
            f"unknown hyperparameter {', '.join(map(repr, unknown))};"
            f" {method_name(study.method)} has {', '.join(sorted(of_method)) or 'none'}"
            f" and the optimizer {', '.join(sorted(of_optimizer))}"
        )
    not_searched = sorted({name for setting in study.first for name in setting} - set(study.space))
    if not_searched:
        raise ValueError(
            f"first sets {', '.join(not_searched)}, which the space does not search; search it, or"
            " fix it with a partial of the method"
        )
    for reference in study.references:
        wrong = set(bound(reference)) - set(method_class(reference).hyperparameters())
        if wrong:
            raise ValueError(f"{method_name(reference)} has no {', '.join(sorted(wrong))}")
    defaults = defaults_of(study)
    for setting in study.first:
        for name, distribution in study.space.items():
            value = setting.get(name, defaults.get(name))
            if value is None or not distribution._contains(distribution.to_internal_repr(value)):
                raise ValueError(
                    f"the first setting has {name}={value}, which lies outside of"
                    f" {distribution}; widen the space, or name another value in first"
                )


def _objectives(study: Study) -> None:
    if len(study.metrics) != len(study.modes):
        raise ValueError(f"there are {len(study.metrics)} metrics and {len(study.modes)} modes")
    for metric, mode in zip(study.metrics, study.modes, strict=True):
        if mode not in ("max", "min"):
            raise ValueError(f"the mode of {metric} is {mode!r}; it must be 'max' or 'min'")
        if metric not in (known := ("val_top1", "val_top5", "val_loss", "params")):
            why = " (a test set is never chosen by)" if metric.startswith("test") else ""
            raise ValueError(f"{metric!r} can't be an objective{why}; can: {', '.join(known)}")


def _rungs(study: Study) -> None:
    late = [r for r in (study.halving.rungs if study.halving else ()) if r >= study.epochs]
    if late:
        raise ValueError(
            f"halving has rungs {late}, but training ends after epoch {study.epochs}; rungs come"
            " before the last epoch"
        )


def _model(name: str, source: Source, data: Data) -> Output:
    return _checked(name, look(source.make, data), data)


def _loaded(source: Source, data: Data) -> Output:
    """Loads the teacher's weights, which says what is wrong with them."""
    from raykd.store import Folder

    return _checked("teacher", look(lambda: source.load(Folder(".")), data), data)


def _checked(name: str, output: Output, data: Data) -> Output:
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
    return output


def _methods(study: Study, s: Output, t: Output) -> None:
    """Makes every method once for each end of the space, which raises for what can't be."""
    for reference in study.references:
        reference(s, t)
    known = method_class(study.method).hyperparameters()
    for config in _corners(study):
        study.method(s, t, **{name: v for name, v in config.items() if name in known})


def _corners(study: Study) -> Iterator[dict[str, Any]]:
    yield {}
    yield from (dict(setting) for setting in study.first)
    for name, distribution in study.space.items():
        match distribution:
            case FloatDistribution() | IntDistribution():
                yield from ({name: end} for end in (distribution.low, distribution.high))
            case CategoricalDistribution():
                yield from ({name: choice} for choice in distribution.choices)
