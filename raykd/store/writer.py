"""The one writer of a study."""

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
    """Appends records to a study; a context manager.

    Each `append` is one small immutable object. Every so many of them, and at the end, the writer
    compacts them into a snapshot; it may be killed at any point, and nothing that `append`
    returned from is lost or doubled.

    There is one writer at a time. A second one is refused while the first lives; a dead one on the
    same machine is taken over at once, one on another machine after it was silent for `stale`
    seconds, and should it wake up, its next `append` raises. This is exact on a local folder and on
    S3 servers with conditional PUT (AWS, MinIO, moto). Servers that ignore the condition (rclone)
    may let two writers through that start within the same moment; the later check, every
    `stale / 6` seconds, then stops one of them.

    Args:
        folder: The study's.
        spec: The content of `study.json`, written once. `metric` and `mode` are lists; what is
            under `identity` must be the same whenever the study is continued.
        stale: Seconds after which a silent writer counts as dead.
        every: Objects in the tail before it is compacted.
        wait: Seconds that opening waits for a storage that fails or shows less than it must hold.
        say: Is told why it waits, and when that is over.

    Raises:
        StoreError: Another writer is at work, the stored study has another identity, or its
            snapshots are damaged beyond what the tail can mend.
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
            self._unsent: list[
                Record
            ] = []  # of the last object, if nobody knows whether it is there
            self._told: set[Position] = {*log.tail}
            self._trials = Trials(log.base, metric, mode)
            self._trials.apply(self._pending)
            if self._lease.term > 1:  # closes the terms before: what comes late to them is void
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
        """Stores records; when it returns they are safe.

        Appending a record again changes nothing, so after an error the same records may be
        appended once more.

        Raises:
            WriterReplacedError: Another writer has taken over; stop.
            UnavailableError: The storage failed; try again later.
            StoreError: A record is not as it should be.
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
        """Returns the study as this writer knows it, without listing what is stored."""
        at = (self._lease.term, self._objects)
        log = Log(self._snapshot, self._trials.base, {at: self._pending})
        return Study(self.folder, str(self.spec.get("name", "")), log)

    def tell(self, say: Callable[[str], None]) -> None:
        """Has `say` told when the storage fails and when it is back, also while nothing is new."""
        self._lease.say = say

    def configs(self) -> dict[str, dict[str, Any]]:
        """Returns the hyperparameters of each trial as they were appended, types and all."""
        table = self._trials.table()
        trials, texts = table["trial"].to_pylist(), table["config"].to_pylist()
        return {trial: stored_config(text) for trial, text in zip(trials, texts, strict=True)}

    def compact(self) -> None:
        """Writes a snapshot of everything so far and deletes what it makes superfluous.

        Raises:
            WriterReplacedError: Another writer has taken over; stop.
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
        self._lease.note()  # before anything goes, so that the next writer looks for the snapshot
        collect(self.folder, self._snapshot, before, self._told, self._trials)

    def close(self) -> None:
        """Compacts and lets the next writer in; may be called twice."""
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
        """Reads the log; it must not lack anything, unless damage explains that."""
        log = read_log(self.folder, lease=self._lease)
        if log.whole and log.lacking:
            raise UnavailableError(log.lacking)
        return log

    def _send(self) -> None:
        """Stores the last object, again if that failed: numbers without gaps show what is lost."""
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
        """Returns how many objects of this term are in the snapshot."""
        covered = self._snapshot.covered if self._snapshot else (0, 0)
        return covered[1] if covered[0] == self._lease.term else 0

    def _check_started(self, records: list[Record]) -> None:
        """Refuses reports and ends of trials that never began."""
        begun = {record["trial"] for record in records if record["kind"] == "trial"}
        names = {record["trial"] for record in records} - begun
        if unknown := sorted(name for name in names if name not in self._trials):
            raise StoreError(
                f"trial {', '.join(unknown)} has not begun; append its 'trial' record first"
            )
