"""A small classroom: synthetic images, two networks, cohorts that can be made again and again."""

import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from networks import MEMBERS, classroom, teacher

from raykd.train.cohort import Cohort, Member
from raykd.train.teacher import Teacher


@pytest.fixture(name="teacher")
def a_teacher() -> Teacher:
    return teacher()


@pytest.fixture
def cohort(tmp_path: Path, teacher: Teacher) -> Callable[..., Cohort]:
    def make(members: list[Member] = MEMBERS, where: str = "store", **changes: Any) -> Cohort:
        made = classroom(str(tmp_path / where))
        return replace(made, members=members, **{"teacher": teacher, **changes})

    return make
