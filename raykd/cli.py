"""The command line of raykd: `raykd <command> …`, or `python -m raykd.cli <command> …`."""

from typing import Annotated

import typer
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.text import Text

import raykd
from raykd.export.command import app as export_app
from raykd.report import command
from raykd.terminal import Console

app = typer.Typer(
    cls=command.PlainErrors,
    add_completion=False,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
app.add_typer(command.app)
app.add_typer(export_app)


def _version(asked: bool) -> bool:
    if asked:
        typer.echo(f"raykd {raykd.__version__}")
        raise typer.Exit
    return asked


@app.callback()
def main(
    version: Annotated[
        bool,
        typer.Option("--version", callback=_version, is_eager=True, help="Print the version."),
    ] = False,
) -> None:
    """Queries results of knowledge distillation studies, exports students and checks clusters."""


@app.command()
def pack(
    source: Annotated[
        str, typer.Argument(help="A folder with train/ and, optionally, val/ and test/.")
    ],
    destination: Annotated[str, typer.Argument(help="A folder or s3://bucket/prefix.")],
    shard_images: Annotated[int, typer.Option(min=1, help="Images in a shard.")] = 1024,
) -> None:
    """Packs a folder of images into Parquet shards; the same command continues after a stop."""
    from raykd.data.pack import pack as pack_images  # imports torch; the other commands do not

    columns = (TextColumn("packing"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task("packing", total=None)
        counts = pack_images(
            source,
            destination,
            shard_images=shard_images,
            progress=lambda done, total: progress.update(task, completed=done, total=total),
        )
    images = ", ".join(f"{count:,} in {split}" for split, count in counts.items())
    Console().show(f"{destination}: {images}")


@app.command()
def doctor(
    address: Annotated[
        str, typer.Option(help="The cluster; by default that of RAY_ADDRESS, or this machine.")
    ] = "",
    storage: Annotated[str, typer.Option(help="Where results will go.")] = "",
    data: Annotated[str, typer.Option(help="A folder that every node must be able to read.")] = "",
    gpus: Annotated[bool, typer.Option("--gpus", help="The study needs GPUs.")] = False,
) -> None:
    """Looks for the usual faults of a cluster, before a study is started.

    The exit status is 1 if there is any fault.
    """
    from raykd.runtime.doctor import Requirements, examine  # imports torch and ray

    console, faults = Console(), 0
    styles = {"ok": "green", "fault": "red"}
    for finding in examine(Requirements(address or None, storage, data, gpus)):
        faults += finding.level == "fault"
        level = (f"{finding.level:<5}", styles[finding.level])
        console.show(Text.assemble(level, " ", finding.text))
    raise typer.Exit(int(faults > 0))


if __name__ == "__main__":
    app()
