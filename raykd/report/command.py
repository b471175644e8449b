"""The commands of `raykd` that show stored results."""

import json
import math
import warnings
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from raykd.report import formatting, tables
from raykd.report.results import Contender, Results
from raykd.store import Store, StoreError, Study, open_store
from raykd.store.address import refuse_credentials
from raykd.terminal import Console

EXIT_BAD_INPUT = 2
"""Exit status after bad input, the same that Typer uses for wrong options."""
_CURVE = ("train_top1", "train_loss", "val_loss", "lr")  # metrics shown beside the objectives


class PlainErrors(TyperGroup):
    """A group of commands that prints bad input and warnings as one line each on stderr."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Refuses credentials on the command line before another message can repeat them."""
        try:
            for word in args:
                refuse_credentials(word, "the command line")
        except StoreError as error:
            _say(f"error: {error}")
            raise typer.Exit(EXIT_BAD_INPUT) from None
        return super().parse_args(ctx, args)

    def invoke(self, ctx: Any) -> Any:
        """Runs the requested command; a `ValueError` ends it with one line and exit status 2."""
        with warnings.catch_warnings():
            warnings.showwarning = lambda message, *_, **__: _say(f"warning: {message}")
            try:
                return super().invoke(ctx)
            except ValueError as error:
                _say(f"error: {error}")
                raise typer.Exit(EXIT_BAD_INPUT) from error


app = typer.Typer(cls=PlainErrors, pretty_exceptions_enable=False)

Root = Annotated[
    str, typer.Argument(metavar="STORE", help="The store: a folder or s3://bucket/prefix.")
]
Name = Annotated[
    str | None, typer.Argument(metavar="STUDY", help="May be left out where there is only one.")
]
AsJson = Annotated[bool, typer.Option("--json", help="JSON for machines; NaN becomes null.")]


@app.command()
def studies(root: Root, as_json: AsJson = False) -> None:
    """Lists the studies in a store."""
    store = open_store(root)
    found = [Results(store.study(name)) for name in store.studies()]
    if not as_json:
        _show(tables.studies(found))
        return
    rows = []
    for results in found:
        ranked = results.ranked()
        best = ranked[0].as_dict() if ranked else None
        states = dict.fromkeys(formatting.STATES, 0)
        for contender in results.searched:
            states[contender.state] += 1
        rows.append({"study": results.study.name, "what": results.subject, **states, "best": best})
    _print_json(rows)


@app.command()
def best(
    root: Root,
    study: Name = None,
    k: Annotated[int, typer.Option("-k", min=1, help="At most so many.")] = 10,
    metric: Annotated[
        str | None, typer.Option(help="By default the study's first objective.")
    ] = None,
    mode: Annotated[
        str | None, typer.Option(help="max or min; known for the study's objectives.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Shows the best settings by their last epoch; those with several seeds by their mean."""
    results = Results(_study(root, study))
    chosen = results.ranked(metric, mode)[:k]
    _contenders(results, chosen, [metric or results.metric, *results.objectives], as_json)


@app.command()
def pareto(
    root: Root,
    study: Name = None,
    metric: Annotated[
        list[str] | None,
        typer.Option(help="Give it for each objective; by default those of the study."),
    ] = None,
    mode: Annotated[
        list[str] | None, typer.Option(help="max or min, for each --metric in its order.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Shows the settings that no other beats in every objective."""
    results = Results(_study(root, study))
    metrics, modes = metric or list(results.objectives), mode or []
    if modes and len(modes) != len(metrics):
        raise ValueError(
            f"--mode is given {len(modes)} times for {len(metrics)} objectives"
            f" ({', '.join(metrics)}); give one for each, or none"
        )
    padded: list[str | None] = [*modes] if modes else [None] * len(metrics)
    front = results.pareto(dict(zip(metrics, padded, strict=True)))
    _contenders(results, front, metrics, as_json)


@app.command()
def trials(root: Root, study: Name = None, as_json: AsJson = False) -> None:
    """Lists all trials, the teacher and the references among them."""
    found = _study(root, study)
    if as_json:
        _print_json(found.trials().to_pylist())
    else:
        _show(tables.trials(found))


@app.command()
def curve(
    root: Root,
    study: Name = None,
    trial: Annotated[str | None, typer.Argument(help="By default the best one.")] = None,
    metric: Annotated[list[str] | None, typer.Option(help="Of these alone; repeat it.")] = None,
    as_json: AsJson = False,
) -> None:
    """Shows a trial's metrics epoch by epoch."""
    found = _study(root, study)
    if trial is None:
        ranked = Results(found).ranked()
        if not ranked:
            raise StoreError(f"no trial of study {found.name!r} is complete; name one")
        trial = ranked[0].name
    table = found.curve(trial)
    known = [name for name in table.column_names if name != "epoch"]
    if unknown := [name for name in metric or () if name not in known]:
        raise ValueError(
            f"trial {trial!r} has no metric {', '.join(unknown)}; known: {', '.join(known)}"
        )
    if as_json:
        _print_json(table.select(["epoch", *(metric or known)]).to_pylist())
        return
    usual = [*tables.with_test(found.spec["metric"]), *_CURVE]
    shown = metric or [name for name in usual if name in known]
    known_of = found.trial(trial)
    ended = "" if known_of.state == "COMPLETE" else f", {formatting.STATES[known_of.state]}"
    why = f": {known_of.reason}" if known_of.reason else ""
    _show(f"trial {trial}{ended}{why}")
    _show(tables.curve(table.to_pylist(), shown))


@app.command()
def report(
    root: Root,
    study: Name = None,
    output: Annotated[
        Path | None,
        typer.Option(
            help="A file for the page; by default report.html in the study's folder, and for a"
            " store in S3 a copy as <study>.html in this folder."
        ),
    ] = None,
) -> None:
    """Prints the results and writes them as one HTML page, which needs no network."""
    results = Results(_study(root, study))
    _show(tables.summary(results))
    page = _page(results)
    folder = results.study.folder
    if output is None:
        folder.write("report.html", page.encode())
        _show(f"page: {folder.uri}/report.html")
        if not folder.uri.startswith("s3://"):
            return
    path = output or Path(f"{results.study.name}.html")
    try:
        path.write_text(page, "utf-8")
    except OSError as error:
        raise ValueError(f"cannot write {path}: {error.strerror}; give another --output") from error
    _show(f"page: {path.absolute()}")


def _page(results: Results) -> str:
    if find_spec("plotly") is None:
        raise ValueError("the page needs plotly; pip install 'raykd[report]'")
    from raykd.report.page import page  # imports optuna and plotly, which takes seconds

    return page(results)


def _study(root: str, name: str | None) -> Study:
    store = open_store(root)
    return store.study(name or _only(store))


def _only(store: Store) -> str:
    names = store.studies()
    if len(names) != 1:
        known = ", ".join(names) or "none yet"
        raise StoreError(f"name a study of {store.folder.uri}; there are: {known}")
    return names[0]


def _contenders(
    results: Results, chosen: list[Contender], metrics: list[str], as_json: bool
) -> None:
    if as_json:
        _print_json([contender.as_dict() for contender in chosen])
    elif chosen:
        _show(tables.best(results, chosen, list(dict.fromkeys(metrics))))
    else:
        _show(f"no trial of study {results.study.name!r} is complete yet")


def _show(shown: Any) -> None:
    Console().show(shown)


def _say(text: str) -> None:
    Console(stderr=True).show(text)


def _print_json(item: Any) -> None:
    typer.echo(json.dumps(_finite(item), allow_nan=False))


def _finite(item: Any) -> Any:
    """Returns `item` with None for NaN and infinities, which JSON cannot express."""
    if isinstance(item, float):
        return item if math.isfinite(item) else None
    if isinstance(item, dict):
        return {key: _finite(value) for key, value in item.items()}
    if isinstance(item, list | tuple):
        return [_finite(value) for value in item]
    return item
