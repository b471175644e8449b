"""Snapshots: the records of a study up to a position in its tail, compacted to plain Parquet.

    snapshot/<term>-<n>/trials.parquet    one row per trial
    snapshot/<term>-<n>/metrics.parquet   long form; an immutable part, shared by later snapshots
    snapshot/<term>-<n>/manifest.json     written last; it makes the snapshot valid

A new part of the metrics is merged with the preceding parts that are no larger, so there are about
log2(rows) parts and each row is rewritten about log2(rows) times, however long the study is.
"""

import hashlib
import re
from collections.abc import Callable, Container
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from raykd.store.check_table import check_table
from raykd.store.errors import DamagedObjectError, MissingObjectError, StoreError
from raykd.store.folder import Folder
from raykd.store.metrics import check_long, latest
from raykd.store.names import is_sha256
from raykd.store.records import LAYOUT, from_json, to_json, unpack

Warn = Callable[[str], None]
Position = tuple[int, int]  # (term, number), by which snapshots and objects of the tail are sorted

MOST_SNAPSHOTS = 90_000_000  # maximum for a study: names have eight digits, with some in reserve
NAME = re.compile(r"([0-9]{6})-([0-9]{8})")
_OBJECT = re.compile(r"([0-9]{6}-[0-9]{8})/(manifest\.json|trials\.parquet|metrics\.parquet)")


@dataclass(frozen=True)
class Part:
    """A Parquet file as a manifest describes it.

    Attributes:
        path: Path below the folder of the study.
        rows: Number of rows.
        sha256: SHA-256 digest of the file in hexadecimal.
        first: First name of a trial in the file, in alphabetical order.
        last: Last name of a trial in the file, in alphabetical order.
    """

    path: str
    rows: int
    sha256: str
    first: str
    last: str


@dataclass(frozen=True)
class Snapshot:
    """A snapshot as its manifest describes it.

    Attributes:
        position: Position of the snapshot among the snapshots.
        covered: Position of the last object of the tail that the snapshot contains.
        trials: File with the table of trials.
        metrics: Files with the metrics in long form, in the order of their writing.
    """

    position: Position
    covered: Position
    trials: Part
    metrics: tuple[Part, ...]

    def files(self) -> set[str]:
        """Returns the paths of all files of the snapshot, including its manifest."""
        parts = {part.path for part in (self.trials, *self.metrics)}
        return parts | {f"{_home(self.position)}/manifest.json"}


def name_of(position: Position) -> str:
    """Returns `<term>-<n>` with leading zeros, so that names sort like positions."""
    return f"{position[0]:06d}-{position[1]:08d}"


def position_of(name: str) -> Position | None:
    """Parses `<term>-<n>`; returns None for any other text."""
    match = NAME.fullmatch(name)
    return (int(match[1]), int(match[2])) if match else None


def positions(folder: Folder, warn: Warn) -> list[Position]:
    """Returns the sorted positions of all snapshots with a manifest; warns of foreign objects."""
    found = []
    for path in folder.list("snapshot"):
        match = _OBJECT.fullmatch(path.removeprefix("snapshot/"))
        if match is None:
            warn(f"{folder.uri}/{path} is no object of raykd; skipped")
        elif match[2] == "manifest.json":
            term, number = match[1].split("-")
            found.append((int(term), int(number)))
    return sorted(found)


def load_manifest(folder: Folder, position: Position) -> Snapshot:
    """Reads the manifest of the snapshot at a position.

    Raises:
        MissingObjectError: There is no manifest.
        DamagedObjectError: The manifest is not one that raykd wrote.
        StoreError: A later version of raykd wrote the manifest.
    """
    item = from_json(folder.read(f"{_home(position)}/manifest.json"))
    try:
        if item["layout"] > LAYOUT:
            raise StoreError(f"{folder.uri} was written by a later raykd; update this one")
        term, number = item["covered"]
        return Snapshot(
            position,
            (int(term), int(number)),
            _part(item["trials"], "trials.parquet"),
            tuple(_part(part, "metrics.parquet") for part in item["metrics"]),
        )
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        if type(error) is StoreError:
            raise
        raise DamagedObjectError("no manifest of raykd") from error


def _part(item: dict[str, Any], file: str) -> Part:
    """Reads a manifest's description of a file, which must lie in a folder of a snapshot."""
    part = Part(**item)
    match = _OBJECT.fullmatch(str(part.path).removeprefix("snapshot/"))
    own = match is not None and match[2] == file and part.path == f"snapshot/{match[0]}"
    typed = type(part.rows) is int and isinstance(part.first, str) and isinstance(part.last, str)
    if not own or not typed or not is_sha256(part.sha256):
        raise DamagedObjectError(f"no manifest of raykd: it names {part.path!r}")
    return part


def load_part(folder: Folder, part: Part) -> pa.Table:
    """Reads and validates a Parquet file.

    Raises:
        MissingObjectError: The file does not exist.
        DamagedObjectError: The file differs from its description, or is not one that raykd wrote.
    """
    data = folder.read(part.path)
    if hashlib.sha256(data).hexdigest() != part.sha256:
        raise DamagedObjectError("cut short or altered, its SHA-256 differs")
    try:
        file = pq.ParquetFile(pa.BufferReader(data))
        if file.metadata.num_rows != part.rows:  # a small file may claim any number of rows
            raise DamagedObjectError(f"{file.metadata.num_rows} rows and not {part.rows}")
        table = file.read()
        table.validate(full=True)  # finds invalid UTF-8, among others
    except (pa.ArrowException, OSError) as error:
        raise DamagedObjectError(f"no Parquet ({error})") from error
    check = check_table if part.path.endswith("trials.parquet") else check_long
    check(table)
    return table


def publish(
    folder: Folder,
    position: Position,
    covered: Position,
    trials: pa.Table,
    metrics: pa.Table,
    before: Snapshot | None,
) -> Snapshot:
    """Writes a snapshot; it becomes valid with the last request, which writes its manifest.

    Args:
        folder: Folder of the study.
        position: Position of the snapshot, after all existing ones.
        covered: Position of the last object of the tail that the snapshot contains.
        trials: Table of all trials.
        metrics: Metrics since the previous snapshot, in long form.
        before: Previous snapshot, which this one continues.
    """
    parts = list(before.metrics) if before else []
    merged = [metrics]
    while metrics.num_rows and parts and parts[-1].rows <= sum(table.num_rows for table in merged):
        try:
            merged.insert(0, load_part(folder, parts[-1]))
        except DamagedObjectError:
            break  # the damaged part stays as it is; readers warn of it
        parts.pop()
    home = _home(position)
    if metrics.num_rows:
        parts.append(_write(folder, f"{home}/metrics.parquet", latest(merged)))
    snapshot = Snapshot(
        position, covered, _write(folder, f"{home}/trials.parquet", trials), tuple(parts)
    )
    manifest = {
        "layout": LAYOUT,
        "covered": list(covered),
        "trials": vars(snapshot.trials),
        "metrics": [vars(part) for part in parts],
    }
    folder.write(f"{home}/manifest.json", to_json(manifest, indent=1).encode())
    return snapshot


def collect(
    folder: Folder,
    now: Snapshot,
    before: Snapshot | None,
    told: Container[Position],
    trials: Container[str],
) -> None:
    """Deletes snapshots and objects of the tail that the two newest snapshots make superfluous.

    The previous snapshot stays complete, so that a reader that has begun with it can finish, and so
    that nothing is lost if the newest is damaged. Manifests are deleted first, since a snapshot
    without one is invalid. A listing alone is no reason to delete: an object of the tail goes only
    if this writer has read or written it, or if reading it shows only records of known trials.

    Args:
        folder: Folder of the study.
        now: Snapshot that was just written.
        before: Previous snapshot, which `now` continues.
        told: Positions of the objects of the tail that this writer has read or written.
        trials: Names of all trials.
    """
    keep = now.files() | (before.files() if before else set())
    old: dict[Position, list[str]] = {}
    for path in folder.list("snapshot"):
        match = _OBJECT.fullmatch(path.removeprefix("snapshot/"))
        position = position_of(match[1]) if match else None
        if position and position < now.position and path not in keep:
            old.setdefault(position, []).append(path)
    free = [
        path
        for position, paths in old.items()
        if _superseded(folder, position, before)
        for path in paths
    ]
    folder.delete(*(path for path in free if path.endswith("manifest.json")))
    covered = before.covered if before else (0, 0)
    tail = [path for path in folder.list("tail") if (tail_position(path) or now.covered) <= covered]
    strange = [path for path in tail if tail_position(path) not in told]
    kept = {*strange} - {
        path for path, data in folder.read_all(strange).items() if _known(data, trials)
    }
    folder.delete(
        *(path for path in free if not path.endswith("manifest.json")),
        *(path for path in tail if path not in kept),
    )


def _superseded(folder: Folder, position: Position, before: Snapshot | None) -> bool:
    """Returns True if the snapshot at `position` holds nothing that `before` does not hold."""
    try:
        found = load_manifest(folder, position)
    except MissingObjectError:  # the writer was killed while it wrote or deleted the snapshot
        return True
    except DamagedObjectError:
        return False
    return (
        before is not None
        and found.covered <= before.covered
        and found.trials.rows <= before.trials.rows
    )


def _known(data: bytes, trials: Container[str]) -> bool:
    """Returns True if an object of the tail is undamaged and has records of known trials only."""
    try:
        return all(record["trial"] in trials for record in unpack(data))
    except DamagedObjectError:
        return False


def tail_path(position: Position) -> str:
    """Returns the path of an object of the tail, relative to the folder of the study."""
    return f"tail/{name_of(position)}.jsonl"


def tail_position(path: str) -> Position | None:
    """Parses a path that `tail_path` returned; returns None for any other path."""
    name, dot, suffix = path.removeprefix("tail/").partition(".")
    return position_of(name) if suffix == "jsonl" and dot else None


def _home(position: Position) -> str:
    return f"snapshot/{name_of(position)}"


def _write(folder: Folder, path: str, table: pa.Table) -> Part:
    sink = pa.BufferOutputStream()
    pq.write_table(table, sink, compression="zstd")
    data = sink.getvalue().to_pybytes()
    folder.write(path, data)
    names: list[Any] = sorted(set(table["trial"].to_pylist())) or [""]
    return Part(path, table.num_rows, hashlib.sha256(data).hexdigest(), names[0], names[-1])
