"""A small pair file, and processes that may hang or crash."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.pairfile.faults import Helper
from tests.pairfile.toys import write_pairs


@pytest.fixture
def helper() -> Iterator[Helper]:
    with Helper() as helper:
        yield helper


@pytest.fixture
def two_helpers() -> Iterator[tuple[Helper, Helper]]:
    with Helper() as first, Helper() as second:
        yield first, second


@pytest.fixture
def run(tmp_path: Path) -> Path:
    return write_pairs(tmp_path / "run.h5")
