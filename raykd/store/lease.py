"""One writer a study: a lease that counts terms.

A writer owns the term that it was first to put into `writer/<term>.json`. It stays alive by
putting the time into `writer/<term>.beat` now and then. Whoever finds the newest term's owner dead
or silent takes the next term; an owner that finds a later term than its own has been replaced.
"""

import os
import socket
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from threading import Event, Thread
from typing import Any
from uuid import uuid4

from raykd.store.errors import (
    DamagedObjectError,
    MissingObjectError,
    StoreError,
    WriterReplacedError,
)
from raykd.store.folder import Folder
from raykd.store.records import from_json, to_json

_LAST = 1e11  # seconds since 1970; what is later is no time that a writer began at


@dataclass(frozen=True)
class _Owner:
    """Who wrote a lease, and when it was last heard of."""

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
            and all(isinstance(at, int | float) and 0 <= at < _LAST for at in moments)
        ):
            raise TypeError("no lease of raykd")

    def dead(self) -> bool:
        """Says whether the process ran here and runs no more."""
        return self.machine == _machine() and self.born != _born(self.pid)

    def __str__(self) -> str:
        moment = datetime.fromtimestamp(self.started, UTC).isoformat(timespec="seconds")
        return f"process {self.pid} on {self.host}, since {moment}"


class Lease:
    """The right to write a study, from construction to `release`.

    Args:
        folder: The study's.
        stale: Seconds of silence after which an owner on another machine counts as dead.

    Raises:
        StoreError: Somebody else holds it.
    """

    def __init__(self, folder: Folder, *, stale: float) -> None:
        self._folder, self._stale = folder, stale
        self.term, self._nonce = self._take()
        self._stop, self._replaced = Event(), False
        self.say: Callable[[str], None] = lambda text: None
        self._beat(closed=False)
        self._thread = Thread(target=self._keep, name=f"lease of {folder.uri}", daemon=True)
        self._thread.start()

    def hold(self) -> None:
        """Checks that the lease is still ours.

        Raises:
            WriterReplacedError: Another writer took over.
        """
        newest = max(_terms(self._folder), default=0)
        if newest > self.term or self._replaced:
            owner = _owner(self._folder, newest)
            raise WriterReplacedError(
                f"another writer has taken over {self._folder.uri}: {owner or 'unknown'}; this one"
                " was silent too long and must stop, what it wrote last may not count"
            )

    def release(self) -> None:
        """Gives the lease up, so that the next writer need not wait."""
        self._stop.set()
        self._thread.join()
        with suppress(StoreError):  # then the next writer waits until this one counts as dead
            self._beat(closed=True)

    def _take(self) -> tuple[int, str]:
        """Takes the next term, or says who holds the present one."""
        while True:
            term = max(_terms(self._folder), default=0)
            owner = _owner(self._folder, term) if term else None
            silence = time.time() - owner.heard if owner else 0.0
            if owner and not owner.closed and not owner.dead() and silence < self._stale:
                raise StoreError(
                    f"{self._folder.uri} is being written by {owner}; stop it first. If it is dead"
                    f" already, try again in {self._stale - silence:.0f} s"
                )
            me = {
                "host": socket.gethostname(),
                "machine": _machine(),
                "pid": os.getpid(),
                "born": _born(os.getpid()),
                "started": time.time(),
                "nonce": uuid4().hex,
            }
            path = f"writer/{term + 1:06d}.json"
            self._folder.write(path, to_json(me).encode(), if_absent=True)
            # read back: where two were let through, one of them sees the other's
            mine = _owner(self._folder, term + 1)
            if mine and mine.nonce == me["nonce"]:
                return term + 1, mine.nonce

    def _beat(self, *, closed: bool) -> None:
        beat = {"time": time.time(), "closed": closed}
        self._folder.write(f"writer/{self.term:06d}.beat", to_json(beat).encode())

    def _keep(self) -> None:
        """Gives signs of life; a server that is away for a while is asked again later."""
        told = ""
        while not self._stop.wait(self._stale / 6):
            try:
                owner = _owner(self._folder, self.term)
                self._replaced |= owner is not None and owner.nonce != self._nonce
                self._beat(closed=False)
            except StoreError as error:
                if str(error) != told:
                    self.say(f"the store fails, what is new waits in memory: {error}")
                told = str(error)
            else:
                if told:
                    self.say("the store answers again")
                told = ""


def _terms(folder: Folder) -> list[int]:
    """Returns the terms that were ever taken."""
    names = [path.removeprefix("writer/") for path in folder.list("writer")]
    stems = [name.removesuffix(".json") for name in names if name.endswith(".json")]
    return [int(stem) for stem in stems if stem.isdecimal()]


def _owner(folder: Folder, term: int) -> _Owner | None:
    """Reads a lease and its sign of life; None if the lease cannot be read."""
    try:
        lease: dict[str, Any] = from_json(folder.read(f"writer/{term:06d}.json"))
        owner = _Owner(**lease, heard=lease["started"])
    except (DamagedObjectError, MissingObjectError, TypeError, KeyError):
        return None
    try:
        beat = from_json(folder.read(f"writer/{term:06d}.beat"))
        return _Owner(**lease, heard=beat["time"], closed=beat["closed"])
    except (DamagedObjectError, MissingObjectError, TypeError, KeyError):
        return owner


def _machine() -> str:
    """Names the host and, in containers, the space in which process ids count."""
    space = Path("/proc/self/ns/pid")
    return f"{socket.gethostname()} {space.readlink() if space.is_symlink() else ''}".strip()


def _born(pid: int) -> str:
    """Returns when a process started, in ticks since boot; "gone" if it is gone or a zombie."""
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
