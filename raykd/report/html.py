"""HTML of sections, tables and figures."""

from collections.abc import Iterable, Sequence
from html import escape

import plotly.graph_objects as go


def section(title: str, content: str) -> str:
    """A titled card; the content is HTML already."""
    return f"<section><h2>{escape(title)}</h2>{content}</section>"


def soft(text: str) -> str:
    """A paragraph of quiet text that is HTML already."""
    return f'<p class="soft">{text}</p>'


def figure(
    title: str,
    shown: go.Figure | str,
    caption: str,
    keys: str = "",
    below: str = "",
    least: int = 0,
) -> str:
    """A section with a figure, or with the sentence that stands in its place.

    Args:
        title: The section's.
        shown: The figure or the sentence.
        caption: Says how to read the figure.
        keys: What its colours mean, as HTML.
        below: What follows, as HTML.
        least: Pixels of width below which the figure scrolls.
    """
    if isinstance(shown, str):
        return section(title, soft(escape(shown)) + below)
    drawn = f'<figure class="wide">{place(shown, least)}</figure>'
    return section(title, soft(escape(caption)) + keys + drawn + below)


def place(shown: go.Figure, least: int = 0) -> str:
    """The element that a figure is drawn into, and its data."""
    data = shown.to_json().replace("<", "\\u003c")
    height = int(shown.layout.height)
    return (
        f'<div data-figure style="height:{height}px;min-width:{least}px"></div>'
        f'<script type="application/json">{data}</script>'
    )


def key(colour: str) -> str:
    """A small square in a colour."""
    return f'<i class="key" style="background:{colour}"></i>'


def table(
    head: Sequence[str],
    rows: Iterable[Sequence[str]],
    *,
    best: int | None = None,
    texts: Sequence[int] = (),
) -> str:
    """A table of cells that are HTML already.

    Args:
        head: The columns, as plain text.
        rows: Their cells.
        best: The row to set off.
        texts: Columns with longer texts.
    """
    kinds = ["text" if column in texts else "" for column in range(len(head))]
    top = "".join(
        f'<th class="{kind}">{escape(name)}</th>' for kind, name in zip(kinds, head, strict=True)
    )
    body = ""
    for number, row in enumerate(rows):
        cells = zip(kinds, row, strict=True)
        texts_of_row = "".join(f'<td class="{kind}">{cell}</td>' for kind, cell in cells)
        body += f'<tr class="{"best" if number == best else ""}">{texts_of_row}</tr>'
    return (
        f'<div class="wide"><table><thead><tr>{top}</tr></thead><tbody>{body}</tbody></table></div>'
    )
