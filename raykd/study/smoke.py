"""The study that `--smoke` runs: the same networks and method for a few steps on made-up data."""

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

from raykd.data.synthetic import Synthetic
from raykd.experiments.distillation import MakeData
from raykd.study.specification import Specification
from raykd.train.component import Component

BATCH = 16
"""Samples in a worker's batch: enough for batch statistics and contrastive losses."""
STEPS = 4
"""Number of training batches in an epoch."""
EPOCHS, TRIALS, COHORT = 2, 2, 3
"""Size of the smallest study that resumes, halves and suggests trials.

Its first cohort has room for two references and a trial.
"""
CLASSES = 10
"""Number of classes that is assumed if the data can't be opened and do not declare it."""


def smoked(study: Specification, data: MakeData | None = None) -> dict[str, Any]:
    """Returns the fields of a study that `--smoke` replaces: `study.smoke`, or generic ones.

    The generic ones make up images with the shape and the number of classes of the study's data,
    and train a teacher on them instead of loading one. If the data can't be opened, as on a machine
    that has no copy, the shape is read from the data set's class and arguments.

    Args:
        study: The study to make smaller.
        data: Data set to use instead of made-up images.

    Raises:
        ValueError: The shape of the data is unknown, or they are not images.
    """
    name = {"name": f"{study.name}_smoke"}
    if study.smoke:
        return {**name, **study.smoke}
    epochs, parts = min(study.epochs, EPOCHS), max(1, study.workers or 1)
    batch_size = min(study.batch_size, max(BATCH, study.accumulate) * parts)
    recipe = study.teacher_recipe or study.recipe
    return {
        **name,
        "data": data or _made_up(study, batch_size),
        "teacher": _untrained(study.teacher),
        "student": _untrained(study.student),
        "teacher_weights": None,
        "teacher_sha256": None,
        "teacher_data": None,
        "teacher_recipe": replace(recipe, epochs=1, milestones=(), warmup=0),
        "trials": min(study.trials, TRIALS),
        "cohort": min(study.cohort, COHORT),
        "epochs": epochs,
        "batch_size": batch_size,
        "seeds": 1,
    }


def _made_up(study: Specification, batch_size: int) -> MakeData:
    """Returns a factory of made-up images with the shape and classes of the study's data."""
    shape: tuple[int, ...]
    try:
        data = replace(study, batch_size=1).distillation.open_data()  # few samples suffice
        classes, shape = data.classes, tuple(data.shape)
    except (OSError, TypeError, ValueError) as error:
        classes, shape = _promised(study.data)
        if not shape:
            raise ValueError(
                f"--smoke makes up data in the shape of the study's own, and these can't be opened"
                f" ({error}); put them there, or give the study smoke={{'data': …}}"
            ) from error
    if len(shape) != 3:
        raise ValueError(
            f"--smoke makes up images, and the study's data are of shape {shape}; give the"
            " study smoke={'data': …}"
        )
    fifth = STEPS * batch_size // 4  # Synthetic holds out a fifth for validation
    return partial(
        Synthetic,
        classes=classes,
        shape=shape,
        samples=STEPS * batch_size + fifth,
        tests=2 * BATCH,
    )


def _promised(make: MakeData) -> tuple[int, tuple[int, ...]]:
    """Returns the number of classes and the image shape that a data set declares unopened.

    They come from the data set's class and arguments; the shape is () if these do not tell it.
    """
    made = Component.of(make)
    defaults = {name: parameter.default for name, parameter in made.parameters.items()}
    arguments = {**defaults, **made.bound}
    size = arguments.get("size")
    classes, shape = getattr(made.function, "classes", None), getattr(made.function, "shape", None)
    if not isinstance(shape, tuple):
        shape = (3, size, size) if isinstance(size, int) else ()
    return classes if isinstance(classes, int) else CLASSES, shape


def _untrained(make: Callable[..., Any]) -> Callable[..., Any]:
    """Returns the same network factory without the weights that it is bound to load."""
    loads = [name for name in ("weights", "pretrained") if Component.of(make).bound.get(name)]
    return partial(make, **dict.fromkeys(loads)) if loads else make
