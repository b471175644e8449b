"""`Method`, the base class of every distillation method, and sums of methods.

`CRD + KD` is a method with both objectives and all their hyperparameters. The sum's class has the
parts' names, in alphabetical order, as its own (`crd+kd`). It is found by that name and pickled by
it, as any other class is.
"""

import inspect
import pkgutil
from contextlib import ExitStack
from functools import cache, partial
from importlib import import_module
from pathlib import Path
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from raykd.data import Batch, Data
from raykd.methods.artefact import Artefact
from raykd.methods.terms import checked
from raykd.models import Output
from raykd.models.output import at_least_float32

TASK = "gamma"
"""Hyperparameter that weights the cross-entropy with the labels, in every method that has one."""


class Addable(type):
    """Metaclass of methods, which makes `CRD + KD` the method with both objectives."""

    def __add__(cls, other: Any) -> Any:
        return add(cls, other)

    def __radd__(cls, other: Any) -> Any:
        return add(other, cls)


class Method(nn.Module, metaclass=Addable):
    """Base class of distillation methods: a paper's whole objective, the task loss included.

    The constructor takes one output of the student and one of the teacher, to see their shapes,
    and the method's hyperparameters by keyword; their defaults are the paper's. Its learnable parts
    (an embedding, a regressor) are submodules and are trained with the student.

    Calling a method computes in float32 (float64 for outputs of float64), also inside an autocast:
    outputs of lower precision are cast, and `forward` runs with autocast off.

    Raises:
        ValueError: A hyperparameter is out of range, or the pair's shapes can't be used. This is
            checked before anything is trained.
    """

    def __init__(self, s: Output, t: Output) -> None:
        super().__init__()

    def prepare(self, teacher: nn.Module, data: Data, artefact: Artefact) -> None:
        """Sets up once, before training, whatever the method needs besides outputs.

        This may be the teacher's frozen head, the training targets, or an earlier stage's artefact.
        """

    def facts(self) -> dict[str, float]:
        """Returns numbers that `prepare` found, recorded with the metrics of every epoch."""
        return {}

    def schedule(self, progress: float) -> None:
        """Adapts to `progress`, the share of training done, in [0, 1), before each epoch."""

    def __call__(self, s: Output, t: Output, batch: Batch) -> dict[str, Tensor]:
        """Runs `forward` in float32, and checks that it returns a dict of scalar terms."""
        s, t = s.at_least_float32(), t.at_least_float32()
        batch = batch._replace(input=at_least_float32(batch.input))
        with ExitStack() as stack:
            for kind in {s.logits.device.type, "cpu"}:
                if torch.amp.is_autocast_available(kind) and torch.is_autocast_enabled(kind):
                    stack.enter_context(torch.autocast(kind, enabled=False))
            return checked(super().__call__(s, t, batch), self)

    def forward(self, s: Output, t: Output, batch: Batch) -> dict[str, Tensor]:
        """Returns the weighted loss terms by name; their sum is the loss.

        `s` and `t` are at least float32, and no autocast is on; `t` carries no gradient.
        """
        raise NotImplementedError

    @classmethod
    def hyperparameters(cls) -> dict[str, Any]:
        """Returns the hyperparameters that a study may search or set, with their defaults."""
        return {
            name: parameter.default
            for name, parameter in inspect.signature(cls).parameters.items()
            if parameter.kind is parameter.KEYWORD_ONLY
        }


class _Sum(Method):
    """The sum of several methods; the task loss is counted once.

    A part's hyperparameter `x` is called `<part>_x` here and its terms `<part>_<term>`; a term that
    has the part's own name keeps it. The parts' own cross-entropies (the term `ce`) and their
    weights (`gamma`) are replaced by one of the sum, in the steps in which a part has one.

    Args:
        <part>_weight: Factor of all terms of a part; 1 by default.
        gamma: Weight of the cross-entropy; 1 by default, as in the CRD benchmark's sums.
    """

    parts: ClassVar[dict[str, type[Method]]]

    def __init__(self, s: Output, t: Output, **config: Any) -> None:
        super().__init__(s, t)
        known = self.hyperparameters()
        unknown = sorted(config.keys() - known.keys())
        if unknown:
            raise ValueError(
                f"unknown hyperparameters {', '.join(unknown)} of {type(self).__name__}; known:"
                f" {', '.join(known)}"
            )
        config = {**known, **config}
        self.gamma = config[TASK]
        self.weights = {name: config[f"{name}_weight"] for name in self.parts}
        self.methods = nn.ModuleDict()
        for name, part in self.parts.items():
            own = {key: config[f"{name}_{key}"] for key in part.hyperparameters() if key != TASK}
            self.methods[name] = part(s, t, **own)

    def prepare(self, teacher: nn.Module, data: Data, artefact: Artefact) -> None:
        """Prepares each part."""
        for method in self._methods().values():
            method.prepare(teacher, data, artefact)

    def facts(self) -> dict[str, float]:
        """Returns the facts of each part, under `<part>_<name>`."""
        return {
            f"{name}_{key}": value
            for name, method in self._methods().items()
            for key, value in method.facts().items()
        }

    def schedule(self, progress: float) -> None:
        """Passes the progress on to each part."""
        for method in self._methods().values():
            method.schedule(progress)

    def forward(self, s: Output, t: Output, batch: Batch) -> dict[str, Tensor]:
        """Returns the weighted terms of all parts, and their one cross-entropy."""
        terms: dict[str, Tensor] = {}
        for name, method in self._methods().items():
            for term, value in method(s, t, batch).items():
                if term == "ce":
                    terms["ce"] = self.gamma * F.cross_entropy(s.logits, batch.target)
                else:
                    key = name if term == name else f"{name}_{term}"
                    terms[key] = self.weights[name] * value
        return terms

    def _methods(self) -> dict[str, Method]:
        return {name: m for name, m in self.methods.items() if isinstance(m, Method)}


def add(*methods: Any) -> Any:
    """Returns the class whose objective is the sum of those of `methods`.

    If a method is a `partial`, what it has bound is bound in the sum, under the names that it has
    there, and the sum is a `partial` as well.

    Raises:
        ValueError: A method is in the sum twice, two methods have one name, an argument is no
            method, or a `partial` binds a part's `gamma`.
    """
    parts: list[type[Method]] = []
    config: dict[str, Any] = {}
    for method in methods:
        bound: dict[str, Any] = {}
        while isinstance(method, partial):
            bound, method = {**method.keywords, **bound}, method.func
        if not (inspect.isclass(method) and issubclass(method, Method)):
            raise ValueError(
                f"{method!r} is no method and can't be in a sum; add classes of raykd.methods or"
                " partials of them"
            )
        if issubclass(method, _Sum):
            parts += method.parts.values()
            config |= bound
            continue
        parts.append(method)
        if TASK in bound:
            raise ValueError(
                f"{_name(method)} brings {TASK}={bound[TASK]}, but a sum has one cross-entropy with"
                f" a weight of its own; bind it to the sum: partial(A + B, {TASK}={bound[TASK]})"
            )
        config |= {f"{_name(method)}_{key}": value for key, value in bound.items()}
    names = [_name(part) for part in parts]
    if clash := sorted({n for n in names if len({p for p in parts if _name(p) == n}) > 1}):
        raise ValueError(f"different methods of a sum are called {', '.join(clash)}; rename one")
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise ValueError(f"{', '.join(twice)} is in the sum twice; raise its weight instead")
    made = _class(tuple(sorted(parts, key=_name)))
    return partial(made, **config) if config else made


def __getattr__(name: str) -> type[Method]:
    """Returns the class `<name>+<name>`, made when it is looked up, as pickle does."""
    parts = name.split("+")
    if len(parts) < 2:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    try:
        made: type[Method] = add(*map(find, parts))
        return made
    except ValueError as error:
        raise AttributeError(str(error)) from error


@cache
def _class(parts: tuple[type[Method], ...]) -> type[Method]:
    names = [_name(part) for part in parts]
    keywords = [
        inspect.Parameter(key, inspect.Parameter.KEYWORD_ONLY, default=default)
        for key, default in _hyperparameters(dict(zip(names, parts, strict=True))).items()
    ]
    positional = list(inspect.signature(Method).parameters.values())
    name = "+".join(names)
    described = "\n".join(f"        {parameter.name}:" for parameter in keywords)
    made = type(
        name,
        (_Sum,),
        {
            "__module__": __name__,
            "__qualname__": name,
            "__doc__": f"The sum of {', '.join(names)}.\n\n    Args:\n{described}\n    ",
            "__signature__": inspect.Signature([*positional, *keywords]),
            "parts": dict(zip(names, parts, strict=True)),
        },
    )
    assert issubclass(made, Method)
    return made


def _hyperparameters(parts: dict[str, type[Method]]) -> dict[str, Any]:
    known: dict[str, Any] = {TASK: 1.0}
    for name, part in parts.items():
        known[f"{name}_weight"] = 1.0
        known |= {
            f"{name}_{key}": value for key, value in part.hyperparameters().items() if key != TASK
        }
    return known


def _name(method: type[Method]) -> str:
    return method.__name__.lower()


def names() -> list[str]:
    """Returns the names of the methods: the files of this folder that define one."""
    found = (module.name for module in pkgutil.iter_modules([str(Path(__file__).parent)]))
    return [name for name in found if _defined(name)]


def find(name: str) -> type[Method]:
    """Returns the method that `raykd/methods/<name>.py` defines, or the sum `<name>+<name>`.

    Raises:
        ValueError: There is no such method.
    """
    if "+" in name:
        made: type[Method] = add(*map(find, name.split("+")))
        return made
    if name not in names():
        raise ValueError(f"unknown method {name!r}; known: {', '.join(names())}")
    return _defined(name)[0]


def _defined(name: str) -> list[type[Method]]:
    module = import_module(f"raykd.methods.{name}")
    classes = (value for _, value in inspect.getmembers(module, inspect.isclass))
    return [
        value
        for value in classes
        if issubclass(value, Method)
        and value is not Method
        and value.__module__ == module.__name__
        and not value.__name__.startswith("_")
    ]
