"""``python -m jdd`` is ``jdd``."""

import sys

from jdd.cli import main

if __name__ == "__main__":
    sys.exit(main())
