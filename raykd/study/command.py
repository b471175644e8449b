"""The command line of a study script: every option overrides a field of its `Study`."""

import argparse
import inspect
import os
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import typer

import raykd.data
from raykd.store import StoreError, open_store
from raykd.store.address import refuse_credentials
from raykd.study.origin import command as started_by
from raykd.study.study import After, MakeData, Study
from raykd.terminal import Console

EXIT_BAD_INPUT = 2
EXIT_INTERRUPTED = 130


def run(study: Study, arguments: Sequence[str] | None = None, after: After | None = None) -> None:
    """Parses the command line, runs the study and shows what came out."""
    _refuse_credentials(arguments)
    _parse(_command(study, after), arguments)


def run_one(
    studies: Mapping[str, Study], option: str, arguments: Sequence[str] | None = None
) -> None:
    """The same for a script of several studies: `--<option>` names one, by default the first."""
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
    """Ends the process where a word or a variable has credentials, before any message repeats it.

    The command line is stored in `study.json`, and whoever lists processes sees it.
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
    if code:  # told already; without arguments the process has ended by now
        raise SystemExit(code)


def _command(study: Study, after: After | None = None) -> Callable[..., None]:
    def main(
        storage: Annotated[
            str, typer.Option(help="Where results go: a folder or s3://bucket/prefix.")
        ] = "results",
        name: Annotated[str, typer.Option(help="Name of the study in its store.")] = study.name,
        trials: Annotated[
            int, typer.Option(help="Settings to try; more than before extends the study.")
        ] = study.trials,
        cohort: Annotated[
            int, typer.Option(help="Students taught side by side, by one teacher pass.")
        ] = study.cohort,
        epochs: Annotated[
            int, typer.Option(help="Of every trial; milestones and rungs move in proportion.")
        ] = study.epochs,
        batch_size: Annotated[
            int, typer.Option(help="Over all workers of a cohort.")
        ] = study.batch_size,
        seed: Annotated[
            int, typer.Option(help="Of split, order, weights and suggestions.")
        ] = study.seed,
        seeds: Annotated[int, typer.Option(help="Replicates of every trial.")] = study.seeds,
        sampler: Annotated[
            str, typer.Option(help="What suggests: tpe, gp, random or qmc.")
        ] = study.sampler,
        data: Annotated[
            str, typer.Option(help="A data set's name (glyphs, digits, …) or the data's folder.")
        ] = "",
        teacher_weights: Annotated[
            str, typer.Option(help="A file with the teacher's weights: a path or s3://.")
        ] = study.teacher_weights or "",
        workers: Annotated[
            int | None,
            typer.Option(help="Ray Train workers of a cohort; 0: in the Tune actor, on CPUs."),
        ] = study.workers,
        concurrent: Annotated[
            int | None, typer.Option(help="Cohorts at a time; by default what there is room for.")
        ] = study.concurrent,
        smoke: Annotated[
            bool, typer.Option("--smoke", help="A few steps on small made-up data.")
        ] = False,
        report: Annotated[bool, typer.Option(help="Write the page at the end.")] = True,
    ) -> None:
        chosen = {
            "name": name,
            "trials": trials,
            "cohort": cohort,
            "batch_size": batch_size,
            "seed": seed,
            "seeds": seeds,
            "sampler": sampler,
            "teacher_weights": teacher_weights or None,
            "workers": workers,
            "concurrent": concurrent,
        }
        _run(study, chosen, epochs, data, smoke, storage, report, after)

    return main


def _run(
    study: Study,
    chosen: dict[str, Any],
    epochs: int,
    data: str,
    smoke: bool,
    storage: str,
    report: bool,
    after: After | None,
) -> None:
    console = Console(stderr=True)
    given = {key: value for key, value in chosen.items() if value != getattr(study, key)}
    try:
        if smoke:
            given = {"name": f"{study.name}_smoke", **study.smoke, **given}
        if epochs != study.epochs:
            given["epochs"] = epochs
        if data:
            given["data"] = _data(study.data, data)
        study = study.override(**given)
        study.run(storage)
        if after:
            after(open_store(storage).study(study.name))
    except (ValueError, RuntimeError) as error:
        console.show(str(error), style="red")
        if isinstance(error, RuntimeError):  # some of it may have been trained and stored
            console.show(f"What is finished is stored. To go on: {started_by()}")
        raise typer.Exit(EXIT_BAD_INPUT) from error
    except KeyboardInterrupt as stop:
        console.show(f"stopped; what is finished is stored. To go on: {started_by()}")
        raise typer.Exit(EXIT_INTERRUPTED) from stop
    if report:
        page = ["report", storage, study.name]
        raise typer.Exit(subprocess.run([sys.executable, "-m", "raykd.cli", *page]).returncode)


def _data(default: MakeData, asked: str) -> MakeData:
    """A data set by name, or the study's own with its folder replaced."""
    try:
        return raykd.data.find(asked)
    except ValueError:
        if "root" in inspect.signature(default).parameters:
            return partial(default, root=asked)
        if Path(asked).exists() or "/" in asked:
            raise ValueError(
                f"the study's data set takes no folder, and {asked!r} is one"
            ) from None
        raise
