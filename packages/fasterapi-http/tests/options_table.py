"""The table of options of docs/operations.md, made from the source: ``python tests/options_table.py`` writes it."""

from __future__ import annotations

import dataclasses
import typing
from pathlib import Path
from typing import Any

from fasterapi_http import Config, Limits
from fasterapi_http._cli import _strip_none
from fasterapi_http._config import flag_of, options

DOCUMENT = Path(__file__).parent.parent / "docs" / "operations.md"
BEGIN, END = "<!-- options: made by tests/options_table.py -->\n", "<!-- end of options -->\n"


def _default(entry: dataclasses.Field[Any]) -> str:
    if entry.default is dataclasses.MISSING or entry.default in (None, ""):
        return ""
    if isinstance(entry.default, bool):
        return "on" if entry.default else "off"
    return f"`{entry.default}`"


def table() -> str:
    """Two tables: options and limits."""
    hints = typing.get_type_hints(Config)
    rows = ["| option | default | |", "|---|---|---|"]
    for entry in options():
        name = f"`--{flag_of(entry)}`"
        if _strip_none(hints[entry.name]) is bool and not entry.metadata["takes_value"]:
            name += f", `--no-{flag_of(entry)}`"
        text = entry.metadata["help"].replace("|", "\\|")
        rows.append(f"| {name} | {_default(entry)} | {text} |")
    rows += ["", "| limit | default |", "|---|---|"]
    for limit in dataclasses.fields(Limits):
        rows.append(f"| `--limit-{limit.name.replace('_', '-')}` | `{limit.default}` |")
    return "\n".join(rows) + "\n"


def document_with(made: str) -> str:
    """The document with its tables replaced."""
    text = DOCUMENT.read_text()
    before, _, rest = text.partition(BEGIN)
    _, _, after = rest.partition(END)
    return before + BEGIN + made + END + after


if __name__ == "__main__":
    DOCUMENT.write_text(document_with(table()))
