"""Every public header compiles alone, without warnings; only pyapi.hpp needs Python's."""

from __future__ import annotations

import os
import shutil
import subprocess
import sysconfig
from pathlib import Path

import fasterapi_core
import pytest

ROOT = Path(__file__).resolve().parent.parent
GENERATED = Path(fasterapi_core.__file__).parent / "include"  # version.hpp
INCLUDES = sorted((ROOT / "packages").glob("*/include"))
HEADERS = [
    (include, header.relative_to(include))
    for include in INCLUDES
    for header in sorted(include.rglob("*.hpp"))
    if "detail" not in header.parts
]
CORE = ROOT / "packages" / "fasterapi-core" / "include"


@pytest.mark.parametrize(("include", "header"), HEADERS, ids=[str(header) for _, header in HEADERS])
def test_public_header_stands_alone(include: Path, header: Path, tmp_path: Path) -> None:
    compiler = os.environ.get("CXX") or shutil.which("c++") or "g++"
    # Twice: it guards itself. Of the tree only its own package's and core's headers are there.
    source = tmp_path / "alone.cpp"
    source.write_text(f"#include <{header}>\n#include <{header}>\nint main() {{}}\n")
    command = [compiler, "-std=c++20", "-fsyntax-only", "-Wall", "-Wextra", "-Wpedantic", "-Werror"]
    command += ["-Wno-missing-field-initializers", "-Wno-unused-parameter"]
    command += [f"-I{include}", f"-I{CORE}", f"-isystem{GENERATED}"]
    if header.name == "pyapi.hpp":
        command.append(f"-isystem{sysconfig.get_path('include')}")
    done = subprocess.run([*command, str(source)], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr


def test_public_headers_open_with_their_promise() -> None:
    for include, header in HEADERS:
        lines = (include / header).read_text().splitlines()
        assert lines[0] == "#pragma once", header
        assert lines[1].startswith("//"), f"{header} does not say what it is for"
