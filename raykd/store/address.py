"""Detects and refuses credentials in addresses, because addresses are stored and shown."""

import re
from urllib.parse import unquote

from raykd.store.errors import StoreError

_ADDRESS = re.compile(r"(?:\b([a-z][a-z0-9+.-]+):/+|(?:^|=)s3[an]?[:/]+)(.*)", re.I | re.S)
_SECRET_OPTION = re.compile(r"[?&;][^=&;/]*(key|secret|token|passw|credential|sig)[^=&;/]*=", re.I)


def has_credentials(text: str) -> bool:
    """Returns True if an address in `text` contains credentials.

    A secret may contain any character except blanks, even `/`, `@`, `?` and `%`, either as it is
    or percent-encoded. The whole word is therefore examined, not only the part that a URL parser
    takes for the user. No bucket name contains `@` or `:`, so an `s3://` address with a server's
    port counts as well.

    Args:
        text: One address, or a command line with any number of words like `--data=s3://bucket`.
    """
    while (plain := unquote(text)) != text:
        text = plain
    return any(_word_has_credentials(word) for word in text.split())


def _word_has_credentials(word: str) -> bool:
    match = _ADDRESS.search(word)
    if match is None:
        return False
    scheme, rest = (match[1] or "s3").lower(), match[2]
    if scheme == "file":  # a local path; its names may contain any character
        return False
    authority, _, path = rest.partition("/")
    colon = ":" in authority and (scheme in ("s3", "s3a", "s3n") or "@" in path)
    return "@" in authority or colon or _SECRET_OPTION.search(rest) is not None


def refuse_credentials(text: str, what: str) -> None:
    """Raises an error if an address in `text` contains credentials; the message omits them.

    Args:
        text: One address or a command line, as for `has_credentials`.
        what: Name of `text` in the message, such as "the address".

    Raises:
        StoreError: `text` contains credentials, such as `s3://key:secret@bucket` or
            `?secret_key=…`.
    """
    if has_credentials(text):
        raise StoreError(
            f"{what} holds credentials or a server's port, and addresses are stored and shown;"
            " give s3://bucket/prefix without credentials, and set AWS_PROFILE, or"
            " AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, and AWS_ENDPOINT_URL for the server"
        )
