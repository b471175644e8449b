"""Reads the log of a study: its newest snapshot, and the tail of records after it."""

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

_FILLED = 1000  # maximum number of unlisted objects requested between two listed ones
_ATTEMPTS = 4  # number of readings; a writer may compact meanwhile and delete listed objects


@dataclass
class Log:
    """The log of a study as it was read once.

    Stored objects are immutable, so a later reading reuses the objects that an earlier one has.

    Attributes:
        snapshot: Newest valid snapshot; None if there is none.
        base: Table of the trials in that snapshot.
        tail: Records of each object after that snapshot, by position.
        newest: Position of the newest snapshot, valid or not.
        whole: False if no snapshot is valid and the tail does not reach back to the beginning.
        warnings: One sentence for each skipped object, with the reason.
        lacking: One sentence that names an object that must exist but was not found, because a
            listing was incomplete or the object was deleted; "" if nothing is missing.
    """

    snapshot: Snapshot | None = None
    base: pa.Table | None = None
    tail: dict[Position, list[Record]] = field(default_factory=dict)
    newest: Position = (0, 0)
    whole: bool = True
    warnings: list[str] = field(default_factory=list)
    lacking: str = ""

    def records(self) -> Iterable[Record]:
        """Returns the records of the tail in the order in which they were written."""
        return (record for position in sorted(self.tail) for record in self.tail[position])


def read_log(folder: Folder, known: Log | None = None, lease: Lease | None = None) -> Log:
    """Reads a study's log; damaged and foreign objects are skipped and named in its warnings.

    Args:
        folder: Folder of the study.
        known: Earlier reading of the same study, whose objects are reused.
        lease: Lease of the writer, if a writer reads. It also requests the objects that follow
            the last listed one, in case the listing was incomplete.
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
    held = {newest: noted(folder, newest)}  # read before the listings, which then show no fewer
    # list the tail before the snapshots: what a compaction deletes in between is in a snapshot
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
    """Returns the positions of objects that the listing omits although they must or may exist.

    A writer numbers its objects without gaps, so an object must exist below each listed one. If a
    writer reads, further objects after the last listed one are looked for as well.

    Args:
        folder: Folder of the study.
        listed: Positions that the listing shows.
        covered: Position of the last object in the snapshot.
        lease: Lease of the writer, if a writer reads.
        written: Terms since `covered`.
    """
    told = {term for term, _ in listed} | {*(written if lease else ())}
    asked = []
    for term in sorted(told):
        last = covered[1] if term == covered[0] else 0
        for number in sorted(number for its_term, number in listed if its_term == term):
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
    """Returns a sentence that names the first missing object of the tail; "" if none is missing.

    Args:
        folder: Folder of the study.
        log: Log as far as it could be read.
        found: Positions of the objects that exist in the tail, damaged or not.
        covered: Position of the last object in the snapshot.
        held: Number of objects that each writer noted, by term, from the term of `covered` on;
            None for a writer of an earlier version, which might leave out a number.
    """
    for term, noted_last in held.items():
        if noted_last is None:
            continue
        first = covered[1] + 1 if term == covered[0] else 1
        seen = [number for its_term, number in log.tail if its_term == term]
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
    """Reads objects of the tail; returns the positions of those that exist, damaged or not.

    Args:
        folder: Folder of the study.
        log: Log to which the records and warnings are added.
        wanted: Positions of the objects.
        patient: True if a missing object ends the reading with an error, False if it causes a
            warning, None if each object may be missing.
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
