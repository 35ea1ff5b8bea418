"""The C++ programs of the documentation are those that the native tests compile and run."""

from __future__ import annotations

import re
import textwrap
from pathlib import Path

import pytest

CORE = Path(__file__).resolve().parent.parent
PAGES = sorted((CORE / "docs").glob("*.md"))


def examples() -> str:
    files = sorted((CORE / "tests" / "cpp" / "docs").glob("*.cpp"))
    return "\n".join(line.strip() for file in files for line in file.read_text().splitlines())


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_each_cpp_block_is_in_a_test(page: Path) -> None:
    known = examples()
    for block in re.findall(r"^```cpp\n(.*?)^```", page.read_text(), re.MULTILINE | re.DOTALL):
        lines = "\n".join(line.strip() for line in textwrap.dedent(block).strip().splitlines())
        assert lines in known, f"{page.name} shows what no test runs:\n{block}"
