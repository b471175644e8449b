"""A study's log: the newest snapshot and the tail after it."""

from collections.abc import Iterable
from dataclasses import dataclass, field

import pyarrow as pa

from raykd.store.errors import DamagedObjectError, MissingObjectError
from raykd.store.folder import Folder
from raykd.store.lease import Lease, newest_term, noted, terms
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

_FILLED = 1000  # objects between two others that are asked for although no listing showed them
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
        lacking: What must be there and was not found; "" if nothing is. Then a listing was not
            whole, or objects were deleted.
    """

    snapshot: Snapshot | None = None
    base: pa.Table | None = None
    tail: dict[Position, list[Record]] = field(default_factory=dict)
    newest: Position = (0, 0)
    whole: bool = True
    warnings: list[str] = field(default_factory=list)
    lacking: str = ""

    def records(self) -> Iterable[Record]:
        """Returns the tail's records in the order of their writing."""
        return (record for position in sorted(self.tail) for record in self.tail[position])


def read_log(folder: Folder, known: Log | None = None, lease: Lease | None = None) -> Log:
    """Reads a study's log; damaged and foreign objects are skipped and named in its warnings.

    Args:
        folder: The study's.
        known: An earlier reading of the same study.
        lease: The writer's, if it is a writer that reads: it asks for the objects after the last
            one that it knows of, too.
    """
    for attempt in range(1, _ATTEMPTS + 1):
        try:
            log = _read(folder, known or Log(), lease, patient=attempt < _ATTEMPTS)
        except MissingObjectError:
            continue
        if not log.lacking:
            break
    return log


def _read(folder: Folder, known: Log, lease: Lease | None, *, patient: bool) -> Log:
    log = Log()
    newest = lease.term - 1 if lease else newest_term(folder)
    held = {newest: noted(folder, newest)}  # before the listings, which then show that many or more
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
    written = terms(max(1, covered[0]), newest)
    wanted = []
    for path in listed:
        at = tail_position(path)
        if at is None:
            log.warnings.append(f"{folder.uri}/{path} is no object of raykd; skipped")
        elif at > covered:
            wanted.append(at)
    log.whole = log.snapshot is not None or not seen or (1, 1) in wanted
    found = {at for at in wanted if at in known.tail}
    log.tail = {at: known.tail[at] for at in found}
    found |= _load_tail(folder, log, [at for at in wanted if at not in found], patient=patient)
    found |= _load_tail(folder, log, _unlisted(folder, wanted, covered, lease, written))
    held |= {term: noted(folder, term) for term in written if term < newest}
    log.lacking = _lacking(folder, log, found, covered, held)
    return log


def _unlisted(
    folder: Folder,
    listed: list[Position],
    covered: Position,
    lease: Lease | None,
    written: list[int],
) -> list[Position]:
    """Returns the positions that no listing showed and where there must, or may, be an object.

    A writer counts its objects without leaving a number out.
    """
    told = {term for term, _ in listed} | {*(written if lease else ())}
    asked = []
    for term in sorted(told):
        last = covered[1] if term == covered[0] else 0
        for number in sorted(number for of, number in listed if of == term):
            asked += [(term, i) for i in range(last + 1, min(number, last + 1 + _FILLED))]
            last = number
        while lease and folder.exists(tail_path((term, last + 1))):
            last += 1
            asked.append((term, last))
    return asked


def _lacking(
    folder: Folder,
    log: Log,
    found: set[Position],
    covered: Position,
    held: dict[int, int | None],
) -> str:
    """Says what must be there and is not.

    Args:
        folder: The study's.
        log: What could be read.
        found: Where there is an object in the tail, damaged or not.
        covered: The last object that is in the snapshot.
        held: How many objects each writer has noted, from the one of `covered` on; None for one
            of an earlier version, which might leave a number out.
    """
    for term, noted_last in held.items():
        if noted_last is None:
            continue
        first = covered[1] + 1 if term == covered[0] else 1
        seen = [number for of, number in log.tail if of == term]
        for number in range(first, max([noted_last, *seen]) + 1):
            if (term, number) not in found:
                return (
                    f"{folder.uri} lacks {tail_path((term, number))}: either a listing was not"
                    " whole, then try again, or it was deleted, then restore it from a backup or"
                    " choose another name for the study"
                )
    return ""


def _load_tail(
    folder: Folder, log: Log, wanted: list[Position], *, patient: bool | None = None
) -> set[Position]:
    """Reads objects of the tail; returns the positions of those that are there, damaged or not.

    Args:
        folder: The study's.
        log: Gets the records and the warnings.
        wanted: Where they are.
        patient: Whether one that is missing ends the reading; None if each of them may be missing.
    """
    paths = {at: tail_path(at) for at in wanted}
    found = folder.read_all(list(paths.values()))
    for at, path in paths.items():
        try:
            if path in found:
                log.tail[at] = unpack(found[path])
            elif patient:
                raise MissingObjectError("it was deleted meanwhile")
            elif patient is not None:
                log.warnings.append(f"{folder.uri}/{path} is damaged (it is gone); skipped")
        except DamagedObjectError as error:
            log.warnings.append(f"{folder.uri}/{path} is damaged ({error}); skipped")
    return {at for at, path in paths.items() if path in found}
