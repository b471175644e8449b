#!/usr/bin/env python3
"""A study whose cohorts begin with one Ray Train worker and grow to two when there is room."""

from long import study as long

study = long.override(name="elastic", workers=2, min_workers=1, epochs=30)

if __name__ == "__main__":
    study.main()
