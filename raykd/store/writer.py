"""Writes a study; only one writer at a time may do so."""

import warnings
from collections.abc import Callable
from functools import partial
from types import TracebackType
from typing import Any

from raykd.store.errors import StoreError, StoreWarning, UnavailableError, WriterReplacedError
from raykd.store.folder import Folder
from raykd.store.lease import Lease
from raykd.store.log import Log, read_log
from raykd.store.metrics import long_table
from raykd.store.query import Study
from raykd.store.records import Record, checked, pack
from raykd.store.retry import retry_until_available
from raykd.store.snapshot import (
    MOST_SNAPSHOTS,
    Position,
    Snapshot,
    collect,
    name_of,
    publish,
    tail_path,
)
from raykd.store.spec import objective, settle_spec
from raykd.store.trials import Trials, stored_config


class Writer:
    """Appends records to a study; a context manager that closes the writer on exit.

    Each `append` stores one small immutable object in the tail. After every `every` objects, and at
    the end, the writer compacts the tail into a snapshot. It may be killed at any point: records
    for which `append` has returned are neither lost nor duplicated.

    There is one writer at a time: a second one is refused while the first is alive. A new writer
    replaces a dead one on the same machine at once, and one on another machine after `stale`
    seconds of silence; if the replaced one wakes up, its next `append` raises an error. This is
    exact on a local folder and on S3 servers with conditional PUT (AWS, MinIO, moto). Servers that
    ignore the condition (rclone) may admit two writers that start at the same moment; a check
    every `stale / 6` seconds then stops one of them.

    Args:
        folder: Folder of the study.
        spec: Content of `study.json`, which is written once. `metric` and `mode` are lists; the
            value of `identity` must be the same whenever the study is continued.
        stale: Seconds after which a silent writer counts as dead.
        every: Number of objects in the tail after which it is compacted.
        wait: Seconds that the constructor waits for a storage that fails or lacks an object.
        say: Callback that receives one sentence when a wait begins, with its reason, and one when
            the wait is over.

    Raises:
        StoreError: Another writer is active, the stored study has another identity, or its
            snapshots are damaged and the tail cannot replace them.
    """

    def __init__(
        self,
        folder: Folder,
        spec: dict[str, Any],
        *,
        stale: float = 60.0,
        every: int = 32,
        wait: float = 0.0,
        say: Callable[[str], None] | None = None,
    ) -> None:
        ask = partial(retry_until_available, seconds=wait, say=say)
        self.folder, self._every = folder, every
        self.spec: dict[str, Any] = ask(partial(settle_spec, folder, spec))
        metric, mode = objective(self.spec)
        self._lease = Lease(folder, stale=stale, ask=ask)
        self._open = True
        try:
            log: Log = ask(self._read)
            for warning in log.warnings:
                warnings.warn(warning, StoreWarning, stacklevel=2)
            if not log.whole:
                raise StoreError(
                    f"no snapshot of {folder.uri} is valid, so trials would be lost; restore its"
                    " snapshot folder from a backup, or choose another name"
                )
            if log.newest[1] >= MOST_SNAPSHOTS:
                raise StoreError(
                    f"{folder.uri}/snapshot has a folder {name_of(log.newest)}, and raykd has never"
                    " counted so far; delete it, or choose another name for the study"
                )
            self._snapshot: Snapshot | None = log.snapshot
            self._newest = log.newest[1]
            self._objects, self._pending = 0, list(log.records())
            # records of the last object, while it is unknown whether the object was stored
            self._unsent: list[Record] = []
            self._told: set[Position] = {*log.tail}
            self._trials = Trials(log.base, metric, mode)
            self._trials.apply(self._pending)
            if self._lease.term > 1:  # late objects of earlier terms no longer count
                ask(self.compact)
        except BaseException:
            self._open = False
            self._lease.release()
            raise

    def __enter__(self) -> "Writer":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def append(self, records: list[Record]) -> None:
        """Stores records permanently before it returns.

        Appending a record again changes nothing, so after an error the same records may be
        appended once more.

        Raises:
            WriterReplacedError: Another writer has taken over; this one must stop.
            UnavailableError: The storage failed; the same call may succeed later.
            StoreError: A record is invalid or belongs to an unknown trial, or the writer is closed.
        """
        if not self._open:
            raise StoreError(f"the writer of {self.folder.uri} is closed; open another one")
        if not records:
            return
        good = [checked(record) for record in records]
        if self._unsent != good:
            self._send()
            self._check_started(good)
            self._objects += 1
            self._unsent = good
        self._send()
        if self._objects - self._covered() >= self._every:
            try:
                self.compact()
            except WriterReplacedError:
                raise
            except StoreError as error:
                warnings.warn(f"compaction is put off: {error}", StoreWarning, stacklevel=2)

    def study(self) -> Study:
        """Returns the study as this writer knows it, without listing the stored objects."""
        at = (self._lease.term, self._objects)
        log = Log(self._snapshot, self._trials.base, {at: self._pending})
        return Study(self.folder, str(self.spec.get("name", "")), log)

    def tell(self, say: Callable[[str], None]) -> None:
        """Sets the callback for failures of the storage that occur between two appends.

        Args:
            say: Callback that receives one sentence when a sign of life cannot be written, and one
                when the storage answers again.
        """
        self._lease.say = say

    def configs(self) -> dict[str, dict[str, Any]]:
        """Returns the hyperparameters of each trial by its name, with the types as appended."""
        table = self._trials.table()
        trials, texts = table["trial"].to_pylist(), table["config"].to_pylist()
        return {trial: stored_config(text) for trial, text in zip(trials, texts, strict=True)}

    def compact(self) -> None:
        """Writes a snapshot of all records and deletes the objects that it makes superfluous.

        Raises:
            WriterReplacedError: Another writer has taken over; this one must stop.
            UnavailableError: The storage failed; nothing is lost.
        """
        term, before = self._lease.term, self._snapshot
        self._newest += 1
        self._lease.hold()
        self._trials = self._trials.settled()
        self._snapshot = publish(
            self.folder,
            (term, self._newest),
            (term, self._objects - bool(self._unsent)),
            self._trials.base,
            long_table(self._pending),
            before,
        )
        self._pending = []
        self._lease.note()  # before deleting, so that the next writer expects the snapshot
        collect(self.folder, self._snapshot, before, self._told, self._trials)

    def close(self) -> None:
        """Compacts the tail and gives up the lease; a second call does nothing."""
        if not self._open:
            return
        self._open = False
        try:
            if self._pending:
                self.compact()
        except StoreError as error:
            warnings.warn(f"closed without compaction: {error}", StoreWarning, stacklevel=2)
        finally:
            self._lease.release()

    def _read(self) -> Log:
        """Reads the log.

        Raises:
            UnavailableError: An object that must exist was not found.
        """
        log = read_log(self.folder, lease=self._lease)
        if log.whole and log.lacking:
            raise UnavailableError(log.lacking)
        return log

    def _send(self) -> None:
        """Stores the last object, or repeats a failed try under the same number.

        Numbers thus have no gaps, and a missing number reveals a lost object.
        """
        if not self._unsent:
            return
        at = (self._lease.term, self._objects)
        self.folder.write(tail_path(at), pack(self._unsent))
        self._lease.hold()
        self._trials.apply(self._unsent)
        self._pending += self._unsent
        self._unsent = []
        self._told.add(at)
        self._lease.objects = self._objects

    def _covered(self) -> int:
        """Returns the number of objects of this term that the snapshot contains."""
        covered = self._snapshot.covered if self._snapshot else (0, 0)
        return covered[1] if covered[0] == self._lease.term else 0

    def _check_started(self, records: list[Record]) -> None:
        """Raises an error for reports and ends of trials that have no start record."""
        begun = {record["trial"] for record in records if record["kind"] == "trial"}
        names = {record["trial"] for record in records} - begun
        if unknown := sorted(name for name in names if name not in self._trials):
            raise StoreError(
                f"trial {', '.join(unknown)} has not begun; append its 'trial' record first"
            )
