"""Running the command, for tests."""

import sys
from collections.abc import Callable

# Warnings are errors there too, except those of NumPy where kernels are not compiled (see conftest).
PYTHON = [sys.executable, "-W", "error", "-W", "ignore:overflow encountered in scalar", "-m", "lensmetrics"]

Run = Callable[..., tuple[int, str, str]]
