"""Failures: whose fault an exception is, its reason in one line, and what becomes of the trial."""

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
_OF_GPU = re.compile(r"CUDA error|CUBLAS_STATUS|cuDNN error")
_HARDWARE = re.compile(r"ECC|NVLink|unavailable|busy|unknown error|initialization|no CUDA-capable")
_MACHINE = re.compile(
    r"gloo|NCCL|Connection (closed|reset) by peer|DataLoader worker \(pid"
    r"|enforce fail at .*alloc|DefaultCPUAllocator",
    re.IGNORECASE,
)
_LONGEST = 300  # characters of an exception's own text; some of torch's fill a screen


class RestartError(RuntimeError):
    """The cohort can't go on in this process; started again, it leaves out who failed."""


def reason(error: BaseException) -> str:
    """Returns an exception's kind, text and place in one line.

    The place is the innermost line outside of raykd and of installed packages; where there is none,
    the innermost one outside of raykd and torch, or else raykd's own.
    """
    text = " ".join("".join(traceback.format_exception_only(error)).split())
    if len(text) > _LONGEST:
        text = f"{text[:_LONGEST]}…"
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
    """Says whether it is an error after which a process can't use its GPU any more."""
    return isinstance(error, torch.AcceleratorError) or (
        isinstance(error, RuntimeError)
        and not isinstance(error, torch.OutOfMemoryError)
        and bool(_OF_GPU.search(str(error)))
    )


def of_machine(error: BaseException) -> bool:
    """Says whether the same may succeed on another try: network, storage, processes, GPU.

    So may an allocation in the machine's own memory, which other processes fill as well. Everything
    else is raised by the code that runs, and would be raised again.
    """
    passing = (UnavailableError, DistError, ConnectionError, TimeoutError, MemoryError)
    if isinstance(error, passing) or type(error) is OSError or of_gpu(error):
        return True
    if isinstance(error, RuntimeError) and _MACHINE.search(str(error)):
        return True
    return error.__cause__ is not None and of_machine(error.__cause__)


def _on_gpu(device: torch.device | None) -> bool:
    return device is not None and device.type == "cuda"


class Guard:
    """Fails the trial whose own code raises an exception, and lets the others go on.

    Alone, a worker goes on at once. Of several workers the others wait for this one's gradients,
    and after an error of the GPU the process is of no use: there the failure is stored, and the
    cohort started again, from its last checkpoint, without the trial.

    Errors of a GPU come late, often to an innocent trial. The first one blames nobody: the cohort
    is started again and from then on waits for the GPU after each student's work.

    Args:
        students: Those in training; who fails is taken out of the list.
        folder: Where the cohort's checkpoints are.
        device: Where the students live.

    Attributes:
        reasons: Why trials failed, by name, as long as no row tells it.
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
            for path, told in sorted(folder.read_all(folder.list("failed")).items()):
                self.reasons[Path(path).stem] = json.loads(told)
            self.reasons = workers.agree(self.reasons)
        self._careful = _on_gpu(device) and folder is not None and folder.exists("careful")

    @contextmanager
    def __call__(self, trial: str) -> Iterator[None]:
        """Runs a trial's code; an exception of it goes no further where the others can go on."""
        try:
            yield
            if self._careful:
                torch.cuda.synchronize(self.device)
        except Exception as error:  # the trial's code is a user's, and may raise anything
            self._fail(trial, error)

    @contextmanager
    def gpu_watched(self) -> Iterator[None]:
        """Makes the cohort careful after an error of the GPU that came outside of a trial."""
        try:
            yield
        except RuntimeError as error:
            if of_gpu(error):
                self._be_careful()
            raise

    def take(self) -> dict[str, str]:
        """Returns the reasons that no row has told yet, and forgets them."""
        taken, self.reasons = self.reasons, {}
        return taken

    def _fail(self, trial: str, error: Exception) -> None:
        others = [student for student in self.students if student.trial != trial]
        if isinstance(error, torch.OutOfMemoryError) and others:
            raise RuntimeError(
                f"the GPU has no room for these {len(others) + 1} students at a time; take a GPU"
                " with more memory, or run the study under another name with a smaller cohort"
            ) from error
        blamed = self._careful and not _HARDWARE.search(str(error))
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
