#!/usr/bin/env python3
"""A study of one trial with as many of two Ray Train workers as there is room for."""

from long import study as long

from raykd.methods.vanilla import Vanilla
from raykd.train.recipe import Recipe

study = long.override(
    name="elastic",
    method=Vanilla,
    workers=2,
    min_workers=1,
    epochs=100,
    teacher_recipe=Recipe(epochs=1),
)

if __name__ == "__main__":
    study.main()
