"""What every method has in common."""

import inspect
import pkgutil
from contextlib import ExitStack
from importlib import import_module
from typing import Any, Protocol, runtime_checkable

import torch
from torch import Tensor, nn

import raykd.methods
from raykd.data import Batch, Data
from raykd.methods.terms import checked
from raykd.models import Output
from raykd.models.output import at_least_float32


@runtime_checkable
class Artefact(Protocol):
    """Makes what a stage before the student needs once, and keeps it for every later trial."""

    def __call__(self, kind: str, config: dict[str, Any], make: "Make", /) -> dict[str, Tensor]:
        """Returns the tensors stored under `kind` and the hash of `config`, made if not there.

        `config` holds everything the tensors depend on besides teacher and data, which the caller
        of `prepare` has bound already.
        """


@runtime_checkable
class Make(Protocol):
    """Computes an artefact."""

    def __call__(self) -> dict[str, Tensor]:
        """Returns the tensors to keep."""


class Addable(type):
    """The type of methods: `CRD + KD` is the method with both objectives."""

    def __add__(cls, other: Any) -> Any:
        from raykd.methods.sum import add

        return add(cls, other)

    def __radd__(cls, other: Any) -> Any:
        from raykd.methods.sum import add

        return add(other, cls)


class Method(nn.Module, metaclass=Addable):
    """A paper's whole objective, the task loss included.

    The constructor takes one output of the student and one of the teacher, to see their shapes,
    and the method's hyperparameters by keyword; their defaults are the paper's. Learnable parts
    (an embedding, a regressor) are submodules and are trained with the student.

    Calling a method computes in float32 (float64 for outputs of float64), also inside an autocast:
    outputs of lower precision are cast, and `forward` runs with autocast off.

    Raises:
        ValueError: A hyperparameter is out of range, or the pair's shapes can't be used: before
            anything is trained.
    """

    def __init__(self, s: Output, t: Output) -> None:
        super().__init__()

    def prepare(self, teacher: nn.Module, data: Data, artefact: Artefact) -> None:
        """Called once before training, for methods that need more than outputs.

        Such as the teacher's frozen head, the training targets, or an earlier stage's artefact.
        """

    def facts(self) -> dict[str, float]:
        """What `prepare` found out, for the record: it stands among the metrics of every epoch."""
        return {}

    def schedule(self, progress: float) -> None:
        """Called before each epoch with the share of the training that is done, in [0, 1)."""

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
        """Returns the weighted terms by name; their sum is the loss.

        `s` and `t` are at least float32, and no autocast is on; `t` carries no gradient.
        """
        raise NotImplementedError

    @classmethod
    def hyperparameters(cls) -> dict[str, Any]:
        """The names that a study may search or set, with their defaults."""
        return {
            name: parameter.default
            for name, parameter in inspect.signature(cls).parameters.items()
            if parameter.kind is parameter.KEYWORD_ONLY
        }


def names() -> list[str]:
    """Names of the methods: the files of this folder that define one."""
    found = (module.name for module in pkgutil.iter_modules(raykd.methods.__path__))
    return [name for name in found if _defined(name)]


def find(name: str) -> type[Method]:
    """Returns the method that `raykd/methods/<name>.py` defines, or the sum `<name>+<name>`.

    Raises:
        ValueError: There is no such method.
    """
    if "+" in name:
        from raykd.methods.sum import add

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
