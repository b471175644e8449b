"""Builds the HTML of sections, tables and figures."""

from collections.abc import Iterable, Sequence
from html import escape

import plotly.graph_objects as go


def section(title: str, content: str) -> str:
    """Returns a titled section.

    Args:
        title: Title as plain text.
        content: Content as HTML.
    """
    return f"<section><h2>{escape(title)}</h2>{content}</section>"


def soft(text: str) -> str:
    """Returns a paragraph in the muted text colour; `text` is HTML."""
    return f'<p class="soft">{text}</p>'


def figure(
    title: str,
    shown: go.Figure | str,
    caption: str,
    keys: str = "",
    below: str = "",
    least: int = 0,
) -> str:
    """Returns a section with a figure, or with the sentence that replaces it.

    Args:
        title: Title of the section as plain text.
        shown: Figure, or a sentence that says why there is none.
        caption: Plain text that says how to read the figure.
        keys: Legend of the figure as HTML.
        below: Content after the figure as HTML.
        least: Minimum width of the figure in pixels; a narrower page scrolls it.
    """
    if isinstance(shown, str):
        return section(title, soft(escape(shown)) + below)
    drawn = f'<figure class="wide">{place(shown, least)}</figure>'
    return section(title, soft(escape(caption)) + keys + drawn + below)


def place(shown: go.Figure, least: int = 0) -> str:
    """Returns the element that a figure is drawn into, with the figure's data as JSON."""
    data = shown.to_json().replace("<", "\\u003c")
    height = int(shown.layout.height)
    return (
        f'<div data-figure style="height:{height}px;min-width:{least}px"></div>'
        f'<script type="application/json">{data}</script>'
    )


def key(colour: str) -> str:
    """Returns a small square of a colour, for legends."""
    return f'<i class="key" style="background:{colour}"></i>'


def table(
    head: Sequence[str],
    rows: Iterable[Sequence[str]],
    *,
    best: int | None = None,
    texts: Sequence[int] = (),
) -> str:
    """Returns a table.

    Args:
        head: Titles of the columns as plain text.
        rows: Cells of each row as HTML.
        best: Index of a row to highlight; None for no row.
        texts: Indices of columns with longer texts.
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
