"""The Ray cluster that a study runs on: one that is there, or one of its own."""

import logging
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager

import ray
from ray._private import services

ADDRESS = "RAY_ADDRESS"
QUIET = {
    "RAY_AIR_NEW_OUTPUT": "0",
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",
    "TUNE_WARN_EXCESSIVE_EXPERIMENT_CHECKPOINT_SYNC_THRESHOLD_S": "0",
    "RAY_TRAIN_ENABLE_PRINT_PATCH": "0",
}


def named(given: str | None = None) -> str | None:
    """The address of the cluster that Ray would join, or None where it would start one here.

    It is what is given, otherwise `RAY_ADDRESS`, otherwise of the last `ray start` on this machine.

    Raises:
        ConnectionError: Nobody listens there; Ray itself would try for minutes.
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


@contextmanager
def cluster(*, dashboard: bool) -> Iterator[bool]:
    """The named cluster, or a local one for as long as the study runs.

    Args:
        dashboard: Whether a local one has a dashboard.

    Yields:
        Whether it is a local one.

    Raises:
        ValueError: The named one does not answer.
    """
    os.environ.update({name: os.environ.get(name, value) for name, value in QUIET.items()})
    logging.getLogger("ray").setLevel(logging.ERROR)
    logging.getLogger("ray.tune").setLevel(logging.ERROR)
    if ray.is_initialized():
        yield False
        return
    try:
        address = named()
    except ConnectionError as error:
        alone = f"start it, or set {ADDRESS}=local to run the study on this machine alone"
        raise ValueError(f"{error}; {alone}") from error
    ray.init(
        log_to_driver=False,
        logging_level=logging.ERROR,
        configure_logging=True,
        include_dashboard=dashboard,
    )
    try:
        yield address is None
    finally:
        ray.shutdown()
