"""``fasterapi_core`` under the name of the framework: the event loop, futures and JSON."""

from fasterapi_core import *  # noqa: F403
from fasterapi_core import __all__ as __all__
