"""Texts of others, such as a store's or a path, made harmless for a terminal."""

import re

_UNSEEN = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f"  # control characters but tab and line feed
    "\u200e\u200f\u2028-\u202e\u2066-\u2069"  # directions of writing, other ends of a line
    "\ud800-\udfff]"  # bytes of a path that are no UTF-8
)


def printable(text: str) -> str:
    """Returns a text in which what can't be seen, or commands a terminal, is U+FFFD."""
    return _UNSEEN.sub("\ufffd", text)
