"""``python -m lensmetrics`` is the command ``lensmetrics``."""

import sys

from .cli import main

if __name__ == "__main__":
    sys.exit(main())
