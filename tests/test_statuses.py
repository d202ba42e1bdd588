"""Every status has one meaning, which README, report and docstrings share."""

import re
from pathlib import Path

from lensmetrics.statuses import EXCLUDABLE_STATUSES, STATUSES, UNREADABLE_STATUSES

PACKAGE = Path(__file__).parents[1] / "lensmetrics"


def test_every_meaning_is_one_sentence() -> None:
    for status in STATUSES.values():
        assert status.meaning.endswith(".")
        assert ". " not in status.meaning


def test_statuses_that_can_be_excluded() -> None:
    of_samples = {token for token, status in STATUSES.items() if status.of_sample}
    assert set(EXCLUDABLE_STATUSES) == of_samples | {"tied_cut"}
    assert set(UNREADABLE_STATUSES) == {"incomplete", "checksum"} <= of_samples


def test_metrics_name_only_statuses_that_exist() -> None:
    named = r"add_status\(\"(\w+)\"\)|[Ss]tatus\s+``(\w+)``|\(``(\w+)``"
    found = {
        token
        for path in (PACKAGE / "metrics").glob("*.py")
        for match in re.findall(named, path.read_text(encoding="utf-8"))
        for token in match
        if token
    }
    assert {"tied_cut", "constant_map", "saturated", "few_diverse", "unsigned", "pool_exhausted"} <= found
    assert found <= set(STATUSES)
