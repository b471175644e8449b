"""What goes wrong with a store, in one sentence each."""

from raykd.printable import printable

_LONGEST = 240  # characters of what a damaged object is said to hold


class StoreError(ValueError):
    """A store, a study or a query that cannot be served; the text says what to do.

    Names and texts of the store in it are made harmless for a terminal.
    """

    def __init__(self, text: str) -> None:
        super().__init__(printable(text))


class UnavailableError(StoreError):
    """The storage does not answer as it should now: network, credentials, permission, full disk.

    Nothing is wrong with the request; the same may succeed later.
    """


class MissingObjectError(StoreError, FileNotFoundError):
    """An object that is not there."""


class DamagedObjectError(StoreError):
    """An object that is not what was written: cut short, altered, or not raykd's.

    The text may hold what the object holds, and is cut where that is long.
    """

    def __init__(self, text: str) -> None:
        super().__init__(text if len(text) <= _LONGEST else f"{text[:_LONGEST]}…")


class WriterReplacedError(StoreError):
    """Another writer has taken over the study; this one must stop."""


class StoreWarning(UserWarning):
    """An object that was skipped, or a step that is tried again later."""

    def __init__(self, text: str) -> None:
        super().__init__(printable(text))
