"""sd_notify(3) without a library: datagrams to the socket that systemd names in NOTIFY_SOCKET."""

from __future__ import annotations

import os
import socket


def send(*assignments: str) -> bool:
    """Tell systemd, for instance ``send("READY=1")``; False when nobody wants to know or it cannot be told."""
    path = os.environ.get("NOTIFY_SOCKET", "")
    if not path or path[0] not in "/@":
        return False
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as sock:
            sock.setblocking(False)  # a manager that does not read must not hold us up
            sock.connect("\0" + path[1:] if path[0] == "@" else path)
            sock.send("\n".join(assignments).encode())
    except OSError:
        return False
    return True


def watchdog_seconds() -> float | None:
    """How often systemd wants a sign of life of this process at least; None when it does not."""
    text = os.environ.get("WATCHDOG_USEC", "")
    pid = os.environ.get("WATCHDOG_PID", "")
    if not text.isdigit() or int(text) == 0 or (pid and pid != str(os.getpid())):
        return None
    return int(text) / 1e6
