"""The distribution: built from the sources, complete, and importable without the checkout."""

import os
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the wheel, which is built from the sdist, and the sdist."""
    folder = tmp_path_factory.mktemp("dist")
    uv = Path(sys.executable).with_name("uv")
    command = [uv, "build", "--quiet", "--no-build-isolation", "--python", sys.executable]
    subprocess.run([*command, "--out-dir", folder, ROOT], check=True)
    return folder


@pytest.fixture(scope="module")
def wheel(built: Path) -> Path:
    [file] = built.glob("*.whl")
    return file


def test_sdist_holds_the_sources_and_the_licence(built: Path) -> None:
    [file] = built.glob("*.tar.gz")
    with tarfile.open(file) as packed:
        names = {name.partition("/")[2] for name in packed.getnames()}
    assert {"LICENSE", "README.md", "pyproject.toml", "raykd/cli.py"} <= names


def test_wheel_holds_every_module_and_its_data(wheel: Path) -> None:
    packed = set(zipfile.ZipFile(wheel).namelist())
    sources = [path for path in (ROOT / "raykd").rglob("*") if "__pycache__" not in path.parts]
    assert {str(path.relative_to(ROOT)) for path in sources if path.is_file()} <= packed
    assert not [name for name in packed if name.startswith(("tests", "studies"))]


def test_a_bare_environment_imports_the_package(wheel: Path, tmp_path: Path) -> None:
    """Nothing is installed beside it: the package itself imports no library."""
    zipfile.ZipFile(wheel).extractall(tmp_path)
    code = "import raykd; print(raykd.__version__, raykd.__file__, *dir(raykd))"
    clean = {"PATH": os.environ["PATH"], "PYTHONPATH": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, "-S", "-c", code],  # -S: without site-packages
        cwd=tmp_path,
        env=clean,
        check=True,
        capture_output=True,
        text=True,
    )
    version, file, *names = done.stdout.split()
    assert version == "0.1.0"
    assert Path(file).is_relative_to(tmp_path)
    assert {"Study", "open_store"} <= set(names)


def test_the_installed_command_line_starts(wheel: Path, tmp_path: Path) -> None:
    zipfile.ZipFile(wheel).extractall(tmp_path)
    environment = {**os.environ, "PYTHONPATH": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, "-m", "raykd.cli", "--version"],
        cwd=tmp_path,
        env=environment,
        check=True,
        capture_output=True,
        text=True,
    )
    assert done.stdout.strip() == "raykd 0.1.0"
