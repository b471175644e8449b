"""The Ray cluster that a study runs on: an existing one, or a local one of its own."""

import logging
import os
import socket
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import ray
from ray._private import services
from ray.exceptions import AuthenticationError

from raykd.runtime.authentication import check_token
from raykd.runtime.signals import own_process_groups

ADDRESS = "RAY_ADDRESS"
QUIET = {
    "RAY_AIR_NEW_OUTPUT": "0",
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",
    "TUNE_WARN_EXCESSIVE_EXPERIMENT_CHECKPOINT_SYNC_THRESHOLD_S": "0",
    "RAY_TRAIN_ENABLE_PRINT_PATCH": "0",
}
"""Environment variables that silence Ray's own output; values that are already set stay."""
RAY_FOLDER_BYTES = 39
"""Largest length of the path of Ray's temporary folder, in bytes.

Ray's sockets lie in this folder and add up to 64 bytes; a socket's path has at most 107 bytes, or
103 on macOS.
"""


def named(given: str | None = None) -> str | None:
    """Returns the address of the cluster that Ray would join, or None if it would start one here.

    It is the given address, or else `RAY_ADDRESS`, or else the cluster of the last `ray start` on
    this machine.

    Raises:
        ConnectionError: Nothing listens at the address; Ray itself would try for minutes.
    """
    wanted = given or os.environ.get(ADDRESS) or None
    by = "" if given else f", which {ADDRESS} names" if wanted else ", the last `ray start` here"
    address = wanted
    try:
        if "://" not in (wanted or ""):
            address = services.canonicalize_bootstrap_address(wanted)  # type: ignore[arg-type]
        host, _, port = (address or "").rpartition("://")[2].rpartition(":")
        if port.isdecimal():
            socket.create_connection((host.strip("[]"), int(port)), timeout=5).close()
    except OSError as error:
        raise ConnectionError(
            f"no Ray cluster answers at {wanted or address}{by} ({error})"
        ) from error
    return address


def own_folders() -> dict[str, Any]:
    """Returns options of `ray.init` that put a local cluster's files into private folders.

    Ray makes its temporary folder, with all logs, readable and writable for everyone. The options
    therefore place it in a folder that only this user can enter. That folder lies in RAY_TMPDIR or
    TMPDIR or, if their paths are too long for sockets (as in jobs of many batch systems), in `/tmp`
    or `/var/tmp`. Spilled objects go to RAY_TMPDIR or TMPDIR even then.

    Raises:
        ValueError: No such folder can be written to.
    """
    wanted = os.environ.get("RAY_TMPDIR") or os.environ.get("TMPDIR") or "/tmp"
    for parent in dict.fromkeys([wanted, "/tmp", "/var/tmp"]):
        folder = Path(parent).absolute() / f"raykd-{os.getuid()}"
        if len(os.fsencode(folder / "ray")) <= RAY_FOLDER_BYTES and _is_own(folder):
            spilled = Path(wanted).absolute() / folder.name
            elsewhere = spilled != folder and _is_own(spilled)
            return {
                "_temp_dir": str(folder / "ray"),
                **({"object_spilling_directory": str(spilled)} if elsewhere else {}),
            }
    raise ValueError(
        f"Ray has no place for its sockets: neither {wanted} nor /tmp or /var/tmp can hold a"
        f" folder of this user whose path has at most {RAY_FOLDER_BYTES} bytes; set TMPDIR to a"
        " short path of a folder that can be written to"
    )


def _is_own(folder: Path) -> bool:
    """Makes a folder that no other user can enter; returns False if that is not possible."""
    try:
        folder.mkdir(0o700, exist_ok=True)
        found = folder.lstat()  # another user may have put something in its place
        if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid():
            return False
        folder.chmod(0o700)
    except OSError:
        return False
    return os.access(folder, os.W_OK | os.X_OK)


def _leave_keys_out() -> None:
    """Keeps Tune from copying AWS keys into the runtime environments of its actors.

    Ray writes runtime environments to logs that everyone can read. Processes on this machine
    inherit the keys anyway; nodes of a cluster have a role, a profile or an environment of their
    own.
    """
    from ray.tune.execution import class_cache  # takes seconds, and `named` does not need it

    keys = {name for name in class_cache.ENV_VARS_TO_PROPAGATE if name.startswith("AWS_")}
    class_cache.ENV_VARS_TO_PROPAGATE.difference_update(keys)


@contextmanager
def cluster(*, dashboard: bool) -> Iterator[bool]:
    """Connects to the named cluster, or starts a local one, while the `with` block runs.

    Args:
        dashboard: True to start a local cluster with a dashboard.

    Yields:
        True if the cluster is a local one that was started here.

    Raises:
        ValueError: The named cluster does not answer or refuses this machine, or there is no folder
            for a local one.
    """
    os.environ.update({name: os.environ.get(name, value) for name, value in QUIET.items()})
    _leave_keys_out()
    logging.getLogger("ray").setLevel(logging.ERROR)
    logging.getLogger("ray.tune").setLevel(logging.ERROR)
    if ray.is_initialized():
        yield False
        return
    alone = f"or set {ADDRESS}=local to run the study on this machine alone"
    try:
        address = named()
        check_token(address, named=os.environ.get(ADDRESS, "auto") not in ("", "auto"))
    except ConnectionError as error:
        raise ValueError(f"{error}; start it, {alone}") from error
    except PermissionError as error:
        raise ValueError(f"{error}, {alone}") from error
    try:
        with own_process_groups():
            ray.init(
                log_to_driver=False,
                logging_level=logging.ERROR,
                configure_logging=True,
                include_dashboard=dashboard,
                **({} if address else own_folders()),
            )
    except (AuthenticationError, ConnectionError) as error:
        said = str(error).splitlines()[0]
        raise ValueError(f"can't join the cluster at {address} ({said}); {alone[3:]}") from error
    try:
        yield address is None
    finally:
        ray.shutdown()
