#!/usr/bin/env python
"""Compares raykd's store with one Parquet file for each trial: `best`, locally and over S3.

    python benchmarks/store.py [--trials 10000]

The objective for 10,000 trials is that `best` takes under 0.2 s locally and under 1 s over loopback
S3 (moto), from opening the store to the answer. Copying the alternative to S3 file by file would
take minutes. It is therefore timed on a few files and multiplied; such figures carry a `~`.
"""

import argparse
import os
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import boto3
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as ds
import pyarrow.parquet as pq
from rich.console import Console
from rich.table import Table

from raykd.store import Folder, Store, Writer, open_store

EPOCHS, COHORT, OPEN, SAMPLE = 10, 8, 15, 100
METRICS = ("val_top1", "test_top1", "loss", "seconds")
SPEC: dict[str, Any] = {"metric": ["val_top1"], "mode": ["max"], "identity": {"seed": 0}}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--trials", type=int, default=10_000, help="trials in the study")
    trials: int = parser.parse_args().trials
    rng = np.random.default_rng(0)
    lines: list[tuple[str, str, str]] = []
    with tempfile.TemporaryDirectory() as work, moto() as bucket:
        local, files = Path(work) / "store", Path(work) / "files"
        start = time.perf_counter()
        study_writer = write_study(Store(Folder(local)), trials, rng)
        seconds = time.perf_counter() - start
        alternative = timed(lambda: write_files(files, trials, rng))
        lines.append((f"write {trials} trials, local", f"{seconds:.2f} s", f"{alternative:.2f} s"))

        open_store(local).study("bench").best()  # imports and caches of the file system
        seconds = timed(lambda: open_store(local).study("bench").best(5), repeat=3)
        alternative = timed(lambda: best_of_files(files))
        lines.append(("best of all, local", f"{seconds:.3f} s", f"{alternative:.2f} s"))
        seconds = timed(lambda: open_store(local).study("bench").metrics())
        lines.append(("all metrics, local", f"{seconds:.2f} s", ""))

        copy(Folder(local), Folder(f"{bucket}/store"))
        open_store(f"{bucket}/store")
        seconds = timed(lambda: open_store(f"{bucket}/store").study("bench").best(5), repeat=3)
        sample = copy_some(files, Folder(f"{bucket}/files"))
        each = timed(lambda: read_objects(sample)) / SAMPLE
        lines.append(("best of all, S3 (moto)", f"{seconds:.3f} s", f"~{each * trials:.0f} s"))

        study = open_store(f"{bucket}/store").study("bench")
        study.best()
        lines.append(("best again, S3 (moto)", f"{timed(lambda: study.best(5)):.3f} s", ""))
        writer = Store(Folder(f"{bucket}/more")).writer("bench", SPEC, every=10**9)
        seconds = timed(lambda: append(writer, range(50), rng)) / 50
        lines.append(("append of a cohort, S3 (moto)", f"{seconds * 1000:.0f} ms", ""))
        writer.close()
        study_writer.close()
    table = Table("question", "raykd", "one Parquet a trial", title=f"{trials} trials")
    for line in lines:
        table.add_row(*line)
    Console().print(table)


def timed(call: Callable[[], object], repeat: int = 1) -> float:
    """Returns the time of a call in seconds, the shortest of some repetitions."""
    seconds = []
    for _ in range(repeat):
        start = time.perf_counter()
        call()
        seconds.append(time.perf_counter() - start)
    return min(seconds)


def cohort(number: int, rng: np.random.Generator, *, first: bool) -> list[dict[str, Any]]:
    """Returns the records of a cohort: its beginning, or its reports and ends."""
    names = [(f"{n:05d}", n) for n in range(number * COHORT, (number + 1) * COHORT)]
    if first:
        return [
            {"kind": "trial", "trial": name, "number": n, "cohort": f"{number:04d}", "seed": n}
            | {"role": "search", "method": "itrd", "time": "2026-01-01T00:00:00"}
            | {"config": {"alpha": rng.uniform(1, 2), "beta_corr": rng.uniform(0.1, 10)}}
            for name, n in names
        ]
    reports = [
        {"kind": "report", "trial": name, "epoch": epoch}
        | {"metrics": dict(zip(METRICS, rng.random(4).tolist(), strict=True))}
        for epoch in range(1, EPOCHS + 1)
        for name, _ in names
    ]
    ends = [
        {"kind": "end", "trial": name, "state": "COMPLETE", "params": 83_892}
        | {"cost": {"seconds": 1.0}, "checkpoint": f"bench/checkpoints/{name}"}
        for name, _ in names
    ]
    return [*reports, *ends]


def write_study(store: Store, trials: int, rng: np.random.Generator) -> Writer:
    """Writes a study in its most unfavourable state: 30 objects, just before a compaction."""
    cohorts = range(trials // COHORT)
    with store.writer("bench", SPEC, every=10**9) as writer:
        for start in cohorts[:-OPEN:50]:
            some = cohorts[start : min(start + 50, len(cohorts) - OPEN)]
            writer.append([r for i in some for f in (True, False) for r in cohort(i, rng, first=f)])
    writer = store.writer("bench", SPEC)
    for i in cohorts[-OPEN:]:
        writer.append(cohort(i, rng, first=True))
        writer.append(cohort(i, rng, first=False))
    return writer


def append(writer: Writer, cohorts: range, rng: np.random.Generator) -> None:
    """Appends the beginnings of cohorts, one object for each."""
    for i in cohorts:
        writer.append(cohort(i, rng, first=True))


def write_files(folder: Path, trials: int, rng: np.random.Generator) -> None:
    """Writes the alternative: one Parquet file for each trial."""
    folder.mkdir()
    for n in range(trials):
        row = {"trial": f"{n:05d}", "state": "COMPLETE", "config_alpha": rng.uniform(1, 2)}
        row |= {
            "config_beta_corr": rng.uniform(0.1, 10),
            "val_top1": rng.random(),
            "params": 83_892,
        }
        pq.write_table(pa.Table.from_pylist([row]), folder / f"{n:05d}.parquet")


def best_of_files(folder: Path) -> pa.Table:
    """Answers the same query from the alternative's files."""
    table = ds.dataset(folder).to_table(filter=pc.field("state") == "COMPLETE")
    return table.take(pc.select_k_unstable(table, k=5, sort_keys=[("val_top1", "descending")]))


def copy(source: Folder, target: Folder) -> None:
    """Copies a store."""
    for path in source.list():
        target.write(path, source.read(path))


def copy_some(files: Path, target: Folder) -> Folder:
    """Copies a few of the alternative's files."""
    for path in sorted(files.iterdir())[:SAMPLE]:
        target.write(path.name, path.read_bytes())
    return target


def read_objects(folder: Folder) -> None:
    """Reads the alternative's files over S3, one after the other as `ds.dataset` does."""
    for path in folder.list():
        pq.read_table(pa.BufferReader(folder.read(path)))


@contextmanager
def moto() -> Iterator[str]:
    """Runs an S3 server as a process of its own; yields a bucket's URI."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    os.environ |= {"AWS_ENDPOINT_URL": f"http://127.0.0.1:{port}", "AWS_REGION": "us-east-1"}
    os.environ |= {"AWS_ACCESS_KEY_ID": "bench", "AWS_SECRET_ACCESS_KEY": "bench"}
    command = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)]
    server = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        while True:
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", port)) == 0:
                    break
            time.sleep(0.1)
        boto3.client("s3").create_bucket(Bucket="bench")
        yield "s3://bench"
    finally:
        server.terminate()
        server.wait()


if __name__ == "__main__":
    main()
