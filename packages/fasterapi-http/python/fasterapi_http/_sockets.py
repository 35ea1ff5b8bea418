"""Listening sockets: bound from the options, inherited from the parent process, or handed over by systemd."""

from __future__ import annotations

import os
import socket
from collections.abc import Mapping, MutableMapping, Sequence

from ._config import Config

INHERIT = "FASTERAPI_HTTP_INHERIT"
"""Environment of a process that takes over: comma separated descriptors of the listening sockets."""
_SYSTEMD_FIRST = 3  # sd_listen_fds(3): SD_LISTEN_FDS_START


def bind(config: Config, environ: MutableMapping[str, str] = os.environ) -> list[socket.socket]:
    """The sockets to accept from, listening and non-blocking.

    In this order: those of the process that this one replaces, ``config.fd``, ``config.uds``, those of systemd's socket
    activation, ``config.host`` and ``config.port``. Raises OSError with a message for the log.
    """
    inherited = environ.pop(INHERIT, None)
    activated = systemd_sockets(environ)
    if inherited is not None:
        found = [socket.socket(fileno=int(number)) for number in inherited.split(",") if number]
    elif config.fd is not None:
        try:
            found = [socket.socket(fileno=os.dup(config.fd))]
        except OSError as error:
            raise OSError(error.errno, f"cannot use descriptor {config.fd}: {error.strerror}") from None
    elif config.uds is not None:
        found = [bind_unix(config.uds)]
    elif activated:
        found = list(activated.values())
    else:
        found = bind_tcp(config.host, config.port)
    for sock in found:
        sock.setblocking(False)
        sock.set_inheritable(False)
        sock.listen(config.backlog)
    return found


def bind_tcp(host: str, port: int, *, reuse_port: bool = False) -> list[socket.socket]:
    """A socket for each address of ``host``, all on one port."""
    bound: list[socket.socket] = []
    try:
        try:
            found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        except socket.gaierror as error:
            raise OSError(error.errno, error.strerror) from None
        for family, kind, proto, _, address in dict.fromkeys(found):
            sock = socket.socket(family, kind, proto)
            bound.append(sock)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if reuse_port:
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
            if family == socket.AF_INET6:
                sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            if port == 0 and len(bound) > 1:  # "localhost" is two addresses, one port
                sock.bind((address[0], bound[0].getsockname()[1], *address[2:]))
            else:
                sock.bind(address)
    except OSError as error:
        for sock in bound:
            sock.close()
        raise OSError(error.errno, f"cannot listen on {host}:{port}: {error.strerror}") from None
    return bound


def bind_unix(path: str) -> socket.socket:
    """A UNIX socket; a file that a process left behind is removed, one that is listened on is an error."""
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        if os.path.exists(path):
            probe = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            with probe:
                if probe.connect_ex(path) != 0:
                    os.unlink(path)
        sock.bind(path)
    except OSError as error:
        sock.close()
        raise OSError(error.errno, f"cannot listen on {path}: {error.strerror}") from None
    except BaseException:
        sock.close()
        raise
    return sock


def systemd_sockets(environ: MutableMapping[str, str] = os.environ) -> Mapping[str, socket.socket]:
    """What socket activation gave to this process, by name (``FileDescriptorName=``, made unique by ``#2``, ...).

    The variables are taken out of the environment, so that child processes do not see them.
    """
    pid, count = environ.pop("LISTEN_PID", ""), environ.pop("LISTEN_FDS", "")
    names = environ.pop("LISTEN_FDNAMES", "").split(":")
    if pid != str(os.getpid()) or not count.isdigit():
        return {}
    found: dict[str, socket.socket] = {}
    for index in range(int(count)):
        name = names[index] if index < len(names) and names[index] else "unknown"
        unique, number = name, 2
        while unique in found:
            unique, number = f"{name}#{number}", number + 1
        found[unique] = socket.socket(fileno=_SYSTEMD_FIRST + index)
    return found


def address_of(sockets: Sequence[socket.socket], scheme: str = "http") -> str:
    """How a person would reach the first of the sockets."""
    for sock in sockets:
        name = sock.getsockname()
        if sock.family == socket.AF_UNIX:
            return f"unix socket {name}"
        host, port = name[0], name[1]
        return (
            f"{scheme}://[{host}]:{port}" if sock.family == socket.AF_INET6 else f"{scheme}://{host}:{port}"
        )
    return "nothing"
