"""Failures: classifies exceptions, puts them in one line, and fails the trial that caused one."""

import json
import re
import sysconfig
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
from torch.distributed import DistError

from raykd.store import Folder
from raykd.store.errors import UnavailableError
from raykd.train import workers
from raykd.train.student import Student

_RAYKD = str(Path(__file__).parents[1])
_LIBRARIES = (*(sysconfig.get_paths()[name] for name in ("purelib", "platlib", "stdlib")), "<")
_GPU_ERROR = re.compile(r"CUDA error|CUBLAS_STATUS|cuDNN error")
_GPU_HARDWARE = re.compile(
    r"ECC|NVLink|unavailable|busy|unknown error|initialization|no CUDA-capable"
)
_TRANSIENT = re.compile(  # errors of the network, of other processes, and of the machine's memory
    r"gloo|NCCL|Connection (closed|reset) by peer|DataLoader worker \(pid"
    r"|enforce fail at .*alloc|DefaultCPUAllocator",
    re.IGNORECASE,
)
_LONGEST_TEXT = 300  # characters kept of an exception's text; some of torch's fill a screen


class RestartError(RuntimeError):
    """The cohort cannot continue in this process and has to be started again.

    The failed trial is recorded, so that the restarted cohort leaves it out.
    """


def reason(error: BaseException) -> str:
    """Returns an exception's type, text and source line as one line of text.

    The source line is the innermost frame outside of raykd and of installed packages; if there is
    none, the innermost frame outside of raykd and torch; if there is none either, raykd's own.
    """
    text = " ".join("".join(traceback.format_exception_only(error)).split())
    if len(text) > _LONGEST_TEXT:
        text = f"{text[:_LONGEST_TEXT]}…"
    frames = traceback.extract_tb(error.__traceback__)
    own = [frame for frame in frames if not frame.filename.startswith((_RAYKD, "<"))]
    user = [frame for frame in own if not frame.filename.startswith(_LIBRARIES)]
    package = [frame for frame in own if "/torch/" not in frame.filename]
    raykds = [frame for frame in frames if frame.filename.startswith(_RAYKD)]
    for found in (user, package, raykds):
        if found:
            return f"{text} ({found[-1].filename}:{found[-1].lineno})"
    return text


def of_gpu(error: BaseException) -> bool:
    """Returns True for an error of the GPU after which the process can't use it any more."""
    return isinstance(error, torch.AcceleratorError) or (
        isinstance(error, RuntimeError)
        and not isinstance(error, torch.OutOfMemoryError)
        and bool(_GPU_ERROR.search(str(error)))
    )


def of_machine(error: BaseException) -> bool:
    """Returns True for an error that a retry may not meet: network, storage, processes or GPU.

    This includes failed allocations in the machine's memory, which other processes fill as well.
    Every other error comes from the code that runs, which would raise it again.
    """
    transient = (UnavailableError, DistError, ConnectionError, TimeoutError, MemoryError)
    if isinstance(error, transient) or type(error) is OSError or of_gpu(error):
        return True
    if isinstance(error, RuntimeError) and _TRANSIENT.search(str(error)):
        return True
    return error.__cause__ is not None and of_machine(error.__cause__)


def _on_gpu(device: torch.device | None) -> bool:
    return device is not None and device.type == "cuda"


class Guard:
    """Fails the trial whose own code raises an exception, and lets the other trials continue.

    A single worker continues at once. With several workers the others wait for this one's
    gradients, and after an error of the GPU the process can't use it any more: in both cases the
    failure is stored and `RestartError` raised, so that the cohort starts again from its last
    checkpoint without the trial.

    Errors of a GPU are reported late, often during the work of another trial. So the first one
    fails no trial: the cohort is started again and from then on synchronises with the GPU after
    each student's work, so that an error appears in the trial that caused it.

    Args:
        students: Students in training; a student that fails is removed from this list.
        folder: Folder of the cohort's checkpoints; None stores no failures.
        device: Device of the students.

    Attributes:
        reasons: Reasons of the failed trials that no row has reported yet, by trial name.
    """

    def __init__(
        self,
        students: list[Student],
        folder: Folder | None = None,
        device: torch.device | None = None,
    ) -> None:
        self.students, self.folder, self.device = students, folder, device
        self.reasons: dict[str, str] = {}
        if folder:
            for path, stored in sorted(folder.read_all(folder.list("failed")).items()):
                self.reasons[Path(path).stem] = json.loads(stored)
            self.reasons = workers.agree(self.reasons)
        self._careful = _on_gpu(device) and folder is not None and folder.exists("careful")

    @contextmanager
    def __call__(self, trial: str) -> Iterator[None]:
        """Runs a trial's code; catches its exceptions if the other trials can continue."""
        try:
            yield
            if self._careful:
                torch.cuda.synchronize(self.device)
        except Exception as error:  # a trial runs the user's code, which may raise anything
            self._fail(trial, error)

    @contextmanager
    def gpu_watched(self) -> Iterator[None]:
        """Runs code outside of trials; after a GPU error in it, the next start is a careful one.

        A careful start synchronises with the GPU after each student's work (see the class).
        """
        try:
            yield
        except RuntimeError as error:
            if of_gpu(error):
                self._be_careful()
            raise

    def take(self) -> dict[str, str]:
        """Returns the reasons that no row has reported yet, by trial name, and clears them."""
        taken, self.reasons = self.reasons, {}
        return taken

    def _fail(self, trial: str, error: Exception) -> None:
        others = [student for student in self.students if student.trial != trial]
        if isinstance(error, torch.OutOfMemoryError) and others:
            raise RuntimeError(
                f"the GPU has no room for these {len(others) + 1} students at a time; take a GPU"
                " with more memory, or run the study under another name with a smaller cohort"
            ) from error
        blamed = self._careful and not _GPU_HARDWARE.search(str(error))
        if of_gpu(error) and not blamed:
            self._be_careful()
            raise error
        if of_machine(error) and not of_gpu(error):
            raise error
        why = reason(error)
        if self.folder and (of_gpu(error) or workers.world() > 1):
            self.folder.write(f"failed/{trial}.json", json.dumps(why).encode())
            raise RestartError(f"trial {trial} failed, the others start again: {why}") from None
        self.reasons.setdefault(trial, why)
        self.students[:] = others

    def _be_careful(self) -> None:
        if self.folder:
            self.folder.write("careful", b"")
