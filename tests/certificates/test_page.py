"""The page on certificates says what the functions return."""

import re
from pathlib import Path

import pytest

import lensmetrics as lm
from lensmetrics.certificates.draws import norm_error

TEXT = (Path(lm.__file__).parent / "certificates/README.md").read_text(encoding="utf-8")
LINES = re.findall(r"^lm\.(\w+)\((.+)\)  # (?:.*: )?([\d.]+)$", TEXT, re.MULTILINE)


def test_numbers_are_those_of_the_functions() -> None:
    assert len(LINES) == 3
    for name, arguments, printed in LINES:
        value = eval(f"lm.{name}({arguments})", {"lm": lm})
        decimals = len(printed.partition(".")[2])
        assert f"{value:.{decimals}f}" == printed, name


def test_errors_of_draws_are_those_of_the_formula() -> None:
    errors = re.findall(r"(\.\d+)\s(?:for (\d+) draws|for ([\d,]+))", TEXT[TEXT.index("How many draws") :])
    assert len(errors) == 3
    for printed, *n in errors:
        error = norm_error(int("".join(n).replace(",", "")), bound=1, alpha=0.05)
        assert error == pytest.approx(float(printed), rel=0.02)
