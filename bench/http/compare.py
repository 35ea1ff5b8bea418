"""What does a request cost the server, ours beside its installed peers? ``python3 dev.py bench http [--quick]``

One server process on the first core, the load (load.cpp, 64 keep-alive connections) on the last one, rounds
alternating between the servers. The figure is CPU time of the whole server process tree per answered request:
it stays meaningful where the load generator is the bottleneck. Every answer must be a 2xx.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parent), str(HERE)]

import report  # noqa: E402
from load import build_load, measure  # noqa: E402

ITEM = json.dumps(
    {
        "id": 7,
        "name": "teapot",
        "description": "brown, for two",
        "price": 24.5,
        "tax": 4.65,
        "in_stock": True,
        "tags": ["kitchen", "tea"],
        "lines": [{"sku": "T-1", "qty": 2, "unit_price": 12.25}],
    }
).encode()


def get(path: str) -> bytes:
    return f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nUser-Agent: load\r\nAccept: */*\r\n\r\n".encode()


POST = (
    b"POST /items HTTP/1.1\r\nHost: 127.0.0.1\r\nUser-Agent: load\r\nAccept: */*\r\nContent-Type: application/json\r\n"
    b"Content-Length: %d\r\n\r\n" % len(ITEM)
) + ITEM

WORKLOADS: dict[str, tuple[bytes, int]] = {
    "a: async, small JSON": (get("/"), 1),
    "as: sync, small JSON": (get("/sync"), 1),
    "b: typed path parameter": (get("/users/1234"), 1),
    "c: POST, Pydantic in and out": (POST, 1),
    "d: one real await": (get("/sleep0"), 1),
    "e: 1 KB text": (get("/text"), 1),
    "f: 10 KB list of dicts": (get("/list"), 1),
    "p: (a) pipelined 16 deep": (get("/"), 16),
}
RAW = ("a: async, small JSON", "e: 1 KB text", "p: (a) pipelined 16 deep")
SERVERS: dict[str, tuple[list[str], dict[str, str], str]] = {
    "FasterAPI": (["fasterapi_app.py"], {}, "fasterapi"),
    "FastAPI+uvicorn": (["fastapi_app.py"], {}, "fastapi"),
    "http ASGI": (["asgi_raw.py"], {"SERVER": "fasterapi_http"}, "fasterapi-http"),
    "uvicorn ASGI": (["asgi_raw.py"], {"SERVER": "uvicorn"}, "uvicorn"),
    "granian ASGI": (["asgi_raw.py"], {"SERVER": "granian"}, "granian"),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("servers", nargs="*", help=f"some of: {', '.join(SERVERS)}")
    parser.add_argument("--seconds", type=float, default=3.0)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--quick", action="store_true", help="one round of one second")
    arguments = parser.parse_args()
    rounds, seconds = (1, 1.0) if arguments.quick else (arguments.rounds, arguments.seconds)
    chosen = [name for name in SERVERS if not arguments.servers or name in arguments.servers]
    versions = {SERVERS[name][2]: report.version(SERVERS[name][2]) for name in chosen}
    chosen = [name for name in chosen if versions[SERVERS[name][2]]]
    runs: dict[tuple[str, str], list[dict[str, Any]]] = {}
    with tempfile.TemporaryDirectory() as folder:
        binary = build_load(folder)
        for number in range(rounds):
            for name in chosen:
                script, env, _ = SERVERS[name]
                port = report.free_port()
                command = [sys.executable, str(HERE / "servers" / script[0]), *script[1:]]
                try:
                    with report.process(command, port, env) as pid:
                        time.sleep(0.3)
                        measure(binary, port, pid, get("/"), 1, 0.3)  # warm-up
                        for workload, (request, depth) in WORKLOADS.items():
                            if "raw" in script[0] and workload not in RAW:
                                continue
                            result = measure(binary, port, pid, request, depth, seconds)
                            runs.setdefault((workload, name), []).append(result)
                            print(
                                f"round {number + 1}  {name:16} {workload:30} {result['cpu_us']:8.2f} CPU us"
                                f" {result['per_second']:10,.0f}/s  p99 {result['p99_us']:8,.0f} us",
                                flush=True,
                            )
                except RuntimeError as error:
                    print(f"{name}: {error}", flush=True)
    cells = {key: report.middle([run["cpu_us"] for run in found]) for key, found in runs.items()}
    details = [{"workload": w, "server": s, "runs": found} for (w, s), found in runs.items()]
    report.publish(
        "http",
        "HTTP: server CPU time per request",
        list(WORKLOADS),
        chosen,
        cells,
        "CPU us per request",
        details,
        versions,
    )


if __name__ == "__main__":
    main()
