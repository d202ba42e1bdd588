"""What all tests share: Hypothesis profiles, matplotlib without a display, runs without compilation."""

import os
import signal
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, settings

os.environ.setdefault("MPLBACKEND", "Agg")

IS_COMPILED = os.environ.get("NUMBA_DISABLE_JIT", "0") == "0"
IS_CHECKED = os.environ.get("NUMBA_BOUNDSCHECK", "0") != "0"  # slower, so fewer examples

# The first example of a test may compile, so no example has a deadline.
settings.register_profile(
    "local",
    deadline=None,
    max_examples=150 if IS_COMPILED and not IS_CHECKED else 30,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.register_profile("ci", settings.get_profile("local"), derandomize=True, print_blob=True)
settings.load_profile("ci" if os.environ.get("CI") else "local")


@pytest.fixture
def own_metrics() -> Iterator[None]:
    """Forget, after a test, the metrics that it registered."""
    from lensmetrics.metrics import registry

    with registry.temporary():
        yield


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "browser: drives chromium; CI has a step of its own for these")
    config.addinivalue_line("markers", "large: many or large maps; skipped without compilation")
    # A shell begins background jobs with SIGINT ignored, and the commands that tests start inherit that.
    if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    if not IS_COMPILED:
        # Unsigned integers wrap around in kernels on purpose; only NumPy's scalars warn about it.
        config.addinivalue_line("filterwarnings", "ignore:overflow encountered in scalar:RuntimeWarning")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    if IS_COMPILED:
        return
    skip = pytest.mark.skip(reason="uncompiled loops over large maps take minutes")
    for item in items:
        if "large" in item.keywords:
            item.add_marker(skip)
