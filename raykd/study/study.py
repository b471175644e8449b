"""`Study`: what users write in their scripts."""

from collections.abc import Sequence
from dataclasses import dataclass

from raykd.store import Folder
from raykd.study.command_line import After, run_from_command_line
from raykd.study.page import write_page
from raykd.study.run import run_study
from raykd.study.specification import Specification


@dataclass(frozen=True)
class Study(Specification):
    """A hyperparameter study of a distillation method, which can be run and continued.

    Its arguments are the fields of `raykd.study.specification.Specification`.
    """

    def main(self, arguments: Sequence[str] | None = None, *, after: After | None = None) -> None:
        """Runs the study from the command line; every option overrides a field.

        Args:
            arguments: In place of the process's own.
            after: Called with the stored study at the end, to show more than the page does.

        Raises:
            SystemExit: Always, without `arguments`; with them, if the study could not be run.
        """
        run_from_command_line(self, arguments, after)

    def run(self, storage: str = "results", *, report: bool = True) -> None:
        """Runs the study, or continues it, until its trials are done.

        Args:
            storage: A folder or `s3://bucket/prefix`.
            report: Whether to write the page at the end.

        Raises:
            ValueError: Something cannot be as it was asked for; nothing has been trained.
            RuntimeError: Cohorts failed for good, or the page cannot be written.
        """
        storage = Folder(storage).uri  # absolute, wherever the study's own code changes to
        run_study(self, storage)
        if report:
            write_page(storage, self.name)
