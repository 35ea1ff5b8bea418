"""Writes the figures of README.md from bench/measured/*.json: ``python3 bench/figures.py``.

To measure anew: ``python3 dev.py bench http`` (pg, mcp), then copy bench/results/* to bench/measured/.
"""

from __future__ import annotations

import json
import statistics
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
MEASURED = ROOT / "bench" / "measured"
BEGIN, END = "<!-- figures: bench/figures.py -->\n", "<!-- end of figures -->\n"
TITLES = {
    "http": "HTTP: server CPU microseconds per request, one worker, 64 keep-alive connections",
    "pg": "PostgreSQL: client CPU microseconds per query (per row for executemany), UNIX socket",
    "mcp": "MCP: server CPU microseconds per `tools/call` of add(a, b)",
}


def render(name: str) -> str:
    """One table in Markdown."""
    document: dict[str, Any] = json.loads((MEASURED / f"{name}.json").read_text())
    cells: dict[tuple[str, str], float] = {}
    for entry in document["details"]:
        column = entry.get("server") or entry["driver"]
        cells[entry["workload"], column] = statistics.median(run["cpu_us"] for run in entry["runs"])
    columns = list(dict.fromkeys(column for _, column in cells))
    rows = list(dict.fromkeys(row for row, _ in cells))
    lines = [f"{TITLES[name]}:\n", "| | " + " | ".join(columns) + " |", "|---|" + "--:|" * len(columns)]
    for row in rows:
        values = [cells.get((row, column)) for column in columns]
        shown = ["" if v is None else f"{v:,.1f}" if v < 100 else f"{v:,.0f}" for v in values]
        lines.append(f"| {row} | " + " | ".join(shown) + " |")
    machine = document["machine"]
    versions = ", ".join(
        f"{k} {v}" for k, v in document["versions"].items() if v and not k.startswith("fasterapi")
    )
    runs = max(len(entry["runs"]) for entry in document["details"])
    lines.append(
        f"\n{machine['date']}, {machine['cpu']}, {machine['cores']} cores, Python {machine['python']}, "
        f"load average {machine['load_average']}, rounds: {runs}; {versions}.\n"
    )
    return "\n".join(lines)


def section() -> str:
    """All tables."""
    return "\n".join(render(name) for name in TITLES if (MEASURED / f"{name}.json").exists())


def main() -> None:
    readme = ROOT / "README.md"
    text = readme.read_text()
    head, rest = text.split(BEGIN)
    readme.write_text(head + BEGIN + section() + END + rest.split(END)[1])


if __name__ == "__main__":
    main()
