"""Runs modules of CPython's own asyncio test suite with EventLoop in SelectorEventLoop's place.

python asyncio_suite.py test_events [unittest arguments] prints one JSON line: what ran, what failed. The suite is
the interpreter's (the ``test`` package); nothing of it is kept here.
"""

from __future__ import annotations

import asyncio
import importlib
import json
import sys
import unittest
import warnings
from typing import Any

import fasterapi_core


class Loop(fasterapi_core.EventLoop):
    """Takes and ignores the selector that the suite hands to a selector loop."""

    def __init__(self, selector: Any = None) -> None:
        if selector is not None:
            selector.close()
        super().__init__()


class Policy(asyncio.DefaultEventLoopPolicy):
    """asyncio.new_event_loop() makes a Loop."""

    def _loop_factory(self) -> Loop:
        return Loop()


def main() -> int:
    warnings.simplefilter("default")
    name, *arguments = sys.argv[1:]
    module = importlib.import_module(f"test.test_asyncio.{name}")
    asyncio.SelectorEventLoop = Loop  # type: ignore[misc]
    if hasattr(asyncio, "EventLoop"):
        asyncio.EventLoop = Loop  # 3.13
    asyncio.set_event_loop_policy(Policy())
    loader = unittest.TestLoader()
    if arguments:
        loader.testNamePatterns = [f"*{argument}*" for argument in arguments]
    suite = loader.loadTestsFromModule(module)
    # each test is set up by itself: a policy that tearDownModule() resets must not outlive its module
    module.__dict__.pop("tearDownModule", None)
    result = unittest.TextTestRunner(verbosity=2 if arguments else 1, stream=sys.stderr).run(suite)
    bad = sorted({test.id().split(".", 2)[-1] for test, _ in (*result.failures, *result.errors)})
    print(json.dumps({"run": result.testsRun, "failed": bad, "skipped": len(result.skipped)}))
    return 0 if result.wasSuccessful() else 1


if __name__ == "__main__":
    sys.exit(main())
