"""The README's own-data script and the folder of photographs that it reads."""

import re
from pathlib import Path

from raykd.data.synthetic import make, write_images

README = Path(__file__).parents[2] / "README.md"


def write_script(folder: Path) -> Path:
    """Writes the script as it stands in the README, and `photos` beside it; returns its path."""
    write_images(folder / "photos", make(3, (3, 40, 48), 60, 12))
    [text] = re.findall(
        r"```python\n(#!/usr/bin/env python3\n.*?)```", README.read_text(), re.DOTALL
    )
    script = folder / "mine.py"
    script.write_text(text)
    return script
