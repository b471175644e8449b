"""The command line of a study script: every option overrides a field of its `Study`."""

import argparse
import inspect
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import typer

import raykd.data
from raykd.experiments.distillation import MakeData
from raykd.runtime.signals import Terminated
from raykd.store import Folder, StoreError, open_store
from raykd.store import Study as StoredStudy
from raykd.store.address import refuse_credentials
from raykd.study.page import write_page
from raykd.study.provenance import command as started_by
from raykd.study.run import run_study
from raykd.study.smoke import smoked
from raykd.study.specification import Specification
from raykd.terminal import Console
from raykd.train.component import Component

After = Callable[[StoredStudy], None]

EXIT_BAD_INPUT = 2
EXIT_INTERRUPTED, EXIT_TERMINATED = 130, 143
"""Exit statuses after SIGINT and SIGTERM: 128 plus the signal's number, as in a shell."""

FIELDS: dict[str, tuple[Any, str]] = {
    "name": (str | None, "Name of the study in its store."),
    "trials": (int | None, "Number of trials; more than before extends the study."),
    "cohort": (int | None, "Students trained side by side, with one teacher pass a batch."),
    "epochs": (int | None, "Epochs of every trial; milestones and rungs move in proportion."),
    "batch_size": (int | None, "Samples in a batch, over all workers of a cohort."),
    "seed": (int | None, "Seed of split, order, weights and suggestions."),
    "seeds": (int | None, "Replicates of every trial, each with a seed of its own."),
    "sampler": (str | None, "Optuna sampler: tpe, gp, random or qmc."),
    "teacher_weights": (str | None, "A file with the teacher's weights: a path or s3://."),
    "workers": (int | None, "Ray Train workers of a cohort; 0: in the Tune actor, on CPUs."),
    "concurrent": (int | None, "Cohorts at a time; by default what there is room for."),
}
"""Fields of a study that have a command line option: the option's type and its help text."""


def run_from_command_line(
    study: Specification, arguments: Sequence[str] | None = None, after: After | None = None
) -> None:
    """Parses the command line, runs the study and writes its report.

    Args:
        study: The study that the script defines; options override its fields.
        arguments: Command line arguments; by default those of the process.
        after: Called with the stored study after the run, before the report is written.
    """
    _refuse_credentials(arguments)
    _parse(_command(study, after), arguments)


def run_one(
    studies: Mapping[str, Specification], option: str, arguments: Sequence[str] | None = None
) -> None:
    """Runs one of several studies that a script defines.

    Args:
        studies: The studies by name.
        option: Name of the option (`--<option>`) that chooses the study. By default it is the
            value of the environment variable `RAYKD_<OPTION>`, or else the first study.
        arguments: Command line arguments; by default those of the process.
    """
    _refuse_credentials(arguments)
    chooser = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    chooser.add_argument(f"--{option}", choices=list(studies))
    default = os.environ.get(f"RAYKD_{option.upper()}") or next(iter(studies))
    given = sys.argv[1:] if arguments is None else arguments
    chosen = getattr(chooser.parse_known_args([f"--{option}", default, *given])[0], option)
    command = _command(studies[chosen])

    def main(**options: Any) -> None:
        del options[option]
        command(**options)

    choice = inspect.Parameter(
        option,
        inspect.Parameter.POSITIONAL_OR_KEYWORD,
        default=chosen,
        annotation=Annotated[str, typer.Option(help=f"One of {', '.join(studies)}.")],
    )
    parameters = inspect.signature(command).parameters.values()
    main.__signature__ = inspect.Signature([choice, *parameters])  # type: ignore[attr-defined]
    _parse(main, arguments)


def _refuse_credentials(arguments: Sequence[str] | None) -> None:
    """Ends the process if an argument or a `RAYKD_` variable contains credentials.

    This comes before any message can repeat them. The command line is stored in `study.json`, and
    everyone who lists processes on the machine sees it.
    """
    words = sys.argv[1:] if arguments is None else arguments
    given = [("the command line", word) for word in words]
    given += [item for item in os.environ.items() if item[0].startswith("RAYKD_")]
    try:
        for what, text in given:
            refuse_credentials(text, what)
    except StoreError as error:
        Console(stderr=True).show(str(error), style="red")
        raise SystemExit(EXIT_BAD_INPUT) from None


def _parse(command: Callable[..., None], arguments: Sequence[str] | None) -> None:
    app = typer.Typer(add_completion=False, pretty_exceptions_enable=False, rich_markup_mode=None)
    # `ray job submit script.py` takes no options for the script; RAYKD_STORAGE and so on do.
    settings = {"auto_envvar_prefix": "RAYKD"}
    app.command(help=sys.modules["__main__"].__doc__, context_settings=settings)(command)
    given = None if arguments is None else list(arguments)
    code = app(args=given, standalone_mode=arguments is None)
    if code:  # the message has been printed; without `arguments` the process has ended by now
        raise SystemExit(code)


def _command(study: Specification, after: After | None = None) -> Callable[..., None]:
    """Makes the function whose parameters are the options of the command.

    The option of a field is None if it is not given. An option that was given with the field's own
    value can thus be told from one that was not given.
    """

    def main(
        *,
        storage: str = "results",
        data: str = "",
        smoke: bool = False,
        report: bool = True,
        **fields: Any,
    ) -> None:
        given = {field: value for field, value in fields.items() if value is not None}
        _run(study, given, storage, data=data, smoke=smoke, report=report, after=after)

    def of_field(field: str, kind: Any, help: str) -> inspect.Parameter:
        value = getattr(study, field)
        option = typer.Option(help=help, show_default=False if value is None else str(value))
        return inspect.Parameter(
            field, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=Annotated[kind, option]
        )

    others = {
        "storage": typer.Option(help="Where results go: a folder or s3://bucket/prefix."),
        "data": typer.Option(help="A data set's name (glyphs, digits, …) or the data's folder."),
        "smoke": typer.Option("--smoke", help="A few steps on small made-up data."),
        "report": typer.Option(help="Write the page at the end."),
    }
    declared = inspect.signature(main).parameters
    parameters = [
        *(
            declared[n].replace(annotation=Annotated[declared[n].annotation, others[n]])
            for n in others
        ),
        *(of_field(field, *described) for field, described in FIELDS.items()),
    ]
    main.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    main.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    return main


def _run(
    study: Specification,
    given: dict[str, Any],
    storage: str,
    *,
    data: str,
    smoke: bool,
    report: bool,
    after: After | None,
) -> None:
    console = Console(stderr=True)
    try:
        storage = Folder(storage).uri  # absolute: the study's own code may change the directory
        if "teacher_weights" in given:
            given["teacher_weights"] = given["teacher_weights"] or None  # "" means no weights
        if data:
            given["data"] = _data(study.data, data)
        if smoke:
            given = {**smoked(study, given.get("data")), **given}
        study = study.override(**given)
        run_study(study, storage)
        if after:
            after(open_store(storage).study(study.name))
    except (ValueError, RuntimeError) as error:
        console.show(str(error), style="red")
        if isinstance(error, RuntimeError):  # some trials may have been trained and stored
            console.show(f"What is finished is stored. To go on: {started_by()}")
        raise typer.Exit(EXIT_BAD_INPUT) from error
    except KeyboardInterrupt as stop:
        console.show(f"stopped; what is finished is stored. To go on: {started_by()}")
        terminated = isinstance(stop, Terminated)
        raise typer.Exit(EXIT_TERMINATED if terminated else EXIT_INTERRUPTED) from stop
    if report:
        try:
            write_page(storage, study.name)
        except RuntimeError as error:
            console.show(str(error), style="red")
            raise typer.Exit(EXIT_BAD_INPUT) from error


def _data(default: MakeData, asked: str) -> MakeData:
    """Returns a data set by its name, or the study's own data set with another root folder."""
    try:
        return raykd.data.find(asked)
    except ValueError:
        if Component.of(default).accepts("root"):
            return partial(default, root=asked)
        if Path(asked).exists() or "/" in asked:
            raise ValueError(
                f"the study's data set takes no folder, and {asked!r} is one"
            ) from None
        raise
