"""A lease with numbered terms, which ensures that a study has one writer at a time.

A writer owns a term if it was the first to create `writer/<term>.json`. It shows that it is alive
by regularly writing the time to `writer/<term>.beat`, together with the number of objects that it
has stored; from this number others can tell an incomplete listing. A writer that finds the owner of
the newest term dead or silent takes the next term. An owner that finds a later term than its own
has been replaced.
"""

import os
import re
import socket
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from threading import Event, Lock, Thread
from typing import Any, TypeVar
from uuid import uuid4

from raykd.store.errors import (
    DamagedObjectError,
    MissingObjectError,
    StoreError,
    UnavailableError,
    WriterReplacedError,
)
from raykd.store.folder import Folder
from raykd.store.records import from_json, to_json

T = TypeVar("T")
_LAST_TERM = 999_999  # names of objects have six digits for the term, so that they sort by it
_UNLISTED = 100  # number of terms at either end of a range that `terms` returns
_LATEST_TIME = 1e11  # seconds since 1970; a lease with a later time was not written by raykd


@dataclass(frozen=True)
class _Owner:
    """The process that wrote a lease, and the time of its last sign of life."""

    host: str
    machine: str
    pid: int
    born: str
    started: float
    nonce: str
    heard: float = 0.0
    closed: bool = False

    def __post_init__(self) -> None:
        texts = (self.host, self.machine, self.born, self.nonce)
        moments = (self.started, self.heard)
        if not (
            all(isinstance(text, str) for text in texts)
            and type(self.pid) is int
            and isinstance(self.closed, bool)
            and all(isinstance(at, int | float) and 0 <= at < _LATEST_TIME for at in moments)
        ):
            raise TypeError("no lease of raykd")

    def dead(self) -> bool:
        """Returns True if the process ran on this machine and no longer runs."""
        return self.machine == _machine() and self.born != _born(self.pid)

    def __str__(self) -> str:
        moment = datetime.fromtimestamp(self.started, UTC).isoformat(timespec="seconds")
        return f"process {self.pid} on {self.host}, since {moment}"


def _at_once(request: Callable[[], T]) -> T:
    return request()


class Lease:
    """The exclusive right to write a study, held from construction until `release`.

    Args:
        folder: Folder of the study.
        stale: Seconds of silence after which an owner on another machine counts as dead.
        ask: Function that runs a request of the constructor and may repeat it while the storage
            fails. By default a request runs once.

    Attributes:
        term: Number of this writer.
        objects: Number of objects that this writer has stored in the tail.
        say: Callback that receives one sentence when a sign of life fails and when the storage
            answers again.

    Raises:
        StoreError: Another writer holds the lease.
    """

    def __init__(
        self,
        folder: Folder,
        *,
        stale: float,
        ask: Callable[[Callable[[], Any]], Any] = _at_once,
    ) -> None:
        self._folder, self._stale, self._nonce = folder, stale, uuid4().hex
        self.term: int = ask(self._take)
        self.objects = 0
        self._stop, self._replaced, self._beating = Event(), False, Lock()
        self.say: Callable[[str], None] = lambda text: None
        ask(self.note)
        self._thread = Thread(target=self._keep, name=f"lease of {folder.uri}", daemon=True)
        self._thread.start()

    def hold(self) -> None:
        """Checks that this writer still holds the lease: nobody has taken the next term.

        Raises:
            WriterReplacedError: Another writer has taken over.
            UnavailableError: The storage no longer shows this lease, so its content has changed.
        """
        mine, following = _path(self.term), _path(self.term + 1)
        found = self._folder.read_all([mine, following])
        if following in found or self._replaced:
            owner = _owner(self._folder, self.term + (following in found))
            raise WriterReplacedError(
                f"another writer has taken over {self._folder.uri}: {owner or 'unknown'}; this one"
                " was silent too long and must stop, what it wrote last may not count"
            )
        if mine not in found:
            raise UnavailableError(
                f"{self._folder.uri}/{mine} is gone, which this writer put there; bring the"
                " storage back as it was"
            )

    def note(self) -> None:
        """Writes a sign of life with the number of objects stored so far."""
        self._beat(closed=False)

    def release(self) -> None:
        """Gives up the lease, so that the next writer need not wait."""
        self._stop.set()
        self._thread.join()
        with suppress(StoreError):  # on failure the next writer waits until this one counts as dead
            self._beat(closed=True)

    def _take(self) -> int:
        """Takes the next term and returns it, or raises with the present owner; may be retried."""
        taken = 0
        while True:
            term = max([taken, *_terms(self._folder)])
            owner = _owner(self._folder, term) if term else None
            silence = time.time() - owner.heard if owner else 0.0
            if owner and owner.nonce == self._nonce:  # taken earlier, the answer was lost
                return term
            if owner and not owner.closed and not owner.dead() and silence < self._stale:
                raise StoreError(
                    f"{self._folder.uri} is being written by {owner}; stop it first. If it is dead"
                    f" already, try again in {self._stale - silence:.0f} s"
                )
            if term >= _LAST_TERM:
                raise StoreError(
                    f"{self._folder.uri}/{_path(term)} is of the last writer that there can be, and"
                    " none of raykd's came so far; delete it, or choose another name for the study"
                )
            me = {
                "host": socket.gethostname(),
                "machine": _machine(),
                "pid": os.getpid(),
                "born": _born(os.getpid()),
                "started": time.time(),
                "nonce": self._nonce,
            }
            self._folder.write(_path(term + 1), to_json(me).encode(), if_absent=True)
            # read back: if the server let two writers through, one of them sees the other's lease
            mine = _owner(self._folder, term + 1)
            if mine and mine.nonce == self._nonce:
                return term + 1
            taken = term + 1  # counts as taken even if a listing does not show it

    def _beat(self, *, closed: bool) -> None:
        with self._beating:  # otherwise an earlier sign of life might arrive after a later one
            beat = {"time": time.time(), "closed": closed, "objects": self.objects}
            self._folder.write(_path(self.term, "beat"), to_json(beat).encode())

    def _keep(self) -> None:
        """Writes signs of life until `release`; after a failure it tries again at the next one."""
        told = ""
        while not self._stop.wait(self._stale / 6):
            try:
                owner = _owner(self._folder, self.term)
                self._replaced |= owner is not None and owner.nonce != self._nonce
                self.note()
            except StoreError as error:
                if str(error) != told:
                    self.say(f"the store fails, what is new waits in memory: {error}")
                told = str(error)
            else:
                if told:
                    self.say("the store answers again")
                told = ""


def newest_term(folder: Folder) -> int:
    """Returns the term of the last writer; 0 if there was none."""
    return max(_terms(folder), default=0)


def terms(first: int, last: int) -> list[int]:
    """Returns the terms from `first` to `last`, without the middle if there are very many.

    Writers count terms without gaps, so even a term that an incomplete listing omits has existed.
    Anyone may have created a file with a high number, however, so the result has at most
    `_UNLISTED` terms from the start and about as many from the end.
    """
    after, before = range(first, first + _UNLISTED), range(last - _UNLISTED, last + 1)
    return sorted(term for term in {*after, *before} if first <= term <= last)


def noted(folder: Folder, term: int) -> int | None:
    """Returns how many objects a writer had stored at its last sign of life; None if unknown."""
    try:
        return int(from_json(folder.read(_path(term, "beat")))["objects"])
    except (
        DamagedObjectError,
        MissingObjectError,
        TypeError,
        KeyError,
        ValueError,
        OverflowError,
    ):
        return None


def _path(term: int, suffix: str = "json") -> str:
    return f"writer/{term:06d}.{suffix}"


def _terms(folder: Folder) -> list[int]:
    """Returns all terms that were ever taken."""
    found = (re.fullmatch(r"writer/([0-9]{6})\.json", path) for path in folder.list("writer"))
    return [int(match[1]) for match in found if match]


def _owner(folder: Folder, term: int) -> _Owner | None:
    """Reads a lease and its last sign of life; returns None if the lease cannot be read."""
    try:
        lease: dict[str, Any] = from_json(folder.read(_path(term)))
        owner = _Owner(**lease, heard=lease["started"])
    except (DamagedObjectError, MissingObjectError, TypeError, KeyError):
        return None
    try:
        beat = from_json(folder.read(_path(term, "beat")))
        return _Owner(**lease, heard=beat["time"], closed=beat["closed"])
    except (DamagedObjectError, MissingObjectError, TypeError, KeyError):
        return owner


def _machine() -> str:
    """Returns the host name and, if there is one, the namespace in which process ids are unique."""
    space = Path("/proc/self/ns/pid")
    return f"{socket.gethostname()} {space.readlink() if space.is_symlink() else ''}".strip()


def _born(pid: int) -> str:
    """Returns the start time of a process in clock ticks since boot.

    Returns "gone" if the process has ended or is a zombie, and "running" for a running process
    whose start time is unknown.
    """
    try:
        if not Path("/proc/self/stat").exists():
            os.kill(pid, 0)
            return "running"
        after_name = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        return "gone" if after_name[0] in "ZX" else after_name[19]
    except PermissionError:
        return "running"
    except (ProcessLookupError, FileNotFoundError):
        return "gone"
