"""``python -m fasterapi_core``: the command ``fasterapi-core``."""

from __future__ import annotations

import sys

from ._extension import main

sys.exit(main())
