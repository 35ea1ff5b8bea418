"""``--reload``: a child process that is started anew whenever a source file changes; for development."""

from __future__ import annotations

import logging
import os
import signal
import subprocess
import sys
import time
from fnmatch import fnmatch

from ._config import BIND_FAILURE, Config
from ._sockets import bind

_log = logging.getLogger("fasterapi.error")
_INCLUDES = ("*.py",)
_EXCLUDES = (".*", ".py[cod]", ".sw.*", "~*", "__pycache__")
_EXTRA_GRACE = 5.0


class Sources:
    """The files that are watched, and when each was changed."""

    def __init__(self, config: Config) -> None:
        self.directories = config.reload_dirs or [config.app_dir or "."]
        self._includes = [*config.reload_includes, *_INCLUDES]
        excludes = [*config.reload_excludes, *(p for p in _EXCLUDES if p not in config.reload_includes)]
        self._excludes = [pattern for pattern in excludes if not os.path.isdir(pattern)]
        self._excluded = {os.path.realpath(pattern) for pattern in excludes if os.path.isdir(pattern)}

    def look(self) -> dict[str, float]:
        """Paths with their times of modification."""
        found: dict[str, float] = {}
        for top in self.directories:
            for where, folders, files in os.walk(top):
                folders[:] = [name for name in folders if not self._is_excluded(os.path.join(where, name))]
                for name in files:
                    path = os.path.join(where, name)
                    if not any(_matches(path, p) for p in self._includes) or self._is_excluded(path):
                        continue
                    try:
                        found[path] = os.stat(path).st_mtime
                    except OSError:
                        pass  # gone since: seen as a change
        return found

    def _is_excluded(self, path: str) -> bool:
        return any(_matches(path, p) for p in self._excludes) or os.path.realpath(path) in self._excluded


def _matches(path: str, pattern: str) -> bool:
    path = os.path.normpath(path)
    return fnmatch(os.path.basename(path), pattern) or fnmatch(path, pattern)


def run_reloading(config: Config) -> int:
    """Serve in a child process until SIGINT or SIGTERM; returns the exit code."""
    sources = Sources(config)
    try:
        sockets = bind(config)
    except OSError as error:
        _log.error("%s", error.strerror or error)
        return BIND_FAILURE
    numbers = [sock.fileno() for sock in sockets]
    _log.info(
        "Will watch for changes in these directories: %s", [os.path.abspath(d) for d in sources.directories]
    )
    environment = {**os.environ, "FASTERAPI_HTTP_WORKER": config.to_json()}
    stop: list[int] = []
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda got, _frame: stop.append(got))

    def start() -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            [sys.executable, "-m", "fasterapi_http._worker", ",".join(map(str, numbers))],
            env=environment,
            pass_fds=numbers,
        )

    def end(child: subprocess.Popen[bytes]) -> None:
        if child.poll() is None:
            child.terminate()
            try:
                child.wait(config.timeout_graceful_shutdown + _EXTRA_GRACE)
            except subprocess.TimeoutExpired:
                child.kill()
                child.wait()

    before = sources.look()
    child = start()
    try:
        while not stop:
            time.sleep(config.reload_delay)
            now = sources.look()
            if now != before:
                changed = sorted(path for path in {*now, *before} if now.get(path) != before.get(path))
                before = now
                _log.warning("Detected changes in %s. Reloading...", ", ".join(map(repr, changed[:5])))
                end(child)
                child = start()
    finally:
        end(child)
        for sock in sockets:
            sock.close()
        if config.uds is not None:
            try:
                os.unlink(config.uds)
            except OSError:
                pass
    return 0
