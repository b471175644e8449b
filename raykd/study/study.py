"""`Study`: the class that users instantiate in their scripts."""

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
            arguments: Command line arguments; by default those of the process.
            after: Function that is called with the stored study at the end, to show more than the
                report does.

        Raises:
            SystemExit: Always if `arguments` is None, otherwise if the study could not be run.
        """
        run_from_command_line(self, arguments, after)

    def run(self, storage: str = "results", *, report: bool = True) -> None:
        """Runs the study, or continues it, until its trials are done.

        Args:
            storage: The store: a folder or `s3://bucket/prefix`.
            report: True to write the report, an HTML page, at the end.

        Raises:
            ValueError: A setting is invalid; nothing has been trained.
            RuntimeError: Cohorts failed more often than they are retried, or the report can't be
                written.
        """
        storage = Folder(storage).uri  # absolute: the study's own code may change the directory
        run_study(self, storage)
        if report:
            write_page(storage, self.name)
