"""The child of ``--reload``: ``python -m fasterapi_http._worker module:app FD`` with options in the environment."""

from __future__ import annotations

import os
import signal
import socket
import sys

from ._run import Options, configure_logging, serve


def main() -> int:
    """Serve on the inherited descriptor; returns the exit code."""
    options = Options.from_json(os.environ.pop("FASTERAPI_HTTP_WORKER"))
    configure_logging(options)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole group: the parent tells us
    return serve(sys.argv[1], options, [socket.socket(fileno=int(sys.argv[2]))], signals=[signal.SIGTERM])


if __name__ == "__main__":
    raise SystemExit(main())
