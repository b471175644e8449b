"""A console that prints text literally, even if it comes from an untrusted source."""

from collections.abc import Iterable
from typing import Any

import rich.console
from rich.console import ConsoleOptions, RenderableType
from rich.segment import Segment

from raykd.printable import printable

_WIDTH_OF_FILES = 160
"""Width in columns if the output is not a terminal, so that lines need not be broken."""


class Console(rich.console.Console):
    """A console for error messages, and for paths and names that come from a store.

    Rich interprets `[brackets]` and `:colons:` as markup, and a terminal obeys escape sequences.
    This console prints brackets and colons literally, also in the cells of tables, and replaces
    characters that can't be seen or encoded by U+FFFD. It doesn't break lines of text, so that
    commands and paths in them can be pasted.

    Args:
        stderr: Whether to print on stderr instead of stdout.
        options: Further keyword arguments of `rich.console.Console`.
    """

    def __init__(self, *, stderr: bool = False, **options: Any) -> None:
        super().__init__(stderr=stderr, markup=False, emoji=False, highlight=False, **options)
        if not self.is_terminal and "width" not in options:
            self.width = _WIDTH_OF_FILES

    def show(self, shown: RenderableType, *, style: str | None = None) -> None:
        """Prints a text or a table, in the given rich `style` if there is one."""
        self.print(shown, style=style, soft_wrap=True)

    def render(
        self, renderable: RenderableType, options: ConsoleOptions | None = None
    ) -> Iterable[Segment]:
        """Yields the segments to print; rich calls this for everything that it prints."""
        for text, style, control in super().render(renderable, options):
            yield Segment(text if control else printable(text), style, control)
