"""The README's first example is the application of the demonstration, word for word."""

from __future__ import annotations

import importlib.util
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
STORE = ROOT / "packages/fasterapi/src/fasterapi/demo/store.py"


def test_the_example_is_the_store_of_the_demonstration() -> None:
    assert (ROOT / "examples/store/app.py").read_text() == STORE.read_text()


def test_the_readme_shows_the_store() -> None:
    assert STORE.read_text().strip() in (ROOT / "README.md").read_text()


def test_the_readme_has_no_figure_that_was_not_measured() -> None:
    spec = importlib.util.spec_from_file_location("figures", ROOT / "bench" / "figures.py")
    assert spec and spec.loader
    figures = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(figures)
    assert figures.section() in (ROOT / "README.md").read_text()
