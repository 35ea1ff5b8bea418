"""The package as it is installed: README, stub, and what it does without an HTTP server."""

from __future__ import annotations

import ast
import re
import runpy
from importlib import metadata
from pathlib import Path
from typing import Any

import pytest
from fasterapi_mcp import MCPServer, _mcp

README = Path(__file__).parents[1] / "README.md"
BLOCKS = re.findall(r"```python\n(.*?)```", README.read_text(encoding="utf-8"), re.S)


@pytest.mark.parametrize("number", range(len(BLOCKS)))
def test_examples_of_the_readme_run(number: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    served: list[str] = []
    monkeypatch.setattr(MCPServer, "run", lambda self, *args, **options: served.append(self.name))
    monkeypatch.chdir(tmp_path)
    (tmp_path / "calculator.py").write_text(BLOCKS[0])
    (tmp_path / "example.py").write_text(BLOCKS[number])
    runpy.run_path(str(tmp_path / "example.py"), run_name="__main__")
    assert served or "server.run" not in BLOCKS[number]


def test_the_stub_tells_what_the_extension_has() -> None:
    tree = ast.parse(Path(_mcp.__file__).with_name("_mcp.pyi").read_text(encoding="utf-8"))

    def names(body: list[ast.stmt]) -> set[str]:
        found = {node.name for node in body if isinstance(node, (ast.FunctionDef, ast.ClassDef))}
        found |= {
            node.target.id
            for node in body
            if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name)
        }
        return {name for name in found if not name.startswith("__")}

    def public(thing: Any) -> set[str]:
        return {name for name in vars(thing) if not name.startswith("__")}

    assert names(tree.body) == public(_mcp)
    for node in tree.body:
        if isinstance(node, ast.ClassDef):
            assert names(node.body) == public(getattr(_mcp, node.name)), node.name


def test_http_without_a_server_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(metadata, "entry_points", lambda **_: [])
    with pytest.raises(ImportError, match=r"pip install 'fasterapi-mcp\[http\]'"):
        MCPServer("x").run("http", port=0)
