"""The child of ``--reload``: ``python -m fasterapi_http._worker FD,FD`` with its options in the environment."""

from __future__ import annotations

import os
import signal
import socket
import sys

from ._config import Config
from ._logs import configure_logging
from ._run import serve_here


def main() -> int:
    """Serve on the inherited descriptors; returns the exit code."""
    config = Config.from_json(os.environ.pop("FASTERAPI_HTTP_WORKER"))
    configure_logging(config)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole group: the parent tells us
    sockets = [socket.socket(fileno=int(number)) for number in sys.argv[1].split(",")]
    return serve_here(config, sockets, signals=[signal.SIGTERM])


if __name__ == "__main__":
    raise SystemExit(main())
