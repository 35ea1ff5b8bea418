"""``python -m fasterapi_http module:app``."""

from ._cli import main

if __name__ == "__main__":
    main(prog_name="python -m fasterapi_http")
