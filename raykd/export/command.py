"""The commands `raykd export` and `raykd evaluate`; torch is imported only when one runs."""

import sys
from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from raykd.terminal import Console

app = typer.Typer()

Root = Annotated[
    str, typer.Argument(metavar="STORE", help="The store: a folder or s3://bucket/prefix.")
]
Name = Annotated[str, typer.Argument(help="The study's name.")]
Best = Annotated[bool, typer.Option("--best", help="The best trial; so it is by default.")]
OneTrial = Annotated[str, typer.Option("--trial", help="A trial by its name.")]
Student = Annotated[
    str,
    typer.Option(help="module:function that makes the network, where it is not one of raykd's."),
]


@app.command()
def export(
    root: Root,
    study: Name,
    best: Best = False,
    trial: OneTrial = "",
    format: Annotated[
        str, typer.Option(help="safetensors (weights), onnx or torch (a torch.export archive).")
    ] = "safetensors",
    output: Annotated[
        str, typer.Option(help="An empty or new folder; by default <study>-<trial>.")
    ] = "",
    student: Student = "",
) -> None:
    """Writes a student and a card of how it was made into a folder."""
    from raykd.export import export

    _look_here(student)
    taken = export.take(root, study, _trial(best, trial), student=student)
    file = export.export(taken, format, output or f"{study}-{taken.trial.id}")
    Console().show(str(file))


@app.command()
def evaluate(
    root: Root,
    study: Name,
    best: Best = False,
    trial: OneTrial = "",
    data_root: Annotated[
        str, typer.Option(help="The data's folder, if they have one; a store may not choose it.")
    ] = "",
    data: Annotated[
        str, typer.Option(help="module:class of the data, where it is not one of raykd's.")
    ] = "",
    student: Student = "",
) -> None:
    """Evaluates a student of the last epoch again, beside what the store says of it."""
    from raykd.export import export

    _look_here(student or data)
    taken = export.take(root, study, _trial(best, trial), student=student)
    again = export.evaluate_student(taken, data=data, data_root=data_root or None)
    table = Table("", "stored", "again", "difference", title=f"{study} {taken.trial.id}")
    for name, value in again.items():
        stored = taken.trial.metrics.get(name)  # test metrics exist after the last epoch only
        beside = ("", f"{value:.6f}", "")
        if stored is not None:
            beside = (f"{stored:.6f}", f"{value:.6f}", f"{value - stored:+.1e}")
        table.add_row(name, *beside)
    Console().show(table)


def _look_here(named: str) -> None:
    """Makes modules in the current folder importable, like `python -m`, if the user names one."""
    if named and (here := str(Path.cwd())) not in sys.path:
        sys.path.insert(0, here)


def _trial(best: bool, trial: str) -> str | None:
    if best and trial:
        raise ValueError(f"--best and --trial {trial} were both given; give one of them")
    return trial or None
