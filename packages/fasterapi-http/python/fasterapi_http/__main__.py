"""``python -m fasterapi_http module:app``."""

from ._cli import main

if __name__ == "__main__":
    main(program="python -m fasterapi_http")
