"""The command line: `raykd <command> …`, also as `python -m raykd.cli`."""

from typing import Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from raykd.report import command
from raykd.study import export_command

app = typer.Typer(
    cls=command.PlainErrors,
    add_completion=False,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    help="Results of knowledge distillation studies, and what belongs around them.",
)
app.add_typer(command.app)
app.add_typer(export_command.app)


@app.command()
def pack(
    source: Annotated[
        str, typer.Argument(help="A folder with train/ and, optionally, val/ and test/.")
    ],
    destination: Annotated[str, typer.Argument(help="A folder or s3://bucket/prefix.")],
    shard_images: Annotated[int, typer.Option(min=1, help="Images in a shard.")] = 1024,
) -> None:
    """Packs a folder of images into Parquet shards; run again, it goes on where it stopped."""
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
    typer.echo(f"{destination}: {images}")


if __name__ == "__main__":
    app()
