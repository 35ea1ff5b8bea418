"""``fasterapi-core new-extension NAME``: writes a wheel project with a C++ component on the reactor."""

from __future__ import annotations

import argparse
import keyword
import re
import sys
from collections.abc import Iterator, Sequence
from importlib import resources
from importlib.resources.abc import Traversable
from pathlib import Path

from ._core import ABI
from ._errors import FasterAPIError


class ExtensionError(FasterAPIError):
    """A project cannot be written as asked."""

    code = "core.extension"


def package_of(name: str) -> str:
    """The import name of a project name.

    Raises ExtensionError when `name` is not a project name, or its import name is taken or unusable.
    """
    if len(name) > 64 or not re.fullmatch(r"[A-Za-z][A-Za-z0-9]*([-_.][A-Za-z0-9]+)*", name):
        raise ExtensionError(
            f"{name!r} is not a project name: letters, digits and single '-', '_' or '.' between them, "
            "a letter first, at most 64 characters"
        )
    package = re.sub(r"[-_.]", "_", name).lower()
    # The package is a C++ namespace too: words of both languages, and what the headers put there.
    if keyword.iskeyword(package) or package in _CXX_WORDS:
        raise ExtensionError(f"{name!r} would be imported as {package!r}, which is a word of Python or C++")
    if package in sys.stdlib_module_names:
        raise ExtensionError(f"{name!r} would be imported as {package!r}, a module of the standard library")
    if package == "fasterapi" or re.fullmatch(r"fasterapi_(core|http|pg|mcp)", package):
        raise ExtensionError(f"{name!r} is the name of a FasterAPI package")
    return package


_CXX_WORDS = frozenset(
    "alignas alignof asm auto bool case catch char class concept const constexpr consteval constinit "
    "const_cast decltype default delete do double dynamic_cast enum explicit export extern false float for friend goto "
    "inline int long main mutable namespace new noexcept nullptr operator private protected public register "
    "requires short signed sizeof static std struct switch template this throw true typedef typeid typename union "
    "unsigned using virtual void volatile and_eq bitand bitor compl not_eq or_eq xor xor_eq".split()
)


def _files(folder: Traversable, inner: str = "") -> Iterator[tuple[str, str]]:
    for entry in folder.iterdir():
        path = f"{inner}/{entry.name}" if inner else entry.name
        if entry.is_dir():
            yield from _files(entry, path)
        elif entry.name.endswith(".in"):
            yield path.removesuffix(".in"), entry.read_text(encoding="utf-8")


def render(name: str) -> dict[str, str]:
    """The files of a new project, by path. Raises ExtensionError as :func:`package_of` does."""
    package = package_of(name)
    known = {"NAME": name, "PACKAGE": package, "CORE_MINOR": ABI}

    def fill(text: str) -> str:
        # @@ stands for an @ of the file itself (CMake's own placeholders)
        return re.sub(r"@@|@([A-Z_]+)@", lambda found: known[found[1]] if found[1] else "@", text)

    templates = resources.files("fasterapi_core") / "templates" / "extension"
    files: dict[str, str] = {}
    for path, text in sorted(_files(templates)):
        path = path.replace("python/package/", f"python/{package}/")
        path = ".gitignore" if path == "gitignore" else path
        files[path] = fill(text)
    return files


def new_extension(name: str, directory: Path | None = None) -> Path:
    """Write a new project and return its folder, `directory` or ./NAME.

    Raises ExtensionError when the name cannot be used, or the folder exists and is not empty; OSError when it
    cannot be written.
    """
    files = render(name)
    target = Path(name) if directory is None else directory
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        raise ExtensionError(f"{target} exists and is not an empty folder; nothing was written")
    for path, text in files.items():
        file = target / path
        file.parent.mkdir(parents=True, exist_ok=True)
        with open(file, "x", encoding="utf-8", newline="\n") as out:
            out.write(text)
    return target


def main(arguments: Sequence[str] | None = None) -> int:
    """The command ``fasterapi-core``; returns its exit status."""
    parser = argparse.ArgumentParser(prog="fasterapi-core", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    new = commands.add_parser(
        "new-extension",
        help="write a wheel project with a C++ component",
        description="Write a wheel project with a C++ component, a native HTTP route, bindings, stub and tests.",
    )
    new.add_argument("name", help="name of the project, for example my-extension")
    new.add_argument("--directory", type=Path, help="where to write it (default: ./NAME)")
    options = parser.parse_args(arguments)
    try:
        target = new_extension(options.name, options.directory)
    except (ExtensionError, OSError) as error:
        print(f"fasterapi-core: {error}", file=sys.stderr)
        return 2
    print(f"wrote {target}; next:\n  cd {target}\n  pip install '.[test]'\n  pytest")
    return 0


__all__ = ["ExtensionError", "main", "new_extension", "package_of", "render"]
