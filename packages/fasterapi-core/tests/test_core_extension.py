"""The extension kit: what new-extension writes and refuses, and one project built, installed and served for real."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest
from fasterapi_core import _extension

SCRIPT = Path(sysconfig.get_path("scripts"), "fasterapi-core")


def run(
    *command: str | Path, cwd: Path, timeout: float = 60, **environment: str
) -> subprocess.CompletedProcess[str]:
    env = {key: value for key, value in os.environ.items() if key not in ("PYTHONPATH", "PYTHONHOME")}
    return subprocess.run(
        [str(part) for part in command],
        cwd=cwd,
        env=env | environment,
        capture_output=True,
        text=True,
        timeout=timeout,
    )


@pytest.mark.parametrize("command", [[str(SCRIPT)], [sys.executable, "-m", "fasterapi_core"]])
def test_command_writes_a_project_and_says_what_is_next(tmp_path: Path, command: list[str]) -> None:
    done = run(*command, "new-extension", "my-counter", cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("wrote my-counter; next:\n  cd my-counter\n  pip install '.[test]'\n")
    files = {str(file.relative_to(tmp_path)) for file in tmp_path.rglob("*") if file.is_file()}
    assert files >= {
        "my-counter/.gitignore",
        "my-counter/CMakeLists.txt",
        "my-counter/README.md",
        "my-counter/bindings/module.cpp",
        "my-counter/pyproject.toml",
        "my-counter/python/my_counter/__init__.py",
        "my-counter/python/my_counter/_native.pyi",
        "my-counter/python/my_counter/py.typed",
        "my-counter/src/tally.cpp",
        "my-counter/tests/test_tally.py",
    }
    again = run(*command, "new-extension", "my-counter", cwd=tmp_path)
    assert (again.returncode, again.stdout) == (2, "")
    assert again.stderr == (
        "fasterapi-core: my-counter exists and is not an empty folder; nothing was written\n"
    )


@pytest.mark.parametrize("name", ["a", "My.Counter", "x-1-y", "a" * 64, "snake_case"])
def test_no_placeholder_is_left_whatever_the_name(name: str) -> None:
    files = _extension.render(name)
    package = _extension.package_of(name)
    assert re.fullmatch("[a-z][a-z0-9_]*", package)
    for path, text in files.items():
        left = re.findall(r"@[A-Z_]{2,}@", text)
        assert left == (["@PROJECT_VERSION@"] if path == "CMakeLists.txt" else []), path
        assert not path.endswith(".in")
    assert f"namespace {package} {{" in files["src/tally.hpp"]
    assert f'name = "{name}"' in files["pyproject.toml"]
    assert 'CORE_ABI = \\"@fasterapi_core_ABI@\\"' in files["CMakeLists.txt"]


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("", "is not a project name"),
        ("1st", "is not a project name"),
        ("a b", "is not a project name"),
        ("a--b", "is not a project name"),
        ("-a", "is not a project name"),
        ("a/../../b", "is not a project name"),
        ("a\n", "is not a project name"),
        ("é", "is not a project name"),
        ("a" * 65, "at most 64 characters"),
        ("class", "a word of Python or C++"),
        ("Namespace", "a word of Python or C++"),
        ("std", "a word of Python or C++"),
        ("json", "a module of the standard library"),
        ("fasterapi-core", "the name of a FasterAPI package"),
        ("FasterAPI", "the name of a FasterAPI package"),
    ],
)
def test_names_that_cannot_be_used_are_refused_in_words(
    name: str, why: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    # "--" so that a name may begin with a dash
    assert _extension.main(["new-extension", "--directory", str(tmp_path / "x"), "--", name]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("fasterapi-core: ") and why in err and err.count("\n") == 1
    assert not (tmp_path / "x").exists()


def test_empty_folder_is_used_and_a_file_in_the_way_is_not_overwritten(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "empty").mkdir()
    assert _extension.main(["new-extension", "abcd", "--directory", str(tmp_path / "empty")]) == 0
    assert (tmp_path / "empty" / "pyproject.toml").exists()
    (tmp_path / "file").write_text("precious")
    assert _extension.main(["new-extension", "abcd", "--directory", str(tmp_path / "file")]) == 2
    assert "nothing was written" in capsys.readouterr().err
    assert (tmp_path / "file").read_text() == "precious"


@pytest.mark.slow
def test_project_builds_with_symbols_from_the_installed_core_and_passes_its_own_tests(tmp_path: Path) -> None:
    project = tmp_path / "my-tally"
    assert _extension.main(["new-extension", "my-tally", "--directory", str(project)]) == 0
    launcher = {"CMAKE_CXX_COMPILER_LAUNCHER": "ccache"} if shutil.which("ccache") else {}
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check"]
    built = run(
        *pip, "wheel", "-q", "--no-build-isolation", "--no-deps", "-C", "cmake.build-type=RelWithDebInfo",
        "-w", tmp_path, project, cwd=tmp_path, timeout=300, **launcher,
    )  # fmt: skip
    assert built.returncode == 0, built.stdout + built.stderr
    (wheel,) = tmp_path.glob("my_tally-0.1.0-*.whl")

    # An environment of its own, in which this one's packages (core, http, pytest) are visible behind it.
    env = tmp_path / "env"
    made = run(sys.executable, "-m", "venv", "--without-pip", env, cwd=tmp_path, timeout=60)
    assert made.returncode == 0, made.stderr
    python = env / "bin" / "python"
    (site,) = env.glob("lib/python3.*/site-packages")
    (site / "outer.pth").write_text(sysconfig.get_path("purelib") + "\n")
    installed = run(
        *pip, "--python", python, "install", "-q", "--no-deps", "--ignore-installed", wheel, cwd=tmp_path
    )
    assert installed.returncode == 0, installed.stderr
    where = run(python, "-c", "import my_tally; print(my_tally.__file__)", cwd=tmp_path)
    assert Path(where.stdout.strip()).is_relative_to(site), where.stderr

    (native,) = site.glob("my_tally/_native*.so")
    sections = run("readelf", "-S", "-W", native, cwd=tmp_path).stdout
    assert ".debug_info" in sections  # docs/debugging.md: the build with symbols

    tests = run(
        python, "-m", "pytest", "-q", "-p", "no:cacheprovider", project / "tests", cwd=tmp_path, timeout=120
    )
    assert tests.returncode == 0, tests.stdout + tests.stderr
    assert "5 passed" in tests.stdout

    # What FASTERAPI_LOG=debug tells of the connections of such a route.
    program = (
        "import asyncio, urllib.request, fasterapi_core, my_tally\n"
        "async def main():\n"
        "    up = asyncio.get_running_loop().create_future()\n"
        "    t = my_tally.Tally()\n"
        "    s = asyncio.ensure_future(fasterapi_core.serve_endpoint(t.endpoint(), path='/t', port=0, ready=up.set_result))\n"
        "    url = f'http://127.0.0.1:{(await asyncio.wait_for(up, 10)).port}/t'\n"
        "    print(await asyncio.to_thread(lambda: urllib.request.urlopen(url, timeout=10).read()))\n"
        "    await asyncio.sleep(0.1)\n"
        "    s.cancel()\n"
        "fasterapi_core.run(main())\n"
    )
    traced = run(python, "-c", program, cwd=tmp_path, FASTERAPI_LOG="debug")
    assert traced.stdout == "b'{}'\n", traced.stderr
    assert re.search(r"DEBUG fasterapi\.core: connection on descriptor \d+ accepted", traced.stderr)
    assert re.search(r"DEBUG fasterapi\.core: connection on descriptor \d+ closed: ", traced.stderr)

    # Python finds the types of the native module without running it.
    typed = run(
        python,
        "-c",
        "import my_tally, pathlib as p; print((p.Path(my_tally.__file__).parent / 'py.typed').exists())",
        cwd=tmp_path,
    )
    assert typed.stdout == "True\n"
