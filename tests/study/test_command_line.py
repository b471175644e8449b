"""The command line of a study script, without the running of the study."""

from collections.abc import Callable
from pathlib import Path

import pytest

from raykd.runtime.signals import Interrupted, Terminated
from raykd.store import Study as Stored
from raykd.store import open_store
from raykd.study import Study, command_line
from raykd.study.command_line import run_one

Make = Callable[..., Study]
SPEC = {"identity": {}, "metric": ["val_top1"], "mode": ["max"]}


@pytest.fixture
def ran(monkeypatch: pytest.MonkeyPatch) -> list[Study]:
    studies: list[Study] = []

    def run(self: Study, storage: str) -> None:
        if self.trials == 99:
            raise ValueError("99 is too much for /photos[v2]")
        if self.trials == 98:
            raise RuntimeError("cohort 0000 failed: [/build/pair.cc:1] closed by [127.0.0.1]:1")
        studies.append(self)
        with open_store(storage, create=True).writer(self.name, SPEC):
            pass

    monkeypatch.setattr("raykd.study.command_line.run_study", run)
    return studies


def test_what_follows_is_given_the_stored_study(
    study: Make, ran: list[Study], tmp_path: Path
) -> None:
    shown: list[Stored] = []
    options = ["--name", "mine", "--trials", "3", "--storage", str(tmp_path), "--no-report"]
    study().main(options, after=shown.append)
    assert [(one.name, one.trials) for one in ran] == [("mine", 3)]
    assert [stored.name for stored in shown] == ["mine"]


@pytest.mark.parametrize("option", ["--storage", "--data", "--teacher-weights", "--epochs", "--x"])
def test_credentials_on_the_command_line_are_refused_and_not_repeated(
    option: str,
    study: Make,
    ran: list[Study],
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    address = "s3://AKIA:sec/ret+%@bucket/x"
    with pytest.raises(SystemExit) as ended:
        study().main([option, address])
    assert ended.value.code == 2
    with pytest.raises(SystemExit):
        run_one({"a": study()}, "which", [f"{option}={address}"])
    monkeypatch.setenv("RAYKD_STORAGE", address)
    with pytest.raises(SystemExit):
        study().main([])
    told = capfd.readouterr()
    assert told.err.count("the command line holds credentials") == 2
    assert "RAYKD_STORAGE holds credentials" in told.err
    assert not any(part in told.out + told.err for part in ("AKIA", "sec/", "ret+"))
    assert not ran


def test_a_study_that_cannot_be_run_ends_the_script(
    study: Make, ran: list[Study], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        study().main(["--trials", "99", "--storage", str(tmp_path)], after=lambda _: None)
    assert ended.value.code == 2
    said = capsys.readouterr().err
    assert "99 is too much for /photos[v2]" in said
    assert "To go on" not in said  # the same command would fail again
    assert not ran


def test_a_study_that_failed_on_its_way_says_why_and_how_to_go_on(
    study: Make,
    ran: list[Study],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("sys.orig_argv", ["python3", "study.py", "--data", "my photos [v2]"])
    with pytest.raises(SystemExit) as ended:
        study().main(["--trials", "98", "--storage", str(tmp_path)])
    assert ended.value.code == 2
    said = capsys.readouterr().err
    assert "[/build/pair.cc:1] closed by [127.0.0.1]:1" in said
    assert said.endswith("python3 study.py --data 'my photos [v2]'\n")


@pytest.fixture
def pages(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, str]]:
    written: list[tuple[str, str]] = []
    monkeypatch.setattr(command_line, "write_page", lambda *page: written.append(page))
    return written


SMOKE = {"trials": 2, "epochs": 1, "seed": 7, "workers": 0}


@pytest.mark.parametrize("by", ["option", "environment"])
def test_what_equals_the_default_is_honoured(
    by: str, study: Make, ran: list[Study], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = study(smoke=SMOKE, seed=0, workers=1)
    wanted = {"trials": made.trials, "epochs": made.epochs, "seed": 0, "workers": 1}
    options = ["--smoke", "--no-report", "--storage", str(tmp_path)]
    made.main(options)
    assert {name: getattr(ran[0], name) for name in SMOKE} == SMOKE
    if by == "option":
        options += [word for name, value in wanted.items() for word in (f"--{name}", str(value))]
    for name, value in wanted.items() if by == "environment" else ():
        monkeypatch.setenv(f"RAYKD_{name.upper()}", str(value))
    made.main(options)
    assert {name: getattr(ran[1], name) for name in SMOKE} == wanted


def test_no_weights_replace_those_of_the_study(
    study: Make, ran: list[Study], tmp_path: Path
) -> None:
    made = study(teacher_weights="teacher.pth")
    made.main(["--no-report", "--storage", str(tmp_path)])
    made.main(["--no-report", "--storage", str(tmp_path), "--teacher-weights", ""])
    assert [one.teacher_weights for one in ran] == ["teacher.pth", None]


@pytest.mark.parametrize(
    ("options", "environment", "written"),
    [([], "", True), (["--no-report"], "", False), ([], "0", False), (["--report"], "0", True)],
)
def test_the_page_is_written_unless_it_is_not_wanted(
    options: list[str],
    environment: str,
    written: bool,
    study: Make,
    ran: list[Study],
    pages: list[tuple[str, str]],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    if environment:
        monkeypatch.setenv("RAYKD_REPORT", environment)
    monkeypatch.chdir(tmp_path)
    study().main(["--storage", "results", *options])
    assert pages == ([(str(tmp_path / "results"), "small")] if written else [])


def test_a_study_without_a_smoke_setting_has_a_small_one(
    study: Make, ran: list[Study], tmp_path: Path
) -> None:
    whole = study(trials=400, epochs=100)
    whole.main(["--smoke", "--no-report", "--storage", str(tmp_path), "--epochs", "3"])
    assert (ran[0].name, ran[0].trials, ran[0].epochs) == ("small_smoke", 2, 3)


@pytest.mark.parametrize(("error", "code"), [(Interrupted(), 130), (Terminated(), 143)])
def test_the_exit_code_says_which_signal_it_was(
    error: BaseException,
    code: int,
    study: Make,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def stopped(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr("raykd.study.command_line.run_study", stopped)
    with pytest.raises(SystemExit) as ended:
        study().main(["--storage", str(tmp_path)])
    assert ended.value.code == code
    assert "To go on" in capsys.readouterr().err
