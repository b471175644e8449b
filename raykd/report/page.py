"""Builds one self-contained HTML page of a study, which needs no network and no other file."""

import hashlib
import math
import re
from base64 import b64encode
from collections.abc import Iterable, Mapping, Sequence
from html import escape
from importlib.resources import files
from string import Template
from typing import Any

from plotly.offline import get_plotlyjs

from raykd.report import formatting, html, plots, search_plots
from raykd.report.provenance import origin
from raykd.report.results import Contender, Results
from raykd.report.tables import with_test

_SCRIPT = re.compile(r"<script>(.*?)</script>", re.DOTALL)
_ROWS = 10  # maximum number of rows in the table of the best configurations
_FRONT = 30  # maximum number of rows in the table of the Pareto front
_UNFINISHED = 100  # maximum number of rows in the table of trials that did not complete


def page(results: Results) -> str:
    """Returns the HTML of a study's page."""
    drawn = plots.lines(results.compared())
    found = search_plots.searched(results)
    sections = [
        _header(results),
        _headline(results),
        _comparison(results, drawn),
        _best(results),
        *_figures(results, found, drawn),
        _not_complete(results),
        origin(results),
    ]
    template = files("raykd.report").joinpath("page.html").read_text("utf-8")
    plotly = get_plotlyjs().replace("\r\n", "\n")  # as browsers do before they hash
    own = [Template(script).substitute(plotly=plotly) for script in _SCRIPT.findall(template)]
    return Template(template).substitute(
        title=escape(f"{results.study.name} · raykd"),
        body="\n".join(filter(None, sections)),
        plotly=plotly,
        scripts=" ".join(map(_hash, own)),
    )


def _hash(script: str) -> str:
    """Returns the source expression that allows a script in a Content-Security-Policy."""
    return f"'sha256-{b64encode(hashlib.sha256(script.encode()).digest()).decode()}'"


def _header(results: Results) -> str:
    metric = formatting.title(results.metric)
    subject = f"{results.subject}. {results.progress}."
    return (
        f"<header><h1>{escape(results.study.name)}</h1>"
        f'<p class="soft">{escape(subject)} Chosen by {escape(metric)} after the last epoch.</p>'
        "</header>"
    )


def _headline(results: Results) -> str:
    """Returns the section with the best configuration and its gains over the compared ones."""
    ranked = results.ranked()
    if not ranked:
        return html.section("Nothing to show yet", "<p>No trial of this study is complete.</p>")
    best, metric, test = ranked[0], results.metric, formatting.on_test(results.metric)
    numbers = [(best.text(metric), formatting.title(metric))]
    if test and (text := best.text(test)):
        numbers.append((text, formatting.title(test)))
    unit = "points " if formatting.is_share(metric) else ""
    for row in results.compared():
        over = best.gain(row.contender, metric)
        if over and row.kind != "best" and row.contender != best:
            to = (
                "to the" if row.kind == "teacher" else "over the" if row.kind == "plain" else "over"
            )
            numbers.append((over, f"{unit}{to} {row.label}"))
    cards = "".join(
        f'<div class="number"><b>{_unbroken(text)}</b><span>{escape(name)}</span></div>'
        for text, name in numbers
    )
    arguments = ", ".join(f"{name}={value!r}" for name, value in sorted(best.config.items()))
    call = f"{results.method}({arguments})"
    note = (
        f'<p class="soft">Trial {escape(best.name)}, the best of {len(results.searched)} by'
        " validation: a maximum over many trials flatters itself a little; the test figure was"
        " not chosen by.</p>"
    )
    return html.section(
        "Best configuration",
        f'<code class="config">{escape(call)}</code><div class="numbers">{cards}</div>{note}',
    )


def _unbroken(text: str) -> str:
    """Returns a number as HTML, without a line break between "±" and the deviation."""
    return escape(text).replace("± ", "±&nbsp;")


def _comparison(results: Results, drawn: Sequence[plots.Line]) -> str:
    """Returns the table of teacher, plain student, references, given settings and best trial."""
    rows = results.compared()
    if not rows:
        return ""
    colours = {line.contender.name: line.colour for line in drawn}
    metric = results.metric
    metrics = [m for m in with_test(list(results.objectives)) if m == metric or _any(m, rows)]
    if "params" not in metrics and _any("params", rows):
        metrics.append("params")
    plains = [row.contender for row in rows if row.kind == "plain"]
    plain = next((ours for ours in plains if ours.text(metric)), None)
    head = ["", *map(formatting.title, metrics), "best epoch", *(["over plain"] if plain else [])]
    body = []
    for row in rows:
        ours = row.contender
        key = html.key(colours[ours.name])
        own = plain is None or row.kind in ("teacher", "plain")
        cells = [
            key + escape(row.label),
            *(escape(ours.text_or_state(m) if m == metric else ours.text(m)) for m in metrics),
            "" if row.kind == "teacher" else escape(ours.best_text(metric)),
            *([] if plain is None else ["" if own else escape(ours.gain(plain, metric))]),
        ]
        body.append(cells)
    note = "Values after the last epoch. Best epoch: its validation, its number beside."
    best = len(rows) - 1 if rows[-1].kind == "best" else None
    return html.section("Compared", html.soft(note) + html.table(head, body, best=best))


def _any(metric: str, rows: Iterable[Any]) -> bool:
    return any(math.isfinite(row.contender.mean(metric)) for row in rows)


def _best(results: Results) -> str:
    """Returns the table of the best configurations."""
    ranked = results.ranked()[:_ROWS]
    if not ranked:
        return ""
    title = f"The {len(ranked)} best configurations" if len(ranked) > 1 else "Configurations"
    return html.section(title, _settings(results, ranked, best=0))


def _settings(results: Results, contenders: Sequence[Contender], best: int | None = None) -> str:
    """Returns a table of settings with their metrics and hyperparameters."""
    names = sorted({name for contender in contenders for name in contender.config})
    wanted = with_test(list(results.objectives))
    metrics = [m for m in wanted if any(c.text(m) for c in contenders)]
    head = ["trial", *map(formatting.title, metrics), "best epoch", *names]
    body = [
        [
            escape(ours.name + (" (given)" if ours.role == "first" else "")),
            *(escape(ours.text(metric)) for metric in metrics),
            escape(ours.best_text(results.metric)),
            *(_setting(ours.config, name) for name in names),
        ]
        for ours in contenders
    ]
    return html.table(head, body, best=best)


def _front(results: Results, found: search_plots.Searched) -> str:
    """Returns the section with the Pareto front, as a figure and as a table."""
    figure = search_plots.pareto_front(results, found)
    keys = _keys([], ("on the front", plots.COLOURS["best"]), ("beaten", plots.FAINT))
    front = results.pareto(results.objectives)
    return html.figure(
        "Objectives against each other",
        figure,
        "No trial beats one on the front in every objective.",
        keys,
        below=_settings(results, front[:_FRONT]) if front else "",
    )


def _figures(
    results: Results, found: search_plots.Searched, drawn: Sequence[plots.Line]
) -> Iterable[str]:
    """Yields a section for each figure, or for the sentence that says why there is none."""
    metric = formatting.title(results.metric)
    competing = len(results.searched)
    most = f", the {plots.MOST_CURVES} best" if competing > plots.MOST_CURVES else ""
    curves = plots.learning_curves(results, drawn)
    keys = _keys(drawn, (f"other trials{most}", plots.FAINT))
    yield html.figure("Learning curves", curves, f"{metric.capitalize()} after each epoch.", keys)
    if len(results.objectives) > 1:
        yield _front(results, found)
    history = search_plots.history(results, found, drawn)
    ended = [line for line in drawn if line.contender.text(results.metric)]
    references = [line for line in ended if line.kind != "best"]
    keys = _keys(references, ("best so far", plots.COLOURS["best"]), ("trials", plots.FAINT))
    note = "Each complete trial after its last epoch, in the order of asking."
    yield html.figure("The search", history, note, keys)
    if not results.spec.get("space"):
        return
    note = (
        "PED-ANOVA: how much a parameter decides whether a trial is among the best; those"
        " that were pruned or failed count as the worst. With few trials this is a hint, not a"
        " measurement."
    )
    yield html.figure("Parameter importance", search_plots.importance(found), note)
    parallel = search_plots.parallel_coordinates(results, found)
    many = len(found.values) > search_plots.MOST_LINES
    which = (
        f"A line for each of the {search_plots.MOST_LINES} best trials"
        if many
        else "A line a trial"
    )
    note = f"{which}, the better its {metric} the bluer."
    width = 84 * (1 + len(found.parameters))
    yield html.figure("Parallel coordinates", parallel, note, least=width)
    if slices := search_plots.slices(results, found, drawn):
        places = "".join(f"<div>{html.place(figure)}</div>" for figure in slices)
        note = html.soft(
            f"{escape(metric.capitalize())} by each parameter; the later a trial, the bluer."
        )
        keys = _keys([line for line in references if line.kind != "teacher"])
        yield html.section("Slices", f'{note}{keys}<div class="slices">{places}</div>')


def _keys(drawn: Sequence[plots.Line], *others: tuple[str, str]) -> str:
    """Returns the legend of a figure: lines in reverse order, then other labels and colours."""
    named = [*((line.label, line.colour) for line in reversed(drawn)), *others]
    keys = "".join(f"<span>{html.key(colour)}{escape(name)}</span>" for name, colour in named)
    return f'<div class="keys">{keys}</div>' if keys else ""


def _not_complete(results: Results) -> str:
    """Returns the table of trials that were pruned, failed or have not ended."""
    rest = [c for c in results.contenders if c.state != "COMPLETE"]
    if not rest:
        return ""
    head = ["trial", "state", "epochs", "reason", "configuration"]
    body = [
        [
            escape(ours.name),
            formatting.STATES[ours.state],
            ", ".join(str(e) for e in sorted({t.epoch or 0 for t in ours.trials})),
            escape(ours.reason),
            escape(formatting.settings(ours.config)),
        ]
        for ours in rest[:_UNFINISHED]
    ]
    more = len(rest) - _UNFINISHED
    note = html.soft(f"and {more:,} more") if more > 0 else ""
    return html.section("Not complete", html.table(head, body, texts=(3, 4)) + note)


def _setting(config: Mapping[str, Any], name: str) -> str:
    return "" if config.get(name) is None else escape(formatting.setting(config[name]))
