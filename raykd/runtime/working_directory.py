"""The working directory of a study: what relative paths mean in all of its processes."""

import os
import shlex
import sys
from contextlib import suppress
from pathlib import Path

PACKAGES = ("runtime_resources", "working_dir_files")
"""Below these folders of its session Ray unpacks the working directory of a job on each node."""


def package_of(path: str | os.PathLike[str]) -> Path | None:
    """Returns the copy of a job's working directory that a path lies in, or None.

    Ray makes one such copy on each node, names it by its contents, and deletes it after the job.
    """
    path = Path(path)
    for folder in (path, *path.parents):
        if folder.parts[-3:-1] == PACKAGES:
            return folder
    return None


def enter(folder: str | os.PathLike[str]) -> None:
    """Makes a relative path mean in this process what it means to the driver.

    Ray Tune and Ray Train start their processes in a folder of the trial. A driver that runs as
    a job stands in its node's copy of the job's working directory; this process goes to its own
    node's copy. Where the folder is not there, as on a node without a shared file system, this
    process goes to the copy of the job's working directory if there is one, and else stays.

    Args:
        folder: Where the driver was when the study was started.
    """
    folder = Path(folder)
    package = package_of(folder)
    copies = [Path(entry) for entry in sys.path if package_of(entry) == Path(entry)]
    places = [folder, *copies]
    if package:
        below = folder.relative_to(package)
        places = [copy / below for copy in copies if copy.name == package.name] + places
    for place in places:
        with suppress(OSError):  # it is not there, or may not be entered
            os.chdir(place)
            return


def deleted_with_job(storage: str) -> bool:
    """Says whether results would lie in a job's copy of its working directory."""
    return "://" not in storage and package_of(Path(storage).expanduser().resolve()) is not None


def refuse_what_is_deleted(storage: str) -> None:
    """Checks that results outlive the job that makes them.

    Raises:
        ValueError: They would not; says with which command they do.
    """
    if not deleted_with_job(storage):
        return
    options = iter(sys.argv[1:])
    kept = []
    for option in options:
        if option == "--storage":
            next(options, None)
        elif not option.startswith("--storage="):
            kept.append(option)
    command = shlex.join(["python", sys.argv[0], *kept, "--storage", "s3://BUCKET/raykd"])
    raise ValueError(
        f"results in {storage} would be lost: it lies in this job's own copy of the working"
        " directory, which Ray deletes. Name a bucket, or a folder that all nodes share:"
        f" `ray job submit --working-dir . -- {command}`, or start the cluster's head with"
        " RAYKD_STORAGE in its environment"
    )
