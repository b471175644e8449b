"""Names of a package are found by the files that it has."""

import importlib
import subprocess
import sys

import pytest

from raykd.discovery import definitions, lookup
from raykd.methods import Method


@pytest.mark.parametrize(
    ("package", "name", "module"),
    [
        ("raykd.methods", "ITRD", "raykd.methods.itrd"),
        ("raykd.data", "Glyphs", "raykd.data.glyphs"),
        ("raykd.models", "resnet18", "raykd.models.imagenet"),
    ],
)
def test_a_definition_is_imported_from_its_package(package: str, name: str, module: str) -> None:
    found = getattr(importlib.import_module(package), name)
    assert found is getattr(importlib.import_module(module), name)


def test_every_method_can_be_imported_from_the_package() -> None:
    import raykd.methods

    for name in raykd.methods.names():
        cls = raykd.methods.find(name)
        assert issubclass(cls, Method)
        assert getattr(raykd.methods, cls.__name__) is cls


def test_an_unknown_name_is_refused_as_python_does() -> None:
    with pytest.raises(ImportError, match="Nonsense"):
        from raykd.methods import Nonsense  # noqa: F401


def test_a_name_of_two_files_says_where_to_import_it_from() -> None:
    twice = [name for name, modules in definitions("raykd.models").items() if len(modules) > 1]
    assert twice, "the test needs a name that two files define"
    with pytest.raises(AttributeError, match="import it from there"):
        lookup("raykd.models", twice[0])


def test_finding_names_imports_nothing() -> None:
    code = (
        "import sys; from raykd.discovery import definitions; definitions('raykd.methods');"
        "assert 'raykd.methods.itrd' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_wrap_means_the_function_whatever_was_imported_before() -> None:
    from raykd.models import wrap
    from raykd.models.wrap import wrap as same

    assert wrap is same


def test_a_name_that_is_also_a_file_means_the_file() -> None:
    from types import ModuleType

    from raykd.models import shufflenetv1

    assert isinstance(shufflenetv1, ModuleType)
