"""What makes pair files: training, explanations, attacks. Run from a checkout; needs torch."""

import importlib.util

if importlib.util.find_spec("torch") is None:
    raise SystemExit("the generators need torch: install it, or pip install -e '.[generators]'")
