"""Lazy imports by name: finds what a package defines by parsing its files.

No list of a package's classes and functions has to be kept.
"""

import ast
from collections.abc import Mapping
from functools import cache
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path


@cache
def definitions(package: str) -> Mapping[str, tuple[str, ...]]:
    """Returns the modules that define each public class and function of a package.

    The files are parsed and not imported. Private files and definitions are left out. The keys are
    the names of the definitions, the values the full names of the modules.
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
    """Returns the definition of `name`, for a package's `__getattr__`.

    It differs from `lookup` in one point: a definition with the same name as its file is refused,
    because Python resolves that name to the file as soon as the file has been imported.

    Raises:
        AttributeError: No module defines the name, more than one does, or the package has a file
            of this name.
    """
    if f"{package}.{name}" in definitions(package).get(name, ()):
        raise AttributeError(f"module {package!r} has a file {name!r}; import from that")
    return lookup(package, name)
