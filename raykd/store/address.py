"""Credentials in addresses: they are refused, since addresses are stored and shown."""

import re
from urllib.parse import unquote

from raykd.store.errors import StoreError

_ADDRESS = re.compile(r"(?:\b([a-z][a-z0-9+.-]+):/+|(?:^|=)s3[an]?[:/]+)(.*)", re.I | re.S)
_SECRET_OPTION = re.compile(r"[?&;][^=&;/]*(key|secret|token|passw|credential|sig)[^=&;/]*=", re.I)


def refuse_credentials(text: str, what: str = "the address") -> None:
    """Raises where an address in `text` has credentials in it; the message does not repeat them.

    A secret may hold any character, `/`, `@`, `?` and `%` among them, as it is or percent-encoded,
    so this looks at all of the text and not only at what a parser takes for the user's part.

    Args:
        text: An address or a word of a command line, such as `--storage=s3://bucket/prefix`.
        what: What to call it in the message.

    Raises:
        StoreError: There are credentials in it: `s3://key:secret@bucket`, `?secret_key=…`.
    """
    while (plain := unquote(text)) != text:
        text = plain
    match = _ADDRESS.search(text)
    if match is None:
        return
    scheme, rest = (match[1] or "s3").lower(), match[2]
    authority, _, path = rest.partition("/")
    if scheme == "file":
        known = False  # a local path, whose names may hold anything
    elif scheme in ("s3", "s3a", "s3n"):
        known = "@" in authority or ":" in authority  # neither is in any bucket's name
    else:
        known = "@" in authority or (":" in authority and "@" in path)
    if known or (scheme != "file" and _SECRET_OPTION.search(rest)):
        raise StoreError(
            f"{what} holds credentials or a server's port, and addresses are stored and shown;"
            " give s3://bucket/prefix without credentials, and set AWS_PROFILE, or"
            " AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, and AWS_ENDPOINT_URL for the server"
        )
