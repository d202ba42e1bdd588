"""Checks on output paths: a command replaces only files of its own kind, and never a file that it reads."""

import contextlib
import json
import os
import zlib
from collections.abc import Iterable, Sequence
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet

from ..disk import check_writable
from .columns import AGAINST, is_metric
from .files import UNREADABLE, read_scores
from .known import CERTIFIED_ALPHA
from .writing import MARKS, check_table_suffix

# The key of the Parquet metadata that lists the files that the command named.
ASKED = "lensmetrics_files"
# Columns that every table of scores has; and every summary, comparison or list of samples.
_OF_SCORES = {"sample", "status"}
_FOR_READERS = (
    {"metric", "mean", "sd", "n", "n_undefined", "ci_low", "ci_high"},
    {"metric", "first", "second", "difference"},
    {"sample", "value", "status"},
)
# The page names lensmetrics within so many bytes.
_PAGE_BYTES = 2**16


def check_no_input(output: Path, inputs: Iterable[Path]) -> None:
    """Refuse to overwrite a file that is read, also under another name."""
    for path in inputs:
        with contextlib.suppress(OSError):
            if output.samefile(path):
                other = "" if str(path) == str(output) else f", under the name {path}"
                raise ValueError(f"{output} is the file being read{other}; choose another output")


def check_scores(
    output: str | os.PathLike[str],
    files: Sequence[Path],
    metrics: Iterable[object],
    *,
    against: str | None,
    certified_alpha: float | None = None,
    replacing: bool,
    resuming: bool = False,
    resumes: bool = True,
) -> None:
    """Refuse to replace anything but a table of scores of these files and metrics, against the same maps.

    Certificates must also be of the same alpha. A metric's text is the name of its column. With `replacing`,
    any table of scores may be replaced, with `resuming` one of other files and metrics, whose scores are
    reused. `resumes` says whether the command that writes the table could also continue it.
    """
    output = Path(output)
    check_no_input(output, files)
    if (replacing or resuming) and _is_damaged_parquet(output):
        return
    columns = _found(output, "table of scores", _OF_SCORES)
    if columns is None or replacing:
        return
    if ({against} if against else set()) != set(map(str, _values(output, columns, AGAINST))):
        raise FileExistsError(_differs(output, "pairs, against another map", resumes=False))
    if resuming:
        return
    scored = [column for column in columns if is_metric(column)]
    if set(scored) != set(map(str, metrics)):
        raise FileExistsError(_differs(output, "metrics", resumes=resumes))
    if not _same_files(output, files, columns):
        raise FileExistsError(_differs(output, "files", resumes=resumes))
    alphas = set() if certified_alpha is None else {certified_alpha}
    if alphas != _values(output, columns, CERTIFIED_ALPHA):
        raise FileExistsError(_differs(output, "certificates, with another alpha", resumes=resumes))


def _is_damaged_parquet(output: Path) -> bool:
    """Return whether a file is damaged Parquet, so that nothing is lost if it is replaced."""
    if output.suffix != ".parquet" or not _is_there(output):
        return False
    with output.open("rb") as file:
        begins = file.read(4) == b"PAR1"
    try:
        pa.parquet.read_schema(output)
    except UNREADABLE:
        return begins
    return False


def _differs(output: Path, what: str, *, resumes: bool) -> str:
    other = f"{output} holds the scores of other {what}: choose another output"
    if not resumes:
        return f"{other}, or replace it with --overwrite"
    return (
        f"{other}, replace it with --overwrite (in Python overwrite=True), or score only what is new with "
        "--resume"
    )


def _same_files(output: Path, files: Sequence[Path], columns: Sequence[str]) -> bool:
    """Return whether a table is of these files, or, if it does not name them, of some of them."""
    given = {os.path.realpath(path) for path in files}
    if output.suffix == ".parquet":
        asked = (pa.parquet.read_schema(output).metadata or {}).get(ASKED.encode())
        if asked is not None:
            return set(json.loads(asked)) == given
    if "file" not in columns:
        return False
    # Such a table may name files relative to a folder that it does not record.
    return {os.path.realpath(path) for path in read_scores(output)["file"].unique()} <= given


def _values(output: Path, columns: Sequence[str], condition: str) -> set[object]:
    """Return the values of a condition that a table names, none if it does not."""
    if condition not in columns:
        return set()
    return set(read_scores(output)[condition].unique())


def check_table_output(output: Path, inputs: Iterable[Path], kind: str) -> None:
    """Refuse an output that is no place for a table, is read, or is not a table for readers already.

    The message calls such a table a `kind`, such as summary. A table of one kind may replace another one.
    """
    check_table_suffix(output)
    check_writable(output)
    check_no_input(output, inputs)
    if not _is_there(output):
        return
    if output.suffix in MARKS:
        with output.open("rb") as file:
            ours = file.readline().rstrip() == MARKS[output.suffix].encode()
    else:
        columns = _columns(output)
        ours = any(needed <= columns.keys() for needed in _FOR_READERS) or (
            "metric" in columns and any(column.endswith(" ci_low") for column in columns)
        )
    if not ours:
        raise FileExistsError(_is_something_else(output, kind))


def check_page(output: Path, inputs: Iterable[Path]) -> None:
    """Refuse to replace anything but a page that this package wrote."""
    check_no_input(output, inputs)
    if _is_there(output):
        with output.open("rb") as file:
            start = file.read(_PAGE_BYTES)
        if not (start.startswith(b"<!doctype html>") and b"<dd>lensmetrics " in start):
            raise FileExistsError(_is_something_else(output, "page of lensmetrics"))


def _found(output: Path, kind: str, needed: set[str]) -> list[str] | None:
    """Return the columns of an existing table, None if there is no file."""
    if not _is_there(output):
        return None
    columns = _columns(output)
    if not needed <= columns.keys():
        raise FileExistsError(_is_something_else(output, kind))
    return list(columns)


def _columns(output: Path) -> dict[str, None]:
    """Return the columns of a file, none if it is no table."""
    with contextlib.suppress(*UNREADABLE, zlib.error):
        if output.suffix == ".parquet":
            return dict.fromkeys(pa.parquet.read_schema(output).names)
        return dict.fromkeys(map(str, pd.read_csv(output, nrows=0).columns))
    return {}


def _is_there(output: Path) -> bool:
    """Return whether there is a file at the path that is not empty."""
    if output.exists() and not output.is_dir() and not output.is_file():
        raise FileExistsError(f"{output} is not a regular file; choose another output")
    return output.is_file() and output.stat().st_size > 0


def _is_something_else(output: Path, kind: str) -> str:
    return f"{output} exists and is not a {kind}: choose another output, or move that file away"
