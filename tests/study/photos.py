#!/usr/bin/env python3
"""The study of `tiny.py` on the packed images at the address in `PHOTOS`."""

import os
from dataclasses import replace
from functools import partial

from tiny import study as tiny

from raykd.data.imagenet import Images

study = replace(
    tiny,
    data=partial(Images, root=os.environ["PHOTOS"], size=16, decoders=1),
    trials=2,
    epochs=10,
    halving=None,
)

if __name__ == "__main__":
    study.main()
