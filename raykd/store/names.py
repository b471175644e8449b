"""Names and paths in a store, which anyone who can write the bucket may have chosen."""

from typing import Any

_LONGEST = 200  # characters of a name; file systems take 255 bytes


def is_label(item: Any) -> bool:
    """Says whether this can name a metric, a cost or a hyperparameter: one printable line."""
    return isinstance(item, str) and 0 < len(item) <= _LONGEST and item.isprintable()


def is_name(item: Any) -> bool:
    """Says whether this can name a trial or a cohort, and so a folder in a store or on a disk."""
    return is_label(item) and not item.startswith(".") and not {"/", "\\"} & set(item)


def is_path(item: Any) -> bool:
    """Says whether this is a path below a store's root: names joined by `/`."""
    return isinstance(item, str) and all(map(is_name, item.split("/")))


def is_sha256(item: Any) -> bool:
    """Says whether this is a SHA-256 in hexadecimal."""
    return isinstance(item, str) and len(item) == 64 and set(item) <= set("0123456789abcdef")
