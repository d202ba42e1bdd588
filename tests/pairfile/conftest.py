"""Fixtures for tests with faults on purpose: processes that may hang or crash."""

from collections.abc import Iterator

import pytest

from tests.pairfile.faults import Helper


@pytest.fixture
def helper() -> Iterator[Helper]:
    with Helper() as helper:
        yield helper


@pytest.fixture
def two_helpers() -> Iterator[tuple[Helper, Helper]]:
    with Helper() as first, Helper() as second:
        yield first, second
