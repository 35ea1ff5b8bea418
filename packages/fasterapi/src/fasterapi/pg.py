"""``fasterapi_pg`` under the name of the framework: the PostgreSQL driver."""

from fasterapi_pg import *  # noqa: F403
from fasterapi_pg import __all__ as __all__
