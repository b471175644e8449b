"""What the cohorts of a study share."""

from collections.abc import Callable
from functools import partial

import pytest

from raykd.data.synthetic import Synthetic
from raykd.study import Study

Make = Callable[..., Study]
OTHER = partial(Synthetic, classes=4, shape=(1, 8, 8), samples=160, tests=16)


def test_the_teacher_is_trained_on_the_students_data(study: Make) -> None:
    one = study()
    data = one.distillation.open_data()
    assert one.distillation.teacher_source(data).data == {**data.describe(), "batch_size": 16}


def test_the_teacher_may_be_trained_on_other_data(study: Make) -> None:
    one = study(teacher_data=OTHER)
    data, others = one.distillation.open_data(), one.distillation.open_data(make=one.teacher_data)
    assert (len(data), len(others)) == (64, 128)
    assert one.distillation.teacher_source(data).data == {**others.describe(), "batch_size": 16}
    assert (
        one.distillation.teacher_source(data).key()
        == study(data=OTHER).distillation.teacher_source(others).key()
    )


def test_data_of_the_teacher_that_do_not_fit(study: Make) -> None:
    one = study(teacher_data=partial(OTHER, classes=5))
    with pytest.raises(ValueError, match=r"the teacher's data have 5 classes .* the students' 4"):
        one.distillation.teacher_source(one.distillation.open_data())
