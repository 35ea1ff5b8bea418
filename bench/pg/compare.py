"""What does a query cost the client, ours beside its installed peers? ``python3 dev.py bench pg [--quick]``

PostgreSQL (started here, UNIX socket) runs on the last core, the client on the first one, one driver at a time,
rounds alternating. asyncpg and psycopg run on uvloop, ours on its own loop.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from fasterapi.demo.postgres import postgres

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))

import report  # noqa: E402

DRIVERS = {
    "fasterapi-pg": "fasterapi-pg",
    "asyncpg": "asyncpg",
    "psycopg": "psycopg",
    "fasterapi-pg-blocking": "fasterapi-pg",
    "psycopg-blocking": "psycopg",
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("drivers", nargs="*", help=f"some of: {', '.join(DRIVERS)}")
    parser.add_argument("--seconds", type=float, default=1.0, help="per workload")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--quick", action="store_true", help="one round of 0.3 s per workload")
    arguments = parser.parse_args()
    rounds, seconds = (1, 0.3) if arguments.quick else (arguments.rounds, arguments.seconds)
    chosen = [name for name in DRIVERS if not arguments.drivers or name in arguments.drivers]
    versions = {DRIVERS[name]: report.version(DRIVERS[name]) for name in chosen}
    chosen = [name for name in chosen if versions[DRIVERS[name]]]
    runs: dict[tuple[str, str], list[dict[str, Any]]] = {}
    os.sched_setaffinity(0, {report.LOAD_CORE})  # inherited by the server
    with postgres() as server:
        for number in range(rounds):
            for name in chosen:
                done = subprocess.run(
                    [sys.executable, str(HERE / "drivers.py"), name, server.dsn, str(seconds)],
                    stdout=subprocess.PIPE,
                    preexec_fn=lambda: os.sched_setaffinity(0, {report.SERVER_CORE}),
                )
                if done.returncode:
                    print(f"{name}: failed", flush=True)
                    continue
                for workload, result in json.loads(done.stdout).items():
                    runs.setdefault((workload, name), []).append(result)
                    print(
                        f"round {number + 1}  {name:22} {workload:30} {result['cpu_us']:10.2f} CPU us"
                        f" {result['per_second']:10,.0f}/s",
                        flush=True,
                    )
        versions["PostgreSQL"] = server.source
    workloads = list(dict.fromkeys(workload for workload, _ in runs))
    cells = {key: report.middle([run["cpu_us"] for run in found]) for key, found in runs.items()}
    details = [{"workload": w, "driver": d, "runs": found} for (w, d), found in runs.items()]
    title = "PostgreSQL: client CPU time per query (per row for executemany)"
    report.publish("pg", title, workloads, chosen, cells, "CPU us", details, versions)


if __name__ == "__main__":
    main()
