#!/usr/bin/env python3
"""The front door for developers: sets everything up by itself, then does one thing.

  python3 dev.py demo [--serve]     the store: PostgreSQL, HTTP and MCP in one process, exercised by real clients
  python3 dev.py test [ARGS]        Python tests of all packages and the native ones (ARGS: only pytest, with them)
  python3 dev.py native             the native tests alone (SANITIZE=address,undefined in the environment for those);
                                    --backends: and then what `backends` does
  python3 dev.py backends           the reactor's suite over every backend that can run here, after `native`; brings
                                    wine, a compiler for Windows and ziglang where that is possible
  python3 dev.py build [--force]    core first, then http, pg and mcp side by side, then fasterapi
  python3 dev.py lint [--fix]       ruff
  python3 dev.py format [PATHS]     clang-format and ruff format, in place; by default what git says is changed
  python3 dev.py types              mypy --strict
  python3 dev.py bench http|ws|loop|pg|mcp|micro [ARGS]   beside installed peers; a table, JSON and a plot
  python3 dev.py wheels [--check]   dist/*.whl of all five; --check installs them into empty environments
  python3 dev.py all                what CI does: lint, types, test, wheels --check, demo
  python3 dev.py clean              removes .venv, build/ and dist/

Needs Python 3.11 or newer and a C++20 compiler; the standard library only. System packages that are missing are
installed through apt where that is allowed, else the line to run is printed. Environment: FASTERAPI_VENV (where the
virtual environment goes), FASTERAPI_JOBS (compilers at a time), VERBOSE=1 (all output of the builds).
"""

from __future__ import annotations

import sys

if sys.version_info < (3, 11):  # before anything that an older Python could not even import
    sys.exit(
        "dev.py needs Python 3.11 or newer; this is Python %d.%d (%s).\n"
        "Run it with a newer one, for example: python3.12 dev.py demo"
        % (*sys.version_info[:2], sys.executable)
    )

import hashlib
import os
import platform
import re
import shutil
import subprocess
import sysconfig
import tempfile
import threading
import time
import tomllib
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

ROOT = Path(__file__).resolve().parent
VENV = Path(os.environ.get("FASTERAPI_VENV", ROOT / ".venv"))
PYTHON = VENV / "bin" / "python"
TAG = f"cp{sys.version_info[0]}{sys.version_info[1]}"
BUILD = ROOT / "build" / TAG
DIST = ROOT / "dist"
NATIVE = ("core", "http", "pg", "mcp")
JOBS = int(os.environ.get("FASTERAPI_JOBS", 0)) or os.cpu_count() or 2
VERBOSE = os.environ.get("VERBOSE", "") not in ("", "0")
TTY = sys.stdout.isatty()


class Failure(Exception):
    """Ends dev.py with a message and no traceback."""


def say(text: str) -> None:
    print(text, flush=True)


def package(name: str) -> Path:
    return ROOT / "packages" / ("fasterapi" if name == "fasterapi" else f"fasterapi-{name}")


# ---- processes


def environment() -> dict[str, str]:
    env = dict(os.environ)
    env.pop("PYTHONHOME", None)
    env["VIRTUAL_ENV"] = str(VENV)
    env["PATH"] = f"{VENV / 'bin'}{os.pathsep}{env.get('PATH', '')}"
    env["PIP_DISABLE_PIP_VERSION_CHECK"] = "1"
    env.setdefault("CMAKE_BUILD_PARALLEL_LEVEL", str(JOBS))
    if shutil.which("ccache"):
        env.setdefault("CMAKE_CXX_COMPILER_LAUNCHER", "ccache")
    return env


class Progress:
    """One line that tells what runs: rewritten on a terminal, repeated now and then in a log."""

    def __init__(self, title: str) -> None:
        self.title = title
        self.states: dict[str, str] = {}
        self.began = time.monotonic()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._show, daemon=True)

    def __enter__(self) -> Progress:
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        self._stop.set()
        self._thread.join()
        if TTY:
            print("\r\x1b[K", end="")
        verdict = "failed after" if kind else "done in"
        say(f"{self.title}: {verdict} {time.monotonic() - self.began:.1f} s")

    def _show(self) -> None:
        while not self._stop.wait(0.5 if TTY else 15):
            parts = "  ".join(f"{name} {state}" for name, state in self.states.items())
            line = f"{self.title}: {time.monotonic() - self.began:.0f} s  {parts}"
            if TTY:
                print(f"\r\x1b[K{line[: shutil.get_terminal_size().columns - 1]}", end="", flush=True)
            else:
                say(line)


def run_logged(
    name: str,
    command: Sequence[str | Path],
    progress: Progress | None = None,
    cwd: Path = ROOT,
    env: dict[str, str] | None = None,
) -> None:
    """Runs a command whose output matters only when it fails."""
    lines: list[str] = []
    process = subprocess.Popen(
        [str(part) for part in command], cwd=cwd, env=env or environment(), stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace",
    )  # fmt: skip
    assert process.stdout is not None
    for line in process.stdout:
        lines.append(line)
        if VERBOSE:
            print(f"[{name}] {line}", end="", flush=True)
        step = re.search(r"\[(\d+)/(\d+)\]", line)
        if step and progress is not None:
            progress.states[name] = f"{step[1]}/{step[2]}"
    if process.wait() != 0:
        errors = [line for line in lines if re.search(r"\berror: |Error: |FAILED: ", line)][:20]
        raise Failure(
            f"{name} failed ({' '.join(str(part) for part in command[:6])} ...)\n"
            + "".join(lines[-60:])
            + ("---- errors:\n" + "".join(errors) if errors else "")
        )
    if progress is not None:
        progress.states[name] = "ok"


def run(*command: str | Path, env: dict[str, str] | None = None, cwd: Path = ROOT) -> int:
    """Runs a command in front of the user; its exit status."""
    return subprocess.run([str(part) for part in command], cwd=cwd, env=env or environment()).returncode


def must(*command: str | Path, env: dict[str, str] | None = None, cwd: Path = ROOT) -> None:
    if status := run(*command, env=env, cwd=cwd):
        raise Failure(f"{' '.join(Path(str(part)).name for part in command[:4])}: exit status {status}")


# ---- what the system must have


def compiler() -> str | None:
    chosen = os.environ.get("CXX")
    return (
        shutil.which(chosen)
        if chosen
        else shutil.which("c++") or shutil.which("g++") or shutil.which("clang++")
    )


def compiles(source: str, *flags: str) -> bool:
    cxx = compiler()
    if cxx is None:
        return False
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "check.cpp")
        file.write_text(source)
        command = [cxx, "-std=c++20", "-fsyntax-only", *flags, str(file)]
        return subprocess.run(command, capture_output=True).returncode == 0


def missing_packages(extra: Sequence[str] = ()) -> list[str]:
    """Debian names of what is not here."""
    headers = {
        "libssl-dev": "openssl/ssl.h",
        "zlib1g-dev": "zlib.h",
        "libbrotli-dev": "brotli/encode.h",
        "libzstd-dev": "zstd.h",
        "liburing-dev": "liburing.h",
        f"python3.{sys.version_info[1]}-dev": "Python.h",
        "libgtest-dev": "gtest/gtest.h",
        "libbenchmark-dev": "benchmark/benchmark.h",
    }
    always = ("libssl", "zlib", "libbrotli", "libzstd", "liburing", "python")
    wanted = [name for name in headers if name.startswith(always) or name in extra]
    flag = f"-I{sysconfig.get_path('include')}"
    need = ["g++", *wanted] if compiler() is None else []
    if not need:
        need = [name for name in wanted if not compiles(f"#include <{headers[name]}>\n", flag)]
    need += [name for name in ("curl", "openssl") if name in extra and shutil.which(name) is None]  # programs
    try:
        import ensurepip  # noqa: F401  (Debian keeps it in a package of its own)
    except ImportError:
        need.append(f"python3.{sys.version_info[1]}-venv")
    return need


def apt_prefix() -> list[str] | None:
    """What stands before apt-get here; None where we may not use it."""
    if not shutil.which("apt-get"):
        return None
    if os.geteuid() == 0:
        return []
    if shutil.which("sudo") and subprocess.run(["sudo", "-n", "true"], capture_output=True).returncode == 0:
        return ["sudo", "-n"]
    return None


def ensure_system(*extra: str) -> None:
    if not sys.platform.startswith("linux"):
        say(f"note: only Linux is built and tested so far; this is {platform.system()}")
        return
    need = missing_packages(extra)
    if not need:
        cxx = compiler()
        if cxx and not compiles("#include <coroutine>\n#include <span>\n#include <bit>\n"):
            raise Failure(
                f"{cxx} is too old: C++20 is needed (GCC 11, Clang 14 or newer). Set CXX to another."
            )
        return
    line = f"apt-get install -y {' '.join(need)}"
    prefix = apt_prefix()
    if prefix is None:
        raise Failure(
            f"this system lacks {', '.join(need)}. Run this line, then dev.py again:\n\n  sudo {line}\n"
        )
    say(f"installing {', '.join(need)} through apt")
    env = [*prefix, "env", "DEBIAN_FRONTEND=noninteractive"]
    with Progress("apt") as progress:
        try:
            run_logged("apt", [*env, *line.split()], progress)
        except Failure:
            run_logged("apt", [*env, "apt-get", "update"], progress)
            run_logged("apt", [*env, *line.split()], progress)
    if still := missing_packages(extra):
        raise Failure(f"apt did not bring {', '.join(still)}; run: sudo apt-get install -y {' '.join(still)}")


# ---- the virtual environment


def stamp(name: str) -> Path:
    return VENV / "fasterapi-stamps" / name


def is_fresh(name: str, digest: str) -> bool:
    file = stamp(name)
    return file.exists() and file.read_text() == digest


def set_stamp(name: str, digest: str) -> None:
    stamp(name).parent.mkdir(exist_ok=True)
    stamp(name).write_text(digest)


def ensure_venv() -> None:
    version = f"{sys.version} {sys.base_prefix}"
    if PYTHON.exists() and is_fresh("python", version):
        return
    if "FASTERAPI_VENV" in os.environ and PYTHON.exists() and not stamp("python").exists():
        set_stamp("python", version)  # somebody's own environment: it is used and never removed
        return
    if VENV.exists() and not (VENV / "pyvenv.cfg").exists():
        raise Failure(f"{VENV} exists and is not a virtual environment: remove it or set FASTERAPI_VENV")
    with Progress(f"virtual environment {VENV.name} (Python {platform.python_version()})"):
        shutil.rmtree(VENV, ignore_errors=True)
        run_logged("venv", [sys.executable, "-m", "venv", VENV], env=dict(os.environ))
    set_stamp("python", version)


def groups(*names: str) -> list[str]:
    """Requirements of dependency groups of pyproject.toml."""
    table = tomllib.loads((ROOT / "pyproject.toml").read_text())["dependency-groups"]
    found: list[str] = []
    for name in names:
        for entry in table[name]:
            found += groups(entry["include-group"]) if isinstance(entry, dict) else [entry]
    return found


def ensure_tools(*names: str) -> None:
    for name in names:
        wanted = groups(name)
        digest = "\n".join(wanted)
        if is_fresh(f"group-{name}", digest):
            continue
        with Progress(f"packages for {name}"):
            run_logged("pip", [PYTHON, "-m", "pip", "install", "-q", *wanted])
        set_stamp(f"group-{name}", digest)


# ---- building


def digest_of(folders: Iterable[Path], extra: str = "") -> str:
    """Hash of names and contents of the sources below folders."""
    total = hashlib.sha256(extra.encode())
    for folder in folders:
        files = [folder] if folder.is_file() else sorted(
            f for f in folder.rglob("*") if f.is_file() and "__pycache__" not in f.parts
        )  # fmt: skip
        for file in files:
            total.update(str(file.relative_to(ROOT)).encode() + b"\0" + file.read_bytes() + b"\0")
    return total.hexdigest()


def sources(name: str) -> list[Path]:
    """What the wheel of a package is made of."""
    home = package(name)
    parts = ("pyproject.toml README.md LICENSE CMakeLists.txt cmake include src bindings python").split()
    found = [home / part for part in parts if (home / part).exists()]
    if name in ("http", "pg", "mcp"):  # they are compiled against core's headers
        core = package("core")
        found += [core / "include", core / "cmake", core / "pyproject.toml"]
    return found


def pip_build(name: str, verb: Sequence[str], progress: Progress) -> None:
    progress.states[name] = "..."
    settings = [] if name == "fasterapi" else ["-C", f"build-dir={BUILD / name}"]
    pip: list[str | Path] = [PYTHON, "-m", "pip", *verb, "-v", "--no-build-isolation", "--no-deps"]
    run_logged(name, [*pip, *settings, package(name)], progress)


def stages() -> list[tuple[str, ...]]:
    return [("core",), ("http", "pg", "mcp"), ("fasterapi",)]


def each(stage: Sequence[str], action: Callable[[str], None]) -> None:
    with ThreadPoolExecutor(len(stage)) as pool:
        for future in [pool.submit(action, name) for name in stage]:
            future.result()


def build(force: bool = False) -> None:
    ensure_system()
    ensure_venv()
    ensure_tools("build", "run")
    for stage in stages():
        digests = {name: digest_of(sources(name), TAG) for name in stage}
        stale = [name for name in stage if force or not is_fresh(f"built-{name}", digests[name])]
        if not stale:
            continue
        with Progress(f"building {', '.join(stale)}") as progress:

            def install(name: str, progress: Progress = progress, digests: dict[str, str] = digests) -> None:
                pip_build(name, ["install", "--force-reinstall"], progress)
                set_stamp(f"built-{name}", digests[name])

            each(stale, install)


def native_tests(sanitize: str = "") -> None:
    ensure_system("libgtest-dev")
    ensure_venv()
    ensure_tools("build")
    folder = ROOT / "build" / ("native" + (f"-{sanitize.replace(',', '-')}" if sanitize else ""))
    with Progress("building the native tests") as progress:
        configure: list[str | Path] = [
            "cmake",
            "-S",
            ROOT,
            "-B",
            folder,
            "-G",
            "Ninja",
            "-DFASTERAPI_TESTS=ON",
        ]
        if sanitize:
            configure.append(f"-DFASTERAPI_SANITIZE={sanitize}")
        run_logged("configure", configure, progress)
        run_logged("native", ["cmake", "--build", folder, "-j", str(JOBS)], progress)
    command = ["ctest", "--test-dir", str(folder), "--output-on-failure", "-j", str(JOBS), "--timeout", "300"]
    done = subprocess.run(
        command, env=environment(), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    passed = re.compile(r"^\s*(Start\s+\d+:|\d+/\d+ Test\s+#\d+: .*\bPassed\b)")
    say("\n".join(line for line in done.stdout.splitlines() if not passed.match(line)))
    if done.returncode:
        raise Failure("native tests failed")


def native_benchmarks() -> None:
    """The google-benchmark programs of the packages; their JSON goes to bench/results/native-*.json."""
    ensure_system("libbenchmark-dev")
    folder = ROOT / "build" / "bench"
    options = ["-DCMAKE_BUILD_TYPE=Release", "-DFASTERAPI_TESTS=OFF", "-DFASTERAPI_BENCH=ON"]
    with Progress("building the native benchmarks") as progress:
        run_logged("configure", ["cmake", "-S", ROOT, "-B", folder, "-G", "Ninja", *options], progress)
        run_logged("native", ["cmake", "--build", folder, "-j", str(JOBS)], progress)
    results = ROOT / "bench" / "results"
    results.mkdir(exist_ok=True)
    for program in sorted(path for path in folder.rglob("*_bench") if path.is_file()):
        out = results / f"native-{program.name}.json"
        must(program, "--benchmark_min_time=0.1", f"--benchmark_out={out}", "--benchmark_out_format=json")


# ---- commands


def command_build(args: list[str]) -> None:
    build(force="--force" in args)
    say("built; use it with: source .venv/bin/activate")


def command_native(args: list[str]) -> None:
    native_tests(os.environ.get("SANITIZE", ""))
    if "--backends" in args:
        command_backends([])


def optional(what: str, seconds: int, *command: str | Path) -> None:
    """Brings what one may do without; says so where that does not succeed."""
    try:
        done = subprocess.run(
            [str(part) for part in command],
            env={**environment(), "DEBIAN_FRONTEND": "noninteractive"},
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
            text=True, errors="replace", timeout=seconds,
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        say(f"note: {what} did not come within {seconds} s")
        return
    if done.returncode:
        last = done.stdout.strip().splitlines()[-1:] or ["no output"]
        say(f"note: {what} cannot be installed here: {last[0]}")


def command_backends(args: list[str]) -> None:
    """The suite of the reactor over every backend, in the tree of `native`; what it lacks is brought if possible."""
    del args
    need = [
        package
        for package, program in (
            ("wine", "wine"),
            ("wine64", "wine"),
            ("g++-mingw-w64-x86-64-posix", "x86_64-w64-mingw32-g++-posix"),
        )
        if shutil.which(program) is None
    ]
    prefix = apt_prefix()
    if need and prefix is not None:
        # Downloading is what may take long, and what may be interrupted.
        apt = [*prefix, "env", "DEBIAN_FRONTEND=noninteractive", "apt-get", "install", "-y"]
        apt.append("--no-install-recommends")
        optional(" ".join(need), 120, *apt, "--download-only", *need)
        optional(" ".join(need), 120, *apt, "--no-download", *need)
    elif need:
        say(f"note: {', '.join(need)} cannot be installed without root")
    ensure_venv()
    ensure_tools("build")
    optional("ziglang", 60, PYTHON, "-m", "pip", "install", "-q", "ziglang")
    must(PYTHON, ROOT / "tests" / "backends.py", ROOT / "build" / "native")


def packages_with_tests() -> list[Path]:
    homes = [package(name).relative_to(ROOT) for stage in stages() for name in stage]
    return [home for home in homes if any((ROOT / home / "tests").glob("test_*.py"))]


def command_test(args: list[str]) -> None:
    ensure_system("curl", "openssl")  # clients and certificates of the tests of TLS
    build()
    ensure_tools("test")
    # One process per package: each must pass without its siblings being imported.
    targets = [args] if args else [["tests"], *([str(home / "tests")] for home in packages_with_tests())]
    failed = []
    for target in targets:
        say(f"pytest {' '.join(target)}")
        if run(PYTHON, "-m", "pytest", "-q", *target):
            failed.append(" ".join(target))
    if not args:
        native_tests()
    if failed:
        raise Failure(f"Python tests failed: {', '.join(failed)}")


def command_demo(args: list[str]) -> None:
    build()
    ensure_tools("demo")
    status = run(PYTHON, "-m", "fasterapi.demo", *args)
    if status not in (0, -2, 130):
        raise Failure(f"the demo ended with status {status}")


def command_lint(args: list[str]) -> None:
    ensure_venv()
    ensure_tools("lint")
    must(PYTHON, "-m", "ruff", "check", *(["--fix"] if "--fix" in args else []), ".")


def command_format(args: list[str]) -> None:
    ensure_venv()
    ensure_tools("lint")
    listed = subprocess.run(["git", "diff", "--name-only", "HEAD"], cwd=ROOT, capture_output=True, text=True)
    files = [path for path in args or listed.stdout.split() if (ROOT / path).is_file()]
    if cpp := [path for path in files if path.endswith((".cpp", ".hpp"))]:
        must(VENV / "bin" / "clang-format", "-i", *cpp)
    if python := [path for path in files if path.endswith((".py", ".pyi"))]:
        must(PYTHON, "-m", "ruff", "format", *python)


def command_types(args: list[str]) -> None:
    build()
    ensure_tools("test", "lint", "demo")
    names = ["fasterapi_core", "fasterapi_http", "fasterapi_pg", "fasterapi_mcp", "fasterapi"]
    must(PYTHON, "-m", "mypy", *(part for name in names for part in ("-p", name)), *args)
    must(PYTHON, "-m", "mypy", "dev.py", "tests", "examples", *args)


def command_bench(args: list[str]) -> None:
    if not args or args[0] not in ("http", "ws", "loop", "pg", "mcp", "micro"):
        raise Failure("which one? python3 dev.py bench http|ws|loop|pg|mcp|micro")
    build()
    ensure_tools(f"bench-{args[0]}")
    if args[0] == "micro":
        native_benchmarks()
        must(PYTHON, "-m", "asv", "machine", "--yes", cwd=ROOT / "bench")
        quick = args[1:] or ["--quick"]
        must(PYTHON, "-m", "asv", "run", "--python=same", "--show-stderr", *quick, cwd=ROOT / "bench")
        return
    must(PYTHON, ROOT / "bench" / args[0] / "compare.py", *args[1:])


def command_wheels(args: list[str]) -> None:
    build()
    shutil.rmtree(DIST, ignore_errors=True)
    DIST.mkdir()
    with Progress("wheels") as progress:
        for stage in stages():
            each(stage, lambda name: pip_build(name, ["wheel", "-w", str(DIST)], progress))
    for wheel in sorted(DIST.glob("*.whl")):
        say(f"  dist/{wheel.name}  {wheel.stat().st_size / 1024:.0f} KiB")
    if "--check" in args:
        check_wheels()


def check_wheels() -> None:
    """All five in one empty environment, and the driver alone in another: it may bring nothing but core."""
    ensure_tools("demo", "test")
    everything = [str(wheel) for wheel in sorted(DIST.glob("*.whl"))]
    for name, wanted in (
        ("all", everything),
        ("pg-alone", ["--no-index", "--find-links", str(DIST), "fasterapi-pg"]),
    ):
        with tempfile.TemporaryDirectory(prefix="fasterapi-wheels-") as folder:
            python = Path(folder, "bin", "python")
            env = {k: v for k, v in os.environ.items() if k not in ("PYTHONPATH", "VIRTUAL_ENV")}
            with Progress(f"empty environment: {name}"):
                run_logged("venv", [sys.executable, "-m", "venv", folder], env=env)
                run_logged("pip", [python, "-m", "pip", "install", "-q", *wanted], env=env)
            smoke: list[str | Path] = [python, "-I", ROOT / "tests" / "smoke.py", name]
            must(PYTHON, ROOT / "tests" / "pg_server.py", *smoke, cwd=Path(folder))


def command_all(args: list[str]) -> None:
    command_lint([])
    command_types([])
    command_test([])
    command_wheels(["--check"])
    command_demo([])


def command_clean(args: list[str]) -> None:
    for folder in (VENV, ROOT / "build", DIST, *ROOT.glob("packages/*/build")):
        if folder.exists():
            say(f"removing {folder}")
            shutil.rmtree(folder)


def command_help(args: list[str]) -> None:
    say((__doc__ or "").strip())


COMMANDS: dict[str, Callable[[list[str]], None]] = {
    "all": command_all,
    "bench": command_bench,
    "build": command_build,
    "clean": command_clean,
    "demo": command_demo,
    "format": command_format,
    "help": command_help,
    "lint": command_lint,
    "native": command_native,
    "backends": command_backends,
    "test": command_test,
    "types": command_types,
    "wheels": command_wheels,
}


def main(args: list[str]) -> int:
    name = args[0] if args else "help"
    command = COMMANDS.get({"-h": "help", "--help": "help"}.get(name, name))
    if command is None:
        say(f"unknown command {name!r}; one of: {', '.join(COMMANDS)}")
        return 2
    try:
        command(args[1:])
    except Failure as failure:
        say(f"\n{failure}")
        return 1
    except KeyboardInterrupt:
        say("\nstopped")
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
