"""``fasterapi_http`` under the name of the framework: the native HTTP server."""

from fasterapi_http import *  # noqa: F403
from fasterapi_http import __all__ as __all__
