"""A study's log: the newest snapshot and the tail after it."""

from collections.abc import Iterable
from dataclasses import dataclass, field

import pyarrow as pa

from raykd.store.errors import DamagedObjectError, MissingObjectError
from raykd.store.folder import Folder
from raykd.store.records import Record, unpack
from raykd.store.snapshot import (
    Position,
    Snapshot,
    load_manifest,
    load_part,
    name_of,
    positions,
    tail_path,
    tail_position,
)

_ATTEMPTS = 4  # a writer may compact while one reads, and delete what was just listed


@dataclass
class Log:
    """What was read; the objects are immutable, so a later reading takes over what it can.

    Attributes:
        snapshot: The newest valid one.
        base: Its trials.
        tail: The records of each object after it, by position.
        newest: Position of the newest snapshot, valid or not.
        whole: False if no snapshot is valid and the tail does not reach back to the beginning.
        warnings: Each object that was skipped, and why.
    """

    snapshot: Snapshot | None = None
    base: pa.Table | None = None
    tail: dict[Position, list[Record]] = field(default_factory=dict)
    newest: Position = (0, 0)
    whole: bool = True
    warnings: list[str] = field(default_factory=list)

    def records(self) -> Iterable[Record]:
        """Returns the tail's records in the order of their writing."""
        return (record for position in sorted(self.tail) for record in self.tail[position])


def read_log(folder: Folder, known: Log | None = None) -> Log:
    """Reads a study's log; damaged and foreign objects are skipped and named in its warnings.

    Args:
        folder: The study's.
        known: An earlier reading of the same study.
    """
    for attempt in range(1, _ATTEMPTS + 1):
        try:
            return _read(folder, known or Log(), patient=attempt < _ATTEMPTS)
        except MissingObjectError:
            continue
    raise AssertionError("the last attempt skips what is missing")


def _read(folder: Folder, known: Log, *, patient: bool) -> Log:
    log = Log()
    # the tail first: what a compaction deletes from it later is in the snapshots listed after
    listed = folder.list("tail")
    seen = positions(folder, log.warnings.append)
    log.newest = seen[-1] if seen else (0, 0)
    for position in reversed(seen):
        try:
            snapshot = load_manifest(folder, position)
            same = known.snapshot == snapshot
            log.base = known.base if same else load_part(folder, snapshot.trials)
        except (DamagedObjectError, MissingObjectError) as error:
            if patient and isinstance(error, MissingObjectError):
                raise
            home = f"{folder.uri}/snapshot/{name_of(position)}"
            log.warnings.append(f"{home} is damaged ({error}); skipped")
        else:
            log.snapshot = snapshot
            break
    covered = log.snapshot.covered if log.snapshot else (0, 0)
    wanted = []
    for path in listed:
        at = tail_position(path)
        if at is None:
            log.warnings.append(f"{folder.uri}/{path} is no object of raykd; skipped")
        elif at > covered:
            wanted.append(at)
    log.whole = log.snapshot is not None or not seen or (1, 1) in wanted
    log.tail = {at: known.tail[at] for at in wanted if at in known.tail}
    _load_tail(folder, log, [at for at in wanted if at not in log.tail], patient=patient)
    return log


def _load_tail(folder: Folder, log: Log, wanted: list[Position], *, patient: bool) -> None:
    """Reads objects of the tail."""
    paths = {at: tail_path(at) for at in wanted}
    found = folder.read_all(list(paths.values()))
    for at, path in paths.items():
        try:
            if path not in found:
                raise MissingObjectError("it was deleted meanwhile")
            log.tail[at] = unpack(found[path])
        except (DamagedObjectError, MissingObjectError) as error:
            if patient and isinstance(error, MissingObjectError):
                raise
            log.warnings.append(f"{folder.uri}/{path} is damaged ({error}); skipped")
