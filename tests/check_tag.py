"""``check_tag.py PACKAGE VERSION``: exits 1 unless the package's version in the repository is that of the tag."""

from __future__ import annotations

import re
import sys
import tomllib
from pathlib import Path

package, wanted = sys.argv[1:]
home = Path(__file__).resolve().parent.parent / "packages" / package
project = tomllib.loads((home / "pyproject.toml").read_text())["project"]
version = project.get("version")
if version is None:
    found = re.search(r'__version__ = "([^"]+)"', (home / "src/fasterapi/_version.py").read_text())
    version = found[1] if found else None
if version != wanted:
    sys.exit(f"the tag says {package} {wanted}, the sources say {version}")
print(f"{package} {version}")
