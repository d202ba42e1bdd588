"""Make pair files: training, explanations, attacks. Run from a checkout; needs torch."""

import importlib.util

if importlib.util.find_spec("torch") is None:
    raise ModuleNotFoundError(
        "the generators need torch: install it, or pip install -e '.[generators]'", name="torch"
    )
