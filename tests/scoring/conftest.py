"""Fixtures of the tests of scoring."""

from pathlib import Path

import pytest

from tests.pairfiles import study, user_metric

__all__ = ["study", "user_metric"]


@pytest.fixture
def output(tmp_path: Path) -> Path:
    return tmp_path / "scores.parquet"
