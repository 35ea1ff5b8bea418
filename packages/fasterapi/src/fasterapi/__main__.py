"""``python -m fasterapi``: the same as the ``fasterapi`` command."""

from .cli import main

if __name__ == "__main__":
    main()
