"""What is printed is what was said."""

from io import StringIO

import pytest
from rich.table import Table

from raykd.terminal import Console

SAID = [
    "[/build/gloo/transport/tcp/pair.cc:1] Connection closed by peer [127.0.0.1]:1",
    "[enforce fail at alloc.cpp:1] no memory, [red]and[/red] [link=file:///etc]so on[/link]",
    "C:/photos[v2]/:key:/[bold]",
]


def printed(shown, **options):
    console = Console(file=StringIO(), **options)
    console.show(shown)
    return console.file.getvalue()


@pytest.mark.parametrize("said", SAID)
def test_brackets_and_colons_are_printed_as_they_are(said):
    assert printed(said) == f"{said}\n"
    table = Table(said, title=said)
    table.add_row(said)
    assert printed(table).count(said) == 3


def test_lines_are_not_broken():
    command = "python study.py --data " + "/a/very/long/path " * 20
    assert printed(command, width=40) == f"{command}\n"


def test_escape_sequences_and_what_no_encoding_has_are_replaced():
    said = "\x1b]0;title\x07\x1b[31mred\x9b1m, \u202etxt, photos\udcff"
    shown = printed(said).removesuffix("\n")
    assert shown.isprintable()
    assert (
        shown.encode("utf-8").decode()
        == "\ufffd]0;title\ufffd[31mred\ufffd1m, \ufffdtxt, photos\ufffd"
    )
