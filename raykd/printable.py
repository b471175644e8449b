"""Makes text from outside, such as a store's content or a path, harmless for a terminal."""

import re

_UNSEEN = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f"  # control characters except tab and line feed
    "\u200e\u200f\u2028-\u202e\u2066-\u2069"  # marks of writing direction, other line separators
    "\ud800-\udfff]"  # surrogates: bytes of a path that are not UTF-8
)


def printable(text: str) -> str:
    """Returns the text with invisible characters and terminal commands replaced by U+FFFD."""
    return _UNSEEN.sub("\ufffd", text)
