"""The table of all samples: what files and scores say of each, filtered and sorted for a page."""

import re
import threading
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd

from ..messages import printable
from ..pairfile.store import PairStore
from ..statuses import UNREADABLE_STATUSES

# What a sample without scores has instead of a status.
NOT_SCORED = "not scored"
# Columns that a table can be sorted by, besides scores.
FIXED = ("file", "sample", "name", "status")
# Points of a scatter that a page draws; of more, evenly many are drawn.
MOST_POINTS = 20_000
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?")


class Query(NamedTuple):
    """What a page wants to see of the table."""

    file: int | None = None
    text: str = ""
    status: str = ""
    metric: str = ""  # the score that `low` and `high` bound
    low: float | None = None
    high: float | None = None
    sort: str = "file"
    falling: bool = False


class Block:
    """The samples of one file."""

    def __init__(self, store: PairStore, words: str) -> None:
        self.sample = store.sample
        self.name = store.name
        self.label = store.label
        self.words = words.casefold()  # what a search finds besides names and numbers
        self.scores: dict[str, npt.NDArray[np.float64]] = {}
        self.status = np.where(store.complete, NOT_SCORED, "incomplete").astype(object)
        self.n_with: Counter[str] = Counter()  # samples with each status; counting all takes long
        self._flags = {"not_attacked": store.not_attacked, "label_changed": store.label_changed}
        for token, flags in self._flags.items():
            self.status[flags & (self.status == NOT_SCORED)] = token
        self.n_with.update(self.status.tolist())

    def __len__(self) -> int:
        return len(self.sample)

    def add(self, rows: npt.NDArray[np.intp], columns: dict[str, Any], status: Sequence[str]) -> None:
        """Note scores and statuses of some samples, by position."""
        for text, values in columns.items():
            if text not in self.scores:
                self.scores[text] = np.full(len(self), np.nan)
            self.scores[text][rows] = values
        joined = [self._joined(row, text) for row, text in zip(rows.tolist(), status, strict=True)]
        self.n_with.subtract(self.status[rows].tolist())
        self.n_with.update(joined)
        self.status[rows] = joined

    def _joined(self, row: int, status: str) -> str:
        """Return the status of a score with what the file says about its sample."""
        if status in UNREADABLE_STATUSES:
            return status
        tokens = {token for token, flags in self._flags.items() if flags[row]}
        return ";".join(sorted({*status.split(";"), *tokens} - {"ok"})) or "ok"


class Rows:
    """The samples of all files in the order of the files."""

    def __init__(self, n_files: int) -> None:
        self.blocks: list[Block | None] = [None] * n_files
        self.version = 0
        self._lock = threading.Lock()
        self._ordered: tuple[tuple[int, Query], npt.NDArray[np.intp]] | None = None

    def add_file(self, number: int, store: PairStore, words: str) -> None:
        """Add the samples of a file that was opened."""
        block = Block(store, words)
        with self._lock:
            self.blocks[number] = block
            self.version += 1

    def add_scores(
        self, number: int, rows: npt.NDArray[np.intp], columns: dict[str, Any], status: Sequence[str]
    ) -> None:
        """Add scores of samples of a file, by position."""
        with self._lock:
            block = self.blocks[number]
            if block is not None:
                block.add(rows, columns, status)
                self.version += 1

    def columns(self) -> list[str]:
        """Return the texts of all scores."""
        with self._lock:
            return list(dict.fromkeys(text for block in self._present() for text in block.scores))

    def statuses(self) -> list[str]:
        """Return all tokens that occur."""
        with self._lock:
            found = {text for block in self._present() for text, n in block.n_with.items() if n > 0}
        return sorted({token for text in found for token in text.split(";")})

    def page(
        self, query: Query, offset: int, limit: int, shown: Sequence[str], around: tuple[int, int] | None
    ) -> dict[str, Any]:
        """Return some rows, the `limit` from `offset` on, or those around a sample of a file.

        `shown` are the texts of the scores in every row.
        """
        with self._lock:
            order = self._order(query)
            place = None
            if around is not None:
                places = np.flatnonzero(order == self._row(*around))
                if len(places):
                    place = int(places[0])
                    offset = place - place % limit
            rows = order[offset : offset + limit]
            files, positions = self._located(rows)
            found = [
                self._described(file, position, shown)
                for file, position in zip(files.tolist(), positions.tolist(), strict=True)
            ]
        return {"total": len(order), "offset": offset, "rows": found, "place": place, "version": self.version}

    def points(
        self, query: Query, x: str, y: str
    ) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.int32], int]:
        """Return (x, y) and (file, position) of the rows for which both scores are finite, and their number.

        Of more than `MOST_POINTS`, evenly many along x are returned.
        """
        with self._lock:
            order = self._order(query)
            values = np.stack([self._scores(x)[order], self._scores(y)[order]])
            finite = np.isfinite(values).all(axis=0)
            order, values = order[finite], values[:, finite]
            by_x = np.lexsort((values[1], values[0]))
            if len(by_x) > MOST_POINTS:
                by_x = by_x[np.linspace(0, len(by_x) - 1, MOST_POINTS).astype(np.intp)]
            located = np.stack(self._located(order[by_x])).astype(np.int32)
        return values[:, by_x], located, int(finite.sum())

    def _present(self) -> list[Block]:
        return [block for block in self.blocks if block is not None]

    def _starts(self) -> npt.NDArray[np.intp]:
        lengths = [0 if block is None else len(block) for block in self.blocks]
        return np.concatenate([[0], np.cumsum(lengths, dtype=np.intp)])

    def _row(self, file: int, position: int) -> int:
        return int(self._starts()[file]) + position

    def _located(self, rows: npt.NDArray[np.intp]) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.intp]]:
        starts = self._starts()
        files = np.searchsorted(starts, rows, side="right") - 1
        return files, rows - starts[files]

    def _described(self, file: int, position: int, shown: Sequence[str]) -> dict[str, Any]:
        block = self.blocks[file]
        assert block is not None
        scores = [
            float(block.scores[text][position]) if text in block.scores else float("nan") for text in shown
        ]
        return {
            "file": file,
            "position": position,
            "sample": int(block.sample[position]),
            "name": None if block.name is None else printable(block.name[position]),
            "status": str(block.status[position]),
            "scores": scores,
        }

    def _each(self, value: Callable[[Block], npt.NDArray[Any]]) -> npt.NDArray[Any]:
        parts = [value(block) for block in self._present()]
        return np.concatenate(parts) if parts else np.empty(0)

    def _scores(self, text: str) -> npt.NDArray[np.float64]:
        return self._each(lambda block: block.scores.get(text, np.full(len(block), np.nan)))

    def _order(self, query: Query) -> npt.NDArray[np.intp]:
        """Return the rows that a query wants, in its order; the last answer is kept."""
        key = self.version, query
        if self._ordered is None or self._ordered[0] != key:
            kept = np.flatnonzero(self._kept(query))
            self._ordered = key, kept[self._rank(query)[kept].argsort(kind="stable")]
        return self._ordered[1]

    def _kept(self, query: Query) -> npt.NDArray[np.bool_]:
        kept = np.ones(int(self._starts()[-1]), np.bool_)
        starts = self._starts()
        if query.file is not None:
            kept[:] = False
            kept[starts[query.file] : starts[query.file + 1]] = True
        if query.status:
            kept &= self._each(lambda block: _has_token(block.status, query.status)).astype(np.bool_)
        if query.metric and (query.low is not None or query.high is not None):
            values = self._scores(query.metric)
            low = -np.inf if query.low is None else query.low
            high = np.inf if query.high is None else query.high
            kept &= (values >= low) & (values <= high)  # an undefined score is in no range
        if words := query.text.casefold().split():
            for number, block in enumerate(self.blocks):
                if block is not None:
                    rows = slice(starts[number], starts[number + 1])
                    for word in words:
                        kept[rows] &= _mentions(block, word)
        return kept

    def _rank(self, query: Query) -> npt.NDArray[Any]:
        """Return what to sort by: numbers, of which those that are undefined come last either way."""
        values: npt.NDArray[Any]
        if query.sort == "file":
            values = np.arange(int(self._starts()[-1]), dtype=np.float64)
        elif query.sort == "sample":
            values = self._each(lambda block: block.sample)
        elif query.sort == "status":
            values = _codes(self._each(lambda block: block.status))
        elif query.sort == "name":
            values = _codes(self._each(_names))
        else:
            values = self._scores(query.sort)
        return -values if query.falling else values  # argsort puts NaN last


def _names(block: Block) -> npt.NDArray[np.object_]:
    return np.full(len(block), "", object) if block.name is None else block.name


def _codes(texts: npt.NDArray[np.object_]) -> npt.NDArray[np.intp]:
    return pd.factorize(texts, sort=True)[0]  # an array of texts would be as wide as the longest


def _has_token(status: npt.NDArray[np.object_], token: str) -> npt.NDArray[np.bool_]:
    wanted = {text for text in set(status.tolist()) if token in text.split(";")}
    return np.array([text in wanted for text in status.tolist()], np.bool_)


def _mentions(block: Block, word: str) -> npt.NDArray[np.bool_]:
    """Return which samples a word belongs to: part of a name or of what was done, or the sample's number.

    A number is looked for in numbers and names of samples alone: most files have it in a condition.
    """
    if not _NUMBER.fullmatch(word) and word in block.words:
        return np.ones(len(block), np.bool_)
    found = np.zeros(len(block), np.bool_)
    if block.name is not None:
        found |= np.array([word in str(name).casefold() for name in block.name.tolist()], np.bool_)
    if word.removeprefix("-").isdecimal() and len(word) < 19:
        found |= block.sample == int(word)
    return found
