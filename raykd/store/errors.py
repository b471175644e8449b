"""Errors and warnings of a store; each message is one sentence."""

from raykd.printable import printable

_LONGEST = 240  # maximum length of a message in characters, as it may quote a damaged object


class StoreError(ValueError):
    """A request to a store that cannot be served; the message says what to do.

    Names and texts that come from the store are made harmless for a terminal.
    """

    def __init__(self, text: str) -> None:
        super().__init__(printable(text))


class UnavailableError(StoreError):
    """The storage fails at the moment: network, credentials, permission or a full disk.

    Nothing is wrong with the request itself; the same request may succeed later.
    """


class MissingObjectError(StoreError, FileNotFoundError):
    """An object that does not exist."""


class DamagedObjectError(StoreError):
    """An object that differs from what was written: truncated, altered, or not raykd's.

    The message may quote the object and is truncated if that makes it long.
    """

    def __init__(self, text: str) -> None:
        super().__init__(text if len(text) <= _LONGEST else f"{text[:_LONGEST]}…")


class WriterReplacedError(StoreError):
    """Another writer has taken over the study, so this writer must stop."""


class StoreWarning(UserWarning):
    """Warns of an object that was skipped, or of a step that is tried again later."""

    def __init__(self, text: str) -> None:
        super().__init__(printable(text))
