"""The working directory of a study, which relative paths start from in all of its processes."""

import os
import shlex
import sys
from contextlib import suppress
from pathlib import Path

PACKAGES = ("runtime_resources", "working_dir_files")
"""Folders in Ray's session folder below which Ray unpacks a job's working directory on a node."""


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
    """Changes to the driver's working directory, so that relative paths mean the same here.

    Ray Tune and Ray Train start their processes in a folder of the trial. If the driver runs as a
    job, it is in its node's copy of the job's working directory, and this process changes to the
    copy on its own node. If the folder does not exist, as on a node without a shared file system,
    this process changes to the copy of the job's working directory if there is one. Otherwise it
    stays where it is.

    Args:
        folder: Working directory of the driver when the study was started.
    """
    folder = Path(folder)
    package = package_of(folder)
    copies = [Path(entry) for entry in sys.path if package_of(entry) == Path(entry)]
    places = [folder, *copies]
    if package:
        below = folder.relative_to(package)
        places = [copy / below for copy in copies if copy.name == package.name] + places
    for place in places:
        with suppress(OSError):  # the folder does not exist, or may not be entered
            os.chdir(place)
            return


def deleted_with_job(storage: str) -> bool:
    """Returns True if the results would lie in a job's copy of its working directory."""
    return "://" not in storage and package_of(Path(storage).expanduser().resolve()) is not None


def refuse_what_is_deleted(storage: str) -> None:
    """Refuses a storage that Ray deletes together with the job.

    Raises:
        ValueError: The storage lies in the job's copy of its working directory; the message has a
            command that stores the results elsewhere.
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
