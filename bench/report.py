"""What the comparisons share: processes and their CPU time, a table, JSON with the machine, and a plot in SVG."""

from __future__ import annotations

import contextlib
import html
import importlib.metadata
import json
import os
import platform
import signal
import socket
import statistics
import subprocess
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).resolve().parent / "results"
CORES = sorted(os.sched_getaffinity(0))
SERVER_CORE, LOAD_CORE = CORES[0], CORES[-1]


def cpu_seconds(pid: int) -> float:
    """CPU time of a process and its children, of all their threads, as the scheduler counts it (ns)."""
    total = 0
    todo = [pid]
    while todo:
        each = todo.pop()
        with contextlib.suppress(OSError):
            for task in Path(f"/proc/{each}/task").iterdir():
                total += int((task / "schedstat").read_text().split()[0])
                todo += [int(child) for child in (task / "children").read_text().split()]
    return total / 1e9


def rss_kib(pid: int) -> int:
    """Resident memory of a process and its children."""
    total = 0
    todo = [pid]
    while todo:
        each = todo.pop()
        with contextlib.suppress(OSError):
            for line in Path(f"/proc/{each}/status").read_text().splitlines():
                if line.startswith("VmRSS:"):
                    total += int(line.split()[1])
            for task in Path(f"/proc/{each}/task").iterdir():
                todo += [int(child) for child in (task / "children").read_text().split()]
    return total


def free_port() -> int:
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return int(s.getsockname()[1])


@contextlib.contextmanager
def process(
    command: Sequence[str], port: int, env: dict[str, str] | None = None, core: int = SERVER_CORE
) -> Iterator[int]:
    """Runs a server on one core until the block ends; entered when its port accepts. Gives its process id."""
    child = subprocess.Popen(
        command,
        env={**os.environ, "PORT": str(port), **(env or {})},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE if not os.environ.get("VERBOSE") else None,
        start_new_session=True,
        preexec_fn=lambda: os.sched_setaffinity(0, {core}),
    )
    try:
        deadline = time.monotonic() + 20
        while True:
            if child.poll() is not None or time.monotonic() > deadline:
                told = (
                    child.stderr.read().decode(errors="replace")[-1500:]
                    if child.stderr and child.poll() is not None
                    else ""
                )
                raise RuntimeError(f"{' '.join(command)}: did not start\n{told}")
            with contextlib.suppress(OSError):
                socket.create_connection(("127.0.0.1", port), 1).close()
                break
            time.sleep(0.02)
        yield child.pid
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(child.pid, signal.SIGTERM)
        try:
            child.wait(5)
        except subprocess.TimeoutExpired:
            os.killpg(child.pid, signal.SIGKILL)
            child.wait()


def version(distribution: str) -> str | None:
    """Version of an installed distribution, None when it is not installed."""
    try:
        return importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:
        return None


def machine() -> dict[str, Any]:
    """What a figure is worth without: where and with what it was measured."""
    model = next(
        (
            line.partition(":")[2].strip()
            for line in Path("/proc/cpuinfo").read_text().splitlines()
            if "model name" in line
        ),
        platform.machine(),
    )
    return {
        "cpu": model,
        "cores": len(CORES),
        "kernel": platform.release(),
        "python": platform.python_version(),
        "date": time.strftime("%Y-%m-%d"),
        "load_average": round(os.getloadavg()[0], 2),
    }


def middle(values: Sequence[float]) -> float:
    return statistics.median(values)


def table(rows: Sequence[str], columns: Sequence[str], cells: dict[tuple[str, str], float], unit: str) -> str:
    """A Markdown table; missing cells are '-'."""
    width = max(len(row) for row in rows)
    lines = [f"{unit:<{width}} | " + " | ".join(f"{c:>14}" for c in columns)]
    lines.append("-" * width + "-|-" + "-|-".join("-" * 14 for _ in columns))
    for row in rows:
        values = [cells.get((row, column)) for column in columns]
        shown = [f"{'-':>14}" if v is None else f"{v:>14,.2f}" if v < 100 else f"{v:>14,.0f}" for v in values]
        lines.append(f"{row:<{width}} | " + " | ".join(shown))
    return "\n".join(lines)


PALETTE = ("#0b7285", "#adb5bd", "#868e96", "#ced4da", "#495057", "#dee2e6", "#343a40")


def plot(
    title: str, rows: Sequence[str], columns: Sequence[str], cells: dict[tuple[str, str], float], unit: str
) -> str:
    """Grouped horizontal bars as SVG: one group per row, one bar per column; each group has its own scale."""
    bar, gap, left, width = 16, 18, 230, 560
    parts = []
    y = 64.0
    for row in rows:
        present = [(i, c, cells[row, c]) for i, c in enumerate(columns) if (row, c) in cells]
        if not present:
            continue
        top = max(value for _, _, value in present) or 1.0
        parts.append(f'<text x="8" y="{y + 12}" font-weight="bold">{html.escape(row)}</text>')
        for i, column, value in present:
            length = max(1.0, value / top * (width - 90))
            colour = PALETTE[i % len(PALETTE)]
            parts.append(
                f'<rect x="{left}" y="{y}" width="{length:.1f}" height="{bar - 3}" fill="{colour}"/>'
            )
            label = f"{value:,.2f}" if value < 100 else f"{value:,.0f}"
            parts.append(
                f'<text x="{left + length + 5:.1f}" y="{y + 11}">{label} {html.escape(column)}</text>'
            )
            y += bar
        y += gap
    head = f'<text x="8" y="24" font-size="16" font-weight="bold">{html.escape(title)}</text>'
    head += f'<text x="8" y="44" fill="#495057">{html.escape(unit)}; {html.escape(machine()["cpu"])}</text>'
    style = 'font-family="sans-serif" font-size="12"'
    size = f'width="{left + width + 200}" height="{y:.0f}" viewBox="0 0 {left + width + 200} {y:.0f}"'
    return f'<svg xmlns="http://www.w3.org/2000/svg" {size} {style}>{head}{"".join(parts)}</svg>\n'


def publish(
    name: str,
    title: str,
    rows: Sequence[str],
    columns: Sequence[str],
    cells: dict[tuple[str, str], float],
    unit: str,
    details: Any,
    versions: dict[str, str | None],
) -> None:
    """Prints the table, and writes results/NAME.json and results/NAME.svg."""
    print(f"\n{title}\n")
    print(table(rows, columns, cells, unit))
    RESULTS.mkdir(exist_ok=True)
    document = {"machine": machine(), "versions": versions, "unit": unit, "details": details}
    (RESULTS / f"{name}.json").write_text(json.dumps(document, indent=1) + "\n")
    (RESULTS / f"{name}.svg").write_text(plot(title, rows, columns, cells, unit))
    print(f"\nwritten: bench/results/{name}.json and .svg")
