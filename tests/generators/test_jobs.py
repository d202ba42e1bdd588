"""Files are made at the same time, but each after those that it needs."""

from dataclasses import dataclass
from pathlib import Path

import pytest

from generators.jobs import made


@dataclass(frozen=True)
class Text:
    """A file of one line; it cannot be made if one that it needs is missing, or if its name is "bad"."""

    out: Path
    needs: tuple[Path, ...] = ()

    def make(self) -> int:
        if self.out.name == "bad" or not all(path.exists() for path in self.needs):
            return 2
        self.out.write_text("made", encoding="utf-8")
        return 0


@pytest.mark.parametrize("n_jobs", [1, 2])
def test_an_item_waits_for_those_that_it_needs_and_is_lost_with_them(tmp_path: Path, n_jobs: int) -> None:
    """Two chains in reverse order, one of which breaks at its second link."""
    links = {
        "three": ["two"], "two": ["one"], "one": ["exists"],
        "of bad and one": ["bad", "one"], "bad": ["first"], "of that": ["of bad and one"], "first": [],
    }  # fmt: skip
    (tmp_path / "exists").touch()
    items = [Text(tmp_path / name, tuple(tmp_path / other for other in links[name])) for name in links]
    found = [(item.out.name, status) for item, status in made(items, n_jobs)]
    assert dict(found) == {
        "one": 0, "two": 0, "three": 0, "first": 0, "bad": 2, "of bad and one": None, "of that": None,
    }  # fmt: skip
    assert len(found) == len(items)
    order = [name for name, _ in found]
    for name, others in links.items():
        before = [order.index(other) < order.index(name) for other in others if other in links]
        # What is lost need not wait for all, only for the one that was not made.
        assert any(before) if dict(found)[name] is None else all(before)
