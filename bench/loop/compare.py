"""What does an echoed message cost on a loop, ours beside its peers? ``python3 dev.py bench loop [--quick]``

One server process on the first core; on the last one 16 connections that each send a message and wait for it to
come back. Rounds alternate between the loops. The figure is CPU time of the server per message: it stays
meaningful where the load is the bottleneck. Scheduling calls (call_soon, call_later) are measured in one process.
"""

from __future__ import annotations

import argparse
import datetime
import json
import os
import socket
import ssl
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parent), str(HERE)]

import report  # noqa: E402
from echo_server import LOOPS  # noqa: E402

MODES = ("protocol", "buffered", "streams", "sockets", "tls")
SIZES = {"1 KB": 1024, "10 KB": 10 * 1024, "100 KB": 100 * 1024}
RATES = ("call_soon", "call_later", "call_later + cancel")
DISTRIBUTIONS = {"fasterapi": "fasterapi-core", "uvloop": "uvloop", "rloop": "rloop"}


def certificate(folder: str) -> str:
    """A self-signed certificate and its key, in one file."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.x509.oid import NameOID

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    now = datetime.datetime.now(datetime.UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .sign(key, hashes.SHA256())
    )
    path = Path(folder, "certificate.pem")
    path.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        + made.public_bytes(serialization.Encoding.PEM)
    )
    return str(path)


def load(port: int, size: int, seconds: float, tls: bool, connections: int = 16) -> tuple[int, float]:
    """Messages echoed and the time they took."""
    message = os.urandom(size)
    into = bytearray(size)
    socks: list[Any] = []
    for _ in range(connections):
        sock: Any = socket.create_connection(("127.0.0.1", port))
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if tls:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
            sock = context.wrap_socket(sock)
        socks.append(sock)
    count = 0
    started = time.perf_counter()
    while time.perf_counter() - started < seconds:
        for sock in socks:
            sock.sendall(message)
        for sock in socks:
            got = 0
            view = memoryview(into)
            while got < size:
                n = sock.recv_into(view[got:])
                if n == 0:
                    raise RuntimeError("the server closed the connection")
                got += n
            if into != message:
                raise RuntimeError("what came back is not what was sent")
        count += connections
    elapsed = time.perf_counter() - started
    for sock in socks:
        sock.close()
    return count, elapsed


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("modes", nargs="*", help=f"some of: {', '.join((*MODES, 'rates'))}")
    parser.add_argument("--loops", default=",".join(LOOPS))
    parser.add_argument("--seconds", type=float, default=2.0)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--quick", action="store_true", help="one round of half a second each")
    arguments = parser.parse_args()
    rounds, seconds = (1, 0.5) if arguments.quick else (arguments.rounds, arguments.seconds)
    modes = arguments.modes or [*MODES, "rates"]
    versions: dict[str, str | None] = {d: report.version(d) for d in DISTRIBUTIONS.values()}
    loops = [
        name
        for name in arguments.loops.split(",")
        if name not in DISTRIBUTIONS or versions[DISTRIBUTIONS[name]]
    ]
    os.sched_setaffinity(0, {report.LOAD_CORE})
    found: dict[tuple[str, str], list[dict[str, float]]] = {}
    with tempfile.TemporaryDirectory() as folder:
        env = {"CERTIFICATE": certificate(folder) if "tls" in modes else ""}
        for number in range(rounds):
            for mode in modes:
                for size_name, size in SIZES.items() if mode != "rates" else []:
                    row = f"{mode}, {size_name}"
                    for name in loops:
                        port = report.free_port()
                        command = [sys.executable, str(HERE / "echo_server.py"), name, mode]
                        try:
                            with report.process(command, port, env) as pid:
                                load(port, size, 0.1, mode == "tls")  # warm-up
                                before = report.cpu_seconds(pid)
                                count, elapsed = load(port, size, seconds, mode == "tls")
                                cost = (report.cpu_seconds(pid) - before) / count * 1e6
                        except RuntimeError as error:  # rloop has no TLS
                            print(f"{row} {name}: {str(error).splitlines()[-1]}", flush=True)
                            continue
                        found.setdefault((row, name), []).append(
                            {"cpu_us": cost, "per_second": count / elapsed}
                        )
                        print(
                            f"round {number + 1}  {row:20} {name:10} {cost:8.2f} CPU us {count / elapsed:10,.0f}/s",
                            flush=True,
                        )
                if mode == "rates":
                    for name in loops:
                        done = subprocess.run(
                            [sys.executable, str(HERE / "echo_server.py"), name, "rates"],
                            capture_output=True,
                            text=True,
                            check=True,
                        )
                        for rate, nanos in json.loads(done.stdout).items():
                            found.setdefault((rate, name), []).append(
                                {"cpu_us": nanos / 1000, "per_second": 1e9 / nanos}
                            )
                            print(f"round {number + 1}  {rate:20} {name:10} {nanos:8.0f} CPU ns", flush=True)
    cells = {key: report.middle([run["cpu_us"] for run in runs]) for key, runs in found.items()}
    rows = list(dict.fromkeys(row for row, _ in found))
    details = [{"workload": row, "loop": name, "runs": runs} for (row, name), runs in found.items()]
    report.publish(
        "loop",
        "Event loop: CPU time per echoed message or call",
        rows,
        loops,
        cells,
        "CPU us",
        details,
        versions,
    )


if __name__ == "__main__":
    main()
