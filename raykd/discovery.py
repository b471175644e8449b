"""What a package offers, read from the files that it consists of: no list has to be kept."""

import ast
from collections.abc import Mapping
from functools import cache
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path


@cache
def definitions(package: str) -> Mapping[str, tuple[str, ...]]:
    """Returns the modules that define each public class and function of a package.

    The files are parsed and not imported. Private files and definitions are left out.
    """
    spec = find_spec(package)
    assert spec is not None
    found: dict[str, tuple[str, ...]] = {}
    for folder in spec.submodule_search_locations or ():
        for file in sorted(Path(folder).glob("[!_]*.py")):
            for node in ast.parse(file.read_bytes()).body:
                name = getattr(node, "name", "_")
                if name[0] != "_":
                    found[name] = (*found.get(name, ()), f"{package}.{file.stem}")
    return found


def lookup(package: str, name: str) -> object:
    """Imports the module of a package that defines `name` and returns the definition.

    Raises:
        AttributeError: No module defines it, or more than one does.
    """
    modules = definitions(package).get(name, ())
    if len(modules) != 1:
        where = (
            f"is in {' and '.join(modules)}; import it from there" if modules else "is not there"
        )
        raise AttributeError(f"module {package!r} has no attribute {name!r}: it {where}")
    return getattr(import_module(modules[0]), name)


def attribute(package: str, name: str) -> object:
    """Returns what a package's `__getattr__` gives for `name`: as `lookup` does.

    A definition that is called as its file is not given, since Python means the file by that name
    as soon as it was imported.

    Raises:
        AttributeError: As `lookup`; or the package has a file of this name.
    """
    if f"{package}.{name}" in definitions(package).get(name, ()):
        raise AttributeError(f"module {package!r} has a file {name!r}; import from that")
    return lookup(package, name)
