import hashlib
import json
import re
from base64 import b64encode
from html.parser import HTMLParser

import pytest
from optuna.distributions import CategoricalDistribution, FloatDistribution

from raykd.report.page import page
from raykd.report.results import Results


class Page(HTMLParser):
    """What a browser would see: tags, text outside of scripts, and the scripts."""

    def __init__(self, html):
        super().__init__()
        self.html = html
        self.tags, self.text, self.scripts, self._open = [], "", [], []
        self.feed(html)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        self._open.append(tag)
        if tag == "script":
            self.scripts.append("")

    def handle_endtag(self, tag):
        while self._open and self._open.pop() != tag:
            pass

    def handle_data(self, data):
        if self._open and self._open[-1] == "script":
            self.scripts[-1] += data
        elif not self._open or self._open[-1] != "style":
            self.text += data

    @property
    def figures(self):
        kinds = [attrs.get("type") for tag, attrs in self.tags if tag == "script"]
        texts = zip(kinds, self.scripts, strict=True)
        return [json.loads(text) for kind, text in texts if kind == "application/json"]


@pytest.fixture(scope="module")
def standard(study):
    return Page(page(Results(study)))


def test_the_page_asks_for_nothing_else(standard):
    assert not [attrs for _, attrs in standard.tags if {"src", "href", "srcset"} & attrs.keys()]
    assert not {tag for tag, _ in standard.tags} & {"link", "img", "iframe", "object", "base"}
    policy = next(a for _, a in standard.tags if a.get("http-equiv") == "Content-Security-Policy")
    assert policy["content"].startswith("default-src 'none'")
    assert "http" not in policy["content"]


def test_no_script_runs_but_the_two_of_the_page(standard):
    [policy] = [a["content"] for _, a in standard.tags if "http-equiv" in a]
    [allowed] = [part for part in policy.split("; ") if part.startswith("script-src")]
    kinds = [attrs.get("type") for tag, attrs in standard.tags if tag == "script"]
    own = [text for kind, text in zip(kinds, standard.scripts, strict=True) if kind is None]
    hashes = [b64encode(hashlib.sha256(text.encode()).digest()).decode() for text in own]
    assert allowed == "script-src " + " ".join(f"'sha256-{item}'" for item in hashes)
    assert len(own) == 2
    assert not any("\r" in text for text in own)  # a browser hashes what it reads as line feeds
    assert not [name for _, attrs in standard.tags for name in attrs if name.startswith("on")]


def test_names_of_objectives_and_parameters_are_escaped(made, tmp_path):
    evil = "<script>alert(1)</script><a href='https://example.com'>x</a>"
    space = {evil: CategoricalDistribution([evil, "b"]), "beta_mi": FloatDistribution(0.1, 1.0)}
    records = made.teacher()
    for number in range(12):
        config = {evil: (evil, "b")[number % 2], "beta_mi": 0.1 + number / 20}
        rows = made.whole(f"{number:04d}", number, config, made.curve(0.7 + number / 100))
        for row in rows:
            if row["kind"] == "report":
                row["metrics"][evil] = row["metrics"]["val_top1"]
        records += rows
    objectives = {"metric": (evil, "val_top1"), "mode": ("max", "max")}
    html = page(Results(made.write(tmp_path, records, space=space, **objectives)))
    assert "<script>alert" not in html
    seen = Page(html)
    assert evil in seen.text
    assert "a" not in {tag for tag, _ in seen.tags}
    assert len(seen.figures) >= 5
    assert "<a" not in json.dumps(seen.figures)


def test_plotly_is_there_once(standard):
    assert len([script for script in standard.scripts if len(script) > 1_000_000]) == 1
    assert (
        len([tag for tag, a in standard.tags if "data-figure" in a]) == len(standard.figures) == 7
    )


def test_the_numbers_are_there(standard):
    for text in (
        "85.58%",
        "84.98%",  # best, validation and test
        "+12.46",
        "+3.55",
        "+1.15",
        "-8.54",  # to plain student, KD, paper's setting, teacher
        "94.12%",
        "73.12%",
        "82.03%",
        "84.43%",
        "ITRD(alpha=1.6682158565343952, beta_corr=3.3817518199809817",
        "25 trials: 21 complete, 2 pruned, 2 failed",
        "12th of 16 after epoch 3",
        "loss_corr became nan in epoch 2",
        "0123456789ab-dirty",
    ):
        assert text in standard.text


def test_it_is_made_for_small_screens_and_both_themes(standard):
    assert ("meta", {"name": "viewport", "content": "width=device-width, initial-scale=1"}) in (
        standard.tags
    )
    assert "responsive: true" in standard.scripts[-1]
    assert all("width" not in figure["layout"] for figure in standard.figures)


def test_tiles_break_what_they_have_no_room_for(standard):
    css = standard.html.partition("<style>")[2].partition("</style>")[0]
    rules = re.findall(r"^ *(\.number[^{]*?) {([^}]*)}", css, flags=re.MULTILINE)
    tile = next(rule for name, rule in rules if name == ".number")
    assert "overflow-wrap: anywhere" in tile
    assert "min-width: 0" in tile
    assert not [name for name, rule in rules if "nowrap" in rule or "hidden" in rule]


def test_stored_text_is_never_markup(made, tmp_path):
    html = page(Results(made.hostile(tmp_path)))
    seen = Page(html)
    assert "<script>alert(1)</script>" not in html
    assert "<script>alert(1)</script><b>&\"'" in seen.text  # as text
    assert "b" not in {tag for tag, attrs in seen.tags if tag == "b" and "alert" in str(attrs)}
    plain = Page(page(Results(made.one_parameter(tmp_path / "plain"))))
    assert {tag for tag, _ in seen.tags} == {tag for tag, _ in plain.tags}


def test_replicates_and_several_objectives(made, tmp_path):
    text = Page(page(Results(made.replicated(tmp_path / "a")))).text
    assert "84.60 ± 0.31%" in text
    assert "84.60 ±\xa00.31%validation accuracy" in text  # in a tile, which may break before ±
    assert "means ± standard deviations" in text
    text = Page(page(Results(made.several(tmp_path / "b")))).text
    assert "Objectives against each other" in text
    assert "52,000" in text


@pytest.mark.parametrize(
    ("name", "texts"),
    [
        ("one", ["80.00%", "at least two complete trials"]),
        ("none_complete", ["No trial of this study is complete.", "Not complete", "unfinished"]),
        ("empty", ["No trial of this study is complete.", "There are no reports yet."]),
        ("no_space", ["83.00%", "ITRD()", "How this was made"]),
        ("one_parameter", ["85.00%", "Slices", "at least two that were searched"]),
        ("constant", ["80.00%", "Slices"]),
    ],
)
def test_small_and_odd_studies(made, tmp_path, name, texts):
    seen = Page(page(Results(getattr(made, name)(tmp_path))))
    for text in texts:
        assert text in seen.text
    assert "nan" not in seen.text.replace("nan in", "").split()[:200]


def test_what_failed_has_no_number_gain_or_line(made, tmp_path):
    seen = Page(page(Results(made.failed(tmp_path))))
    assert "99.00" not in seen.text
    assert "over plain" not in seen.text
    assert "KDfailed (1 of 2 seeds)" in seen.text
    curves, history, *_ = seen.figures
    named = {trace["name"]: trace for trace in curves["data"]}
    assert 0.99 not in named["KD (failed)"]["y"]
    assert not [trace["name"] for trace in history["data"] if "failed" in trace["name"]]
    levels = [
        shape["y0"] for figure in seen.figures for shape in figure["layout"].get("shapes", [])
    ]
    assert 0.99 not in levels


def test_long_lists_are_cut_and_say_so(made, tmp_path, monkeypatch):
    monkeypatch.setattr("raykd.report.page._UNFINISHED", 1)
    monkeypatch.setattr("raykd.report.plots.MOST_CURVES", 3)
    text = Page(page(Results(made.standard(tmp_path)))).text
    assert "and 3 more" in text
    assert "other trials, the 3 best" in text
