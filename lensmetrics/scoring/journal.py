"""The journal of a run: what is scored so far, kept beside the table that it will be part of."""

import base64
import contextlib
import errno
import hashlib
import json
import os
import re
import warnings
import zlib
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO, Self

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
import pyarrow.parquet

from ..disk import open_locked, part_path
from ..tables.columns import metric_columns
from ..tables.files import UNREADABLE, check_output, write_scores
from ..tables.outputs import ASKED
from .worker import SliceScores

# How a journal begins, of which a kill may have left no more than a part of its first line; and where the
# first key of one stands.
_KEY = slice(0, 64)
_BEGUN = re.compile(rb"[0-9a-f]{1,8}(\Z| (\Z|\[))")
_METADATA = "lensmetrics_slices"
_NO_JOURNAL = "{} is where a run keeps what it has scored, and is something else: move it away"


def slice_key(*parts: object) -> str:
    """Return a name for the scores of a slice, which only the same parts have."""
    return hashlib.blake2b(repr(parts).encode(), digest_size=16).hexdigest()


def may_be_journal(text: bytes) -> bool:
    """Whether a text is a journal, or was one before a kill or a damage; else it is somebody's own."""
    return not text or bool(_BEGUN.match(text)) or b' ["' in text[_KEY]


class Journal:
    """The scores of finished slices, each on disk as soon as it is added; use it in a ``with``.

    The journal of ``scores.parquet`` is ``scores.parquet.part``: a line per slice, with a CRC-32 in
    front, so that a line that a kill or a full disk cut short is known. It is locked while it is
    open, by a lock that ends with the process, and removed once the table is written. A Parquet
    table itself remembers the keys of its slices, for the next run that resumes.

    Parameters
    ----------
    output
        The table that the run will write.
    resume
        Take over what an earlier run found, from its journal and from its table.

    Raises
    ------
    BlockingIOError
        If another process is writing the same table.
    FileExistsError
        If an unfinished run left a journal, and `resume` is not set.
    """

    def __init__(self, output: str | os.PathLike[str], *, resume: bool = False) -> None:
        self.output = check_output(output)
        self.path = part_path(self.output)
        self.done: dict[str, SliceScores] = {}
        self._file = _locked(self.path, self.output)
        self._n_kept = 0
        try:
            self._file.seek(0)
            text = self._file.read()
            kept = dict(filter(None, map(_read_line, text.splitlines())))
            if not kept and not may_be_journal(text):
                raise FileExistsError(_NO_JOURNAL.format(self.path))
            if kept and not resume:
                msg = (
                    f"{self.path} holds the scores of an unfinished run: go on with --resume (in Python "
                    "resume=True), or delete it to begin anew"
                )
                raise FileExistsError(msg)
            if resume:
                self.done = {**_of_table(self.output), **kept}
            self._n_kept = len(kept)
            if text and not text.endswith(b"\n"):
                self._write(b"\n")
        except BaseException:
            self._file.close()
            raise

    def add(self, key: str, scores: SliceScores) -> None:
        """Keep the scores of one slice. They outlive this process; nothing waits for the disk."""
        values = base64.b64encode(scores.values.astype("<f8").tobytes()).decode()
        text = json.dumps([key, scores.status, values, scores.signed]).encode()
        self._write(b"%08x %s\n" % (zlib.crc32(text), text))
        self._n_kept += 1

    def _write(self, line: bytes) -> None:
        try:
            if self._file.write(line) == len(line):
                return
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        except OSError as error:
            msg = f"{self.path} cannot be written ({error.strerror}): make room, then go on with --resume"
            raise OSError(msg) from error

    def finish(
        self, scores: pd.DataFrame, slices: Sequence[tuple[str, int, bool]], files: Sequence[Path]
    ) -> None:
        """Write the table, which consists of these slices, and end the journal.

        Of each slice the key, the number of rows, and whether some map has a negative pixel. The
        files are those asked for; some may have failed.
        """
        parts = _cut(scores, [(n, signed) for _, n, signed in slices])
        described = [
            (key, n, signed, _checksum(part)) for (key, n, signed), part in zip(slices, parts, strict=True)
        ]
        metadata = {
            _METADATA: json.dumps(described),
            ASKED: json.dumps([os.path.realpath(file) for file in files]),
        }
        write_scores(scores, self.output, metadata=metadata)
        self.discard()

    def discard(self) -> None:
        """End the journal: the run has come to its end."""
        self._n_kept = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if not self._n_kept:
            # Removed before the lock ends: whoever waits for it must not lock what is then removed.
            self.path.unlink(missing_ok=True)
        elif error is not None:
            error.add_note(
                f"what is scored so far is kept in {self.path}: the same again with --resume "
                "(in Python resume=True) goes on"
            )
        self._file.close()


def _locked(path: Path, output: Path) -> BinaryIO:
    """Open the journal and lock it until it is closed, or the process ends in whatever way."""
    if path.is_symlink() or (path.exists() and not path.is_file()):
        raise FileExistsError(_NO_JOURNAL.format(path))
    try:
        file, is_locked = open_locked(path)
    except BlockingIOError as error:
        msg = f"{output} is being written by another process; wait until it ends, or write to another file"
        raise BlockingIOError(msg) from error
    if not is_locked:
        warnings.warn(
            f"{output} lies on a file system without locks: let no second process write it meanwhile",
            stacklevel=3,
        )
    return file


def _read_line(line: bytes) -> tuple[str, SliceScores] | None:
    """Return key and scores of a line, None where it was cut short or damaged, or says something else."""
    checksum, _, text = line.partition(b" ")
    if b"%08x" % zlib.crc32(text) != checksum:
        return None
    try:
        key, status, values, signed = json.loads(text)
        scores = _scores(np.frombuffer(base64.b64decode(values), "<f8"), status, signed)
    except (TypeError, ValueError):
        return None
    is_text = isinstance(key, str) and all(isinstance(word, str) for word in status)
    return (key, scores) if is_text and isinstance(signed, bool) else None


def _scores(values: npt.NDArray[Any], status: list[str], signed: bool) -> SliceScores:
    return SliceScores(values.reshape(len(status), -1).astype(np.float64), status, signed)


def _of_table(path: Path) -> dict[str, SliceScores]:
    """Return the slices of a finished table; none where it is no Parquet, or not as it was written."""
    done: dict[str, SliceScores] = {}
    with contextlib.suppress(*UNREADABLE):
        slices = json.loads(pa.parquet.read_schema(path).metadata[_METADATA.encode()])
        table = pd.read_parquet(path, page_checksum_verification=True)
        found = _cut(table, [(n, signed) for _, n, signed, _ in slices])
        for (key, _, _, checksum), part in zip(slices, found, strict=True):
            if _checksum(part) == checksum:
                done[key] = part
    return done


def _cut(scores: pd.DataFrame, slices: Sequence[tuple[int, bool]]) -> list[SliceScores]:
    """Return the slices of a table, which must be as long as all of them."""
    values, status = scores[metric_columns(scores)].to_numpy(np.float64), scores["status"].tolist()
    stops = np.cumsum([n for n, _ in slices]).tolist()
    if stops[-1] != len(scores):
        raise ValueError("the slices are not those of the table")
    return [
        _scores(values[stop - n : stop], status[stop - n : stop], signed)
        for (n, signed), stop in zip(slices, stops, strict=True)
    ]


def _checksum(scores: SliceScores) -> int:
    """CRC-32 of a slice. Pages of a table have their own, but none says whose column it is."""
    values = np.where(np.isnan(scores.values), np.nan, scores.values)  # a table keeps one kind of NaN
    described = json.dumps([scores.status, scores.signed]).encode()
    return zlib.crc32(described, zlib.crc32(values.astype("<f8").tobytes()))
