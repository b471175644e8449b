#!/usr/bin/env python3
"""A study of one trial whose epochs take seconds, for tests that break in upon one."""

from functools import partial

from tiny import study as tiny

from raykd.data.synthetic import Synthetic

study = tiny.override(
    name="long",
    data=partial(Synthetic, classes=4, shape=(1, 16, 16), samples=8000, tests=40),
    trials=1,
    references=(),
    cohort=1,
    epochs=3,
    halving=None,
    space={},
)

if __name__ == "__main__":
    study.main()
