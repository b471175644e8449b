"""What the cohorts of a study share."""

from collections.abc import Callable
from functools import partial

import pytest

from raykd.data.synthetic import Synthetic
from raykd.study import Study
from raykd.study.lesson import open_data, source_of

Make = Callable[..., Study]
OTHER = partial(Synthetic, classes=4, shape=(1, 8, 8), samples=160, tests=16)


def test_the_teacher_is_trained_on_the_students_data(study: Make) -> None:
    one = study()
    data = open_data(one)
    assert source_of(one, data).data == {**data.describe(), "batch_size": 16}


def test_the_teacher_may_be_trained_on_other_data(study: Make) -> None:
    one = study(teacher_data=OTHER)
    data, others = open_data(one), open_data(one, make=one.teacher_data)
    assert (len(data), len(others)) == (64, 128)
    assert source_of(one, data).data == {**others.describe(), "batch_size": 16}
    assert source_of(one, data).key() == source_of(study(data=OTHER), others).key()


def test_data_of_the_teacher_that_do_not_fit(study: Make) -> None:
    one = study(teacher_data=partial(OTHER, classes=5))
    with pytest.raises(ValueError, match=r"the teacher's data have 5 classes .* the students' 4"):
        source_of(one, open_data(one))
