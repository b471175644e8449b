from rich.console import Console

from raykd.report import tables
from raykd.report.results import Results


def shown(table, width=80):
    console = Console(width=width, color_system=None)
    with console.capture() as capture:
        console.print(table)
    return capture.get()


def row(text, start):
    return next(line for line in text.splitlines() if line.startswith(start))


def test_summary_fits_a_terminal_and_holds_the_numbers(study):
    text = shown(tables.summary(Results(study)))
    assert row(text, "teacher").split() == ["teacher", "94.12%", "93.52%"]
    plain = row(text, "plain student").split()
    assert plain == ["plain", "student", "73.12%", "72.52%", "73.12%", "(8)"]
    assert row(text, "ITRD, paper's setting").split()[3:5] == ["84.43%", "83.83%"]
    best = row(text, "ITRD, best of 25 (0019)").split()
    assert best[5:] == ["85.58%", "84.98%", "85.58%", "(8)", "+12.46"]
    assert "25 trials: 21 complete, 2 pruned, 2 failed" in text
    assert "best configuration: alpha = 1.668, beta_corr = 3.382, beta_mi = 0.5237" in text


def test_summary_of_replicates(made, tmp_path):
    text = shown(tables.summary(Results(made.replicated(tmp_path))))
    assert "84.60 ± 0.31%" in row(text, "ITRD, best of 9 (0007)")
    assert "9 trials with 3 seeds each" in text


def test_summary_of_a_loss(made, tmp_path):
    records = [*made.teacher(), *made.references(), *made.search(4)]
    text = shown(
        tables.summary(Results(made.write(tmp_path, records, metric=["val_loss"], mode=["min"])))
    )
    assert "loss after the last epoch" in text
    assert row(text, "plain student").split()[2] == "1.075"


def test_summary_of_nothing(made, tmp_path):
    assert "2 trials: 1 failed, 1 unfinished" in shown(
        tables.summary(Results(made.none_complete(tmp_path / "a")))
    )
    assert "0 trials" in shown(tables.summary(Results(made.empty(tmp_path / "b"))))
    assert "nothing was searched" in shown(tables.summary(Results(made.no_space(tmp_path / "c"))))


def test_what_failed_shows_no_number(made, tmp_path):
    study = made.failed(tmp_path)
    text = shown(tables.summary(Results(study)), 120)
    assert row(text, "plain student").strip().endswith("failed (2 of 2 seeds)")
    assert row(text, "KD").strip().endswith("failed (1 of 2 seeds)")
    assert "99" not in text
    assert "KD failed: val_loss became nan in epoch 8" in text
    lines = shown(tables.trials(study), 160)
    assert "99" not in row(lines, "kd-s1")
    assert "99.00%" in row(lines, "0003 ")  # pruned, after the epoch that is named beside


def test_markup_in_stored_text_stays_text(made, tmp_path):
    study = made.hostile(tmp_path)
    results = Results(study)
    assert "[red]x" in shown(tables.best(results, results.ranked(), ["val_top1"]), 200)
    assert "<script>alert(1)</script><b>&\"'" in shown(tables.trials(study), 200)


def test_trials_say_why_they_ended(study):
    text = shown(tables.trials(study), 160)
    assert len(text.splitlines()) == 1 + 28
    assert "loss_corr became nan in epoch 2" in row(text, "0009")
    assert row(text, "0005").split()[1:4] == ["search", "pruned", "3"]


def test_curve_has_a_row_an_epoch(study):
    rows = study.curve("0019").to_pylist()
    lines = shown(tables.curve(rows, ["val_top1", "lr"])).splitlines()
    assert lines[-1].split() == ["8", "85.58%", "0.005"]
    assert len(lines) == 9


def test_studies_show_their_best(study):
    assert "val_top1 85.58%" in shown(tables.studies([Results(study)]), 160)
