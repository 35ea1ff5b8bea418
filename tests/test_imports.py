"""The arrows between packages: core <- http, pg, mcp <- fasterapi, in Python, C++ and package metadata."""

from __future__ import annotations

import ast
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parent.parent
PACKAGES = ROOT / "packages"
ALLOWED: dict[str, set[str]] = {
    "core": set(),
    "http": {"core"},
    "pg": {"core"},
    "mcp": {"core"},
    "fasterapi": {"core", "http", "pg", "mcp"},
}
IMPORTS = {f"fasterapi_{name}": name for name in ("core", "http", "pg", "mcp")} | {"fasterapi": "fasterapi"}


def home(package: str) -> Path:
    return PACKAGES / ("fasterapi" if package == "fasterapi" else f"fasterapi-{package}")


def python_dir(package: str) -> Path:
    return home(package) / ("src/fasterapi" if package == "fasterapi" else f"python/fasterapi_{package}")


def python_files(package: str) -> Iterator[Path]:
    yield from sorted([*python_dir(package).rglob("*.py"), *python_dir(package).rglob("*.pyi")])


def imported(file: Path) -> Iterator[tuple[str, int]]:
    """Top-level modules that a file imports, by statement or by importlib.import_module("...")."""
    for node in ast.walk(ast.parse(file.read_text(), str(file))):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield alias.name.partition(".")[0], node.lineno
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            yield node.module.partition(".")[0], node.lineno
        elif isinstance(node, ast.Call) and node.args:
            function = (
                node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
            )
            first = node.args[0]
            if function in ("import_module", "__import__") and isinstance(first, ast.Constant):
                yield str(first.value).partition(".")[0], node.lineno


def metadata(package: str) -> dict[str, Any]:
    return tomllib.loads((home(package) / "pyproject.toml").read_text())


def version(package: str) -> str:
    project = metadata(package)["project"]
    if "version" in project:
        return str(project["version"])
    source = (python_dir("fasterapi") / "_version.py").read_text()
    found = re.search(r'__version__ = "([^"]+)"', source)
    assert found
    return found[1]


@pytest.mark.parametrize("package", ALLOWED)
def test_python_imports_point_one_way(package: str) -> None:
    wrong = [
        f"{file.relative_to(ROOT)}:{line}: imports {module}"
        for file in python_files(package)
        for module, line in imported(file)
        if module in IMPORTS and IMPORTS[module] not in ALLOWED[package] | {package}
    ]
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize("package", ["core", "http", "pg", "mcp"])
def test_cpp_includes_point_one_way(package: str) -> None:
    wrong = []
    for folder in ("include", "src", "bindings", "tests/cpp"):
        for file in (home(package) / folder).rglob("*.[ch]pp"):
            for number, line in enumerate(file.read_text().splitlines(), 1):
                found = re.match(r'\s*#\s*include\s*[<"](?:.*/)?fasterapi/(\w+)/', line)
                if found and found[1] not in ALLOWED[package] | {package}:
                    wrong.append(f"{file.relative_to(ROOT)}:{number}: {line.strip()}")
                up = re.match(r'\s*#\s*include\s*".*packages/|\s*#\s*include\s*"(\.\./){3,}', line)
                if up:
                    wrong.append(f"{file.relative_to(ROOT)}:{number}: leaves the package: {line.strip()}")
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize("package", ["core", "http", "pg", "mcp"])
def test_native_code_without_python_stays_without_python(package: str) -> None:
    wrong = [
        str(file.relative_to(ROOT))
        for folder in ("src", "tests/cpp")
        for file in (home(package) / folder).rglob("*.[ch]pp")
        if re.search(r"#\s*include\s*<(Python\.h|nanobind/)", file.read_text())
    ]
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize("package", ["http", "pg", "mcp"])
def test_cmake_looks_for_core_only(package: str) -> None:
    text = (home(package) / "CMakeLists.txt").read_text()
    assert set(re.findall(r"fasterapi_(http|pg|mcp)\s+CONFIG", text)) == set()


def pins(requirements: list[str]) -> dict[str, str]:
    found = {}
    for requirement in requirements:
        match = re.match(r"(fasterapi[\w-]*)(?:\[[^\]]*\])?\s*(.*)", requirement)
        if match:
            found[match[1]] = match[2]
    return found


@pytest.mark.parametrize("package", ALLOWED)
def test_pins_agree(package: str) -> None:
    data = metadata(package)
    runtime = pins(data["project"].get("dependencies", []))
    build = pins(data["build-system"]["requires"])
    wanted = {f"fasterapi-{name}" for name in ALLOWED[package]}
    assert set(runtime) == wanted
    if package in ("http", "pg", "mcp"):
        assert build == runtime, "compiled against one core and run with another"
    for name, pin in runtime.items():
        major, minor = version(name.removeprefix("fasterapi-")).split(".")[:2]
        assert pin == f"~={major}.{minor}.0", f"{name}{pin} does not fit the version in the repository"


@pytest.mark.parametrize("package", ALLOWED)
def test_public_names_are_a_sorted_list(package: str) -> None:
    tree = ast.parse((python_dir(package) / "__init__.py").read_text())
    lists = [
        [ast.literal_eval(item) for item in node.value.elts]
        for node in tree.body
        if isinstance(node, ast.Assign)
        and isinstance(node.targets[0], ast.Name)
        and node.targets[0].id == "__all__"
        and isinstance(node.value, ast.List | ast.Tuple)
    ]
    assert lists, "__init__.py has no __all__"
    for names in lists:
        # as sorted() does, or as ruff does: CONSTANTS, then Classes, then the rest
        kinds = sorted(names, key=lambda n: (not n.isupper(), not n[:1].isupper(), n))
        assert names in (sorted(names), kinds)
        assert len(names) == len(set(names))


@pytest.mark.parametrize("package", ALLOWED)
def test_each_package_stands_alone(package: str) -> None:
    for name in ("LICENSE", "README.md", "CHANGELOG.md", "pyproject.toml"):
        assert (home(package) / name).is_file(), f"{name} is missing"
    assert (python_dir(package) / "py.typed").is_file()
    if package != "fasterapi":
        assert (python_dir(package) / f"_{package}.pyi").is_file(), "no stub beside the extension"
    assert f"## {version(package)}" in (home(package) / "CHANGELOG.md").read_text()


@pytest.mark.parametrize("package", ALLOWED)
def test_installed_version_is_that_of_the_sources(package: str) -> None:
    module = __import__("fasterapi" if package == "fasterapi" else f"fasterapi_{package}")
    assert module.__version__ == version(package)
    for name in module.__all__:
        assert hasattr(module, name), f"__all__ names {name}"
