"""Validates names and paths in a store: anyone who can write to the bucket may have chosen them."""

from typing import Any

_LONGEST = 200  # maximum length of a name in characters; file systems allow 255 bytes


def is_label(item: Any) -> bool:
    """Returns True for a valid name of a metric, cost or hyperparameter: one printable line."""
    return isinstance(item, str) and 0 < len(item) <= _LONGEST and item.isprintable()


def is_name(item: Any) -> bool:
    """Returns True for a valid name of a trial or cohort, which is also a valid folder name."""
    return is_label(item) and not item.startswith(".") and not {"/", "\\"} & set(item)


def is_path(item: Any) -> bool:
    """Returns True for a valid path below the root of a store: names joined by `/`."""
    return isinstance(item, str) and all(map(is_name, item.split("/")))


def is_sha256(item: Any) -> bool:
    """Returns True for a SHA-256 digest in lower-case hexadecimal."""
    return isinstance(item, str) and len(item) == 64 and set(item) <= set("0123456789abcdef")
