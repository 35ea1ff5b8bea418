"""Restarting the server when a source file changes."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterable, Sequence
from pathlib import Path

PAUSE = 0.4  # seconds between two looks at the files
STOP_TIMEOUT = 5.0  # seconds the old process gets to finish
_IGNORED = {".git", ".venv", "venv", "node_modules", "__pycache__", ".tox", ".mypy_cache", ".ruff_cache"}


def stamps(folders: Iterable[Path], suffixes: Sequence[str] = (".py", ".html", ".env")) -> dict[str, int]:
    """Return the modification times of the sources below ``folders``."""
    found: dict[str, int] = {}
    for folder in folders:
        for parent, names, files in os.walk(folder):
            names[:] = [name for name in names if name not in _IGNORED]
            for file in files:
                if file.endswith(tuple(suffixes)):
                    path = os.path.join(parent, file)
                    try:
                        found[path] = os.stat(path).st_mtime_ns
                    except OSError:
                        continue
    return found


def run_with_reload(command: Sequence[str], folders: Sequence[Path]) -> int:
    """Run ``command`` and start it anew after every change, until it is interrupted; return its last exit
    status.
    """
    stopping = False

    def stop(number: int, frame: object) -> None:
        nonlocal stopping
        stopping = True

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, stop)
    before = stamps(folders)
    process = subprocess.Popen(command)
    try:
        while not stopping:
            time.sleep(PAUSE)
            after = stamps(folders)
            changed = sorted(path for path in {**before, **after} if before.get(path) != after.get(path))
            if not changed:
                continue
            before = after
            print(f"{os.path.relpath(changed[0])} changed, restarting", file=sys.stderr, flush=True)
            _end(process)
            process = subprocess.Popen(command)
    finally:
        _end(process)
    return process.returncode


def _end(process: subprocess.Popen[bytes]) -> None:
    if process.poll() is not None:
        return
    process.terminate()
    try:
        process.wait(STOP_TIMEOUT)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
