"""Credentials in addresses: they are refused, since addresses are stored and shown."""

import re
from urllib.parse import unquote

from raykd.store.errors import StoreError

_ADDRESS = re.compile(r"(?:\b([a-z][a-z0-9+.-]+):/+|(?:^|=)s3[an]?[:/]+)(.*)", re.I | re.S)
_SECRET_OPTION = re.compile(r"[?&;][^=&;/]*(key|secret|token|passw|credential|sig)[^=&;/]*=", re.I)


def has_credentials(text: str) -> bool:
    """Says whether an address in `text` has credentials in it.

    A secret may hold any character but blanks, `/`, `@`, `?` and `%` among them, as it is or
    percent-encoded, so this looks at the whole word and not only at what a parser takes for the
    user's part. No bucket's name has `@` or `:` in it, so an `s3://` address with a server's port
    counts as well.

    Args:
        text: An address, or a command line with any number of words such as `--data=s3://bucket`.
    """
    while (plain := unquote(text)) != text:
        text = plain
    return any(_word_has_credentials(word) for word in text.split())


def _word_has_credentials(word: str) -> bool:
    match = _ADDRESS.search(word)
    if match is None:
        return False
    scheme, rest = (match[1] or "s3").lower(), match[2]
    if scheme == "file":  # a local path, whose names may hold anything
        return False
    authority, _, path = rest.partition("/")
    colon = ":" in authority and (scheme in ("s3", "s3a", "s3n") or "@" in path)
    return "@" in authority or colon or _SECRET_OPTION.search(rest) is not None


def refuse_credentials(text: str, what: str) -> None:
    """Raises where an address in `text` has credentials in it; the message does not repeat them.

    Args:
        text: See `has_credentials`.
        what: What to call it in the message.

    Raises:
        StoreError: There are credentials in it: `s3://key:secret@bucket`, `?secret_key=…`.
    """
    if has_credentials(text):
        raise StoreError(
            f"{what} holds credentials or a server's port, and addresses are stored and shown;"
            " give s3://bucket/prefix without credentials, and set AWS_PROFILE, or"
            " AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, and AWS_ENDPOINT_URL for the server"
        )
