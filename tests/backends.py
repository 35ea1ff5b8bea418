"""Runs the reactor's behaviour suite over every backend that this machine can run or build.

python3 tests/backends.py [BUILD_FOLDER]

- epoll, io_uring and the kqueue double: the native tests of core, in the tree that `dev.py native` has built
- IOCP: the same suite as a Windows program under wine, where g++-mingw-w64-x86-64-posix, wine and googletest's
  sources are installed
- kqueue: core's reactor and streams compiled and linked for macOS and FreeBSD, where the ziglang package is

What cannot run here is skipped with one line that says why; what fails makes the exit status 1. At most 230 s.
"""

from __future__ import annotations

import importlib.util
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
CORE = ROOT / "packages" / "fasterapi-core"
GTEST = Path("/usr/src/googletest")
PATH = os.pathsep.join(
    [str(Path(sys.executable).parent), os.environ.get("PATH", "")]
)  # cmake of our environment
ENDS = time.monotonic() + 230
# What fails under wine and could not be tried on Windows: what follows a peer's reset (wineserver may take the error
# from the socket), and a turn of at most 5 ms (8.8 ms were seen).
NOT_UNDER_WINE = (
    "*a_turn_ends_after_its_timeout*:*a_reset_*:*hangup_without_being_asked*:*gives_up_when_the_peer_resets*"
)
BACKENDS = "Backends/*:Uring*:Scripted.*:Completing.*:MakeBackend.*"


class Failed(Exception):
    """A step that could run here and did not succeed."""


class Late(Exception):
    """The time of the whole run is over."""


def run(*command: str | Path, env: dict[str, str] | None = None) -> str:
    left = ENDS - time.monotonic()
    if left < 1:
        raise Late
    words = [str(word) for word in command]
    # A session of its own, so that what the command has started ends with it.
    with subprocess.Popen(
        words,
        env={**os.environ, "PATH": PATH, **(env or {})},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        start_new_session=True,
    ) as process:
        try:
            output, _ = process.communicate(timeout=left)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            raise Late from None
    if process.returncode:
        raise Failed(f"{' '.join(words[:4])} ...: exit status {process.returncode}\n{output[-6000:]}")
    return output


def totals(output: str) -> str:
    lines = [
        line for line in output.splitlines() if "PASSED" in line or ("tests from" in line and "ran." in line)
    ]
    return "; ".join(line.split("] ")[-1].strip() for line in lines[-2:])


def cmake(build: Path, *options: str) -> None:
    generator = ["-G", "Ninja"] if shutil.which("ninja", path=PATH) else []
    launcher = ["-DCMAKE_CXX_COMPILER_LAUNCHER=ccache"] if shutil.which("ccache") else []
    common = ["-DFASTERAPI_PYTHON=OFF", "-DFASTERAPI_TLS=OFF", "-DCMAKE_BUILD_TYPE=Debug"]
    run("cmake", "-S", CORE, "-B", build, *generator, *launcher, *common, *options)
    run("cmake", "--build", build, "-j", str(os.cpu_count() or 2))


def here(build: Path) -> str:
    program = next((path for path in build.rglob("core_tests") if path.is_file()), None)
    if program is None:
        raise Failed(f"no core_tests below {build}: run dev.py native first")
    output = run(program, f"--gtest_filter={BACKENDS}")
    refused = [line for line in output.splitlines() if line.startswith("not tested: ")]
    return "; ".join([totals(output), *refused])


def iocp(build: Path) -> str:
    for tool in ("x86_64-w64-mingw32-g++-posix", "wine"):
        if shutil.which(tool) is None:
            return f"skipped: {tool} is not installed"
    if not GTEST.exists():
        return f"skipped: no {GTEST} (libgtest-dev)"
    home = build / "iocp"
    home.mkdir(parents=True, exist_ok=True)
    toolchain = home / "toolchain.cmake"
    toolchain.write_text(
        "set(CMAKE_SYSTEM_NAME Windows)\n"
        "set(CMAKE_SYSTEM_PROCESSOR x86_64)\n"
        "set(CMAKE_C_COMPILER x86_64-w64-mingw32-gcc-posix)\n"
        "set(CMAKE_CXX_COMPILER x86_64-w64-mingw32-g++-posix)\n"
        "set(CMAKE_FIND_ROOT_PATH_MODE_LIBRARY ONLY)\n"
        "set(CMAKE_FIND_ROOT_PATH_MODE_INCLUDE ONLY)\n"
        "set(CMAKE_EXE_LINKER_FLAGS_INIT -static)\n"
    )
    chosen = f"-DCMAKE_TOOLCHAIN_FILE={toolchain}"
    prefix = f"-DCMAKE_INSTALL_PREFIX={home / 'prefix'}"
    run("cmake", "-S", GTEST, "-B", home / "gtest", chosen, prefix, "-DBUILD_GMOCK=OFF")
    run("cmake", "--build", home / "gtest", "--target", "install")
    cmake(
        home / "core",
        chosen,
        f"-DGTest_ROOT={home / 'prefix'}",
        "-DFASTERAPI_CORE_STATIC=ON",
        "-DFASTERAPI_TESTS=ON",
        "-DCMAKE_GTEST_DISCOVER_TESTS_DISCOVERY_MODE=PRE_TEST",
    )
    env = {"WINEPREFIX": str(home / "wine"), "WINEDEBUG": "-all", "DISPLAY": ""}
    output = run(
        "wine", home / "core" / "core_tests.exe", f"--gtest_filter={BACKENDS}:-{NOT_UNDER_WINE}", env=env
    )
    return totals(output)


def kqueue(build: Path, target: str, system: str) -> str:
    if importlib.util.find_spec("ziglang") is None:
        return "skipped: the ziglang package is not installed"
    home = build / target
    home.mkdir(parents=True, exist_ok=True)
    compiler = home / "c++"
    cache = build / "zig"  # of the C libraries that zig builds
    command = f'exec "{sys.executable}" -m ziglang c++ -target {target} "$@"'
    compiler.write_text(f'#!/bin/sh\nexport ZIG_GLOBAL_CACHE_DIR="{cache}"\n{command}\n')
    compiler.chmod(0o755)
    defined = (
        "" if system == "Darwin" else "-Wl,-z,defs"
    )  # a macOS library may not have undefined symbols anyway
    cmake(
        home / "core",
        f"-DCMAKE_SYSTEM_NAME={system}",
        f"-DCMAKE_CXX_COMPILER={compiler}",
        "-DCMAKE_TRY_COMPILE_TARGET_TYPE=STATIC_LIBRARY",
        "-DTHREADS_PREFER_PTHREAD_FLAG=ON",
        "-DCMAKE_CXX_SCAN_FOR_MODULES=OFF",
        f"-DCMAKE_SHARED_LINKER_FLAGS={defined}",
    )
    return "compiled and linked"


def main(arguments: list[str]) -> int:
    native = Path(arguments[0] if arguments else ROOT / "build" / "native").resolve()
    cross = native.parent / "backends"
    steps: dict[str, Callable[[], str]] = {
        "epoll, io_uring, kqueue double": lambda: here(native),
        "iocp under wine": lambda: iocp(cross),
        "kqueue for macOS": lambda: kqueue(cross, "aarch64-macos", "Darwin"),
        "kqueue for FreeBSD": lambda: kqueue(cross, "x86_64-freebsd", "FreeBSD"),
    }
    status = 0
    for name, step in steps.items():
        began = time.monotonic()
        try:
            verdict = step()
        except Failed as failure:
            verdict, status = f"FAILED: {failure}", 1
        except Late:
            verdict = "skipped: the time of this run was over"
        print(f"{name}: {verdict} ({time.monotonic() - began:.0f} s)", flush=True)
    return status


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
