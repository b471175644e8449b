"""The terminal, on which text is shown as it is, whoever wrote it."""

from collections.abc import Iterable
from typing import Any

import rich.console
from rich.console import ConsoleOptions, RenderableType
from rich.segment import Segment

from raykd.printable import printable

_WIDE = 160  # columns, where output is not a terminal and lines need not be broken


class Console(rich.console.Console):
    """A console for error messages, paths and names out of a store.

    Rich takes `[brackets]` and `:colons:` for markup, and a terminal obeys escape sequences. Here
    brackets and colons are printed as they are, also in the cells of tables, and characters that
    can't be seen or encoded become U+FFFD. Lines of text are not broken, so that commands and paths
    in them can be pasted.

    Args:
        stderr: Whether to print on stderr.
        options: Further ones of rich's console.
    """

    def __init__(self, *, stderr: bool = False, **options: Any) -> None:
        super().__init__(stderr=stderr, markup=False, emoji=False, highlight=False, **options)
        if not self.is_terminal and "width" not in options:
            self.width = _WIDE

    def show(self, shown: RenderableType, *, style: str | None = None) -> None:
        """Prints a text or a table, in rich's `style` where one is given."""
        self.print(shown, style=style, soft_wrap=True)

    def render(
        self, renderable: RenderableType, options: ConsoleOptions | None = None
    ) -> Iterable[Segment]:
        """Yields the segments of what is printed; rich calls this for everything."""
        for text, style, control in super().render(renderable, options):
            yield Segment(text if control else printable(text), style, control)
