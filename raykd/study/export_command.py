"""`raykd export` and `raykd evaluate`; torch is imported when one of them runs."""

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

app = typer.Typer()

EXIT_BAD_INPUT = 2

Root = Annotated[str, typer.Argument(help="The store: a folder or s3://bucket/prefix.")]
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
    """Write a student and a card of how it was made into a folder."""
    from raykd.study import take_home

    console = Console(stderr=True)
    try:
        taken = take_home.take(root, study, _trial(best, trial), student=student)
        folder = Path(output or f"{study}-{taken.trial.id}")
        file = take_home.export(taken, format, folder)
    except ValueError as error:
        console.print(str(error), style="red", markup=False, highlight=False)
        raise typer.Exit(EXIT_BAD_INPUT) from error
    print(file)


@app.command()
def evaluate(
    root: Root,
    study: Name,
    best: Best = False,
    trial: OneTrial = "",
    data_root: Annotated[
        str, typer.Option(help="The data's folder, where it is not the one of the study.")
    ] = "",
    data: Annotated[
        str, typer.Option(help="module:class of the data, where it is not one of raykd's.")
    ] = "",
    student: Student = "",
) -> None:
    """Evaluate a student of the last epoch again, beside what the store says of it."""
    from raykd.study import take_home

    console = Console(stderr=True)
    try:
        taken = take_home.take(root, study, _trial(best, trial), student=student)
        again = take_home.evaluate_again(taken, data=data, data_root=data_root or None)
    except ValueError as error:
        console.print(str(error), style="red", markup=False, highlight=False)
        raise typer.Exit(EXIT_BAD_INPUT) from error
    table = Table("", "stored", "again", "difference", title=f"{study} {taken.trial.id}")
    for name, value in again.items():
        stored = taken.trial.metrics[name]
        table.add_row(name, f"{stored:.6f}", f"{value:.6f}", f"{value - stored:+.1e}")
    Console().print(table)


def _trial(best: bool, trial: str) -> str | None:
    if best and trial:
        raise ValueError(f"--best and --trial {trial} were both given; give one of them")
    return trial or None
