"""What a command may replace: what it writes itself, and nothing that it reads."""

import contextlib
import json
import os
import zlib
from collections.abc import Iterable, Sequence
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet

from ..metrics.registry import Metric
from .columns import is_metric
from .files import UNREADABLE, read_scores

# Where a Parquet table names the files that were asked for.
ASKED = "lensmetrics_files"
# The first columns of a table of scores after the conditions, and the last of a summary before its counts.
_OF_SCORES = {"sample", "status"}
_OF_SUMMARIES = {"metric", "mean", "sd", "n", "n_undefined", "ci_low", "ci_high"}
# The page names its maker within its first bytes.
_PAGE_BYTES = 2**16


def check_no_input(output: Path, inputs: Iterable[Path]) -> None:
    """Refuse to write over a file that is read, be it by another name."""
    for path in inputs:
        with contextlib.suppress(OSError):
            if output.samefile(path):
                other = "" if str(path) == str(output) else f", by the name {path}"
                raise ValueError(f"{output} is the file being read{other}; give the output another name")


def check_scores(
    output: str | os.PathLike[str],
    files: Sequence[Path],
    metrics: Sequence[Metric],
    *,
    replacing: bool,
) -> None:
    """Refuse to replace anything but a table of scores, and other files' or metrics' unless `replacing`."""
    output = Path(output)
    check_no_input(output, files)
    if replacing and _is_damaged_parquet(output):
        return
    columns = _found(output, "table of scores", _OF_SCORES)
    if columns is None or replacing:
        return
    scored = [column for column in columns if is_metric(column)]
    if set(scored) != set(map(str, metrics)):
        raise FileExistsError(_differs(output, "metrics"))
    if not _same_files(output, files, columns):
        raise FileExistsError(_differs(output, "files"))


def _is_damaged_parquet(output: Path) -> bool:
    """Whether a file begins as Parquet does, and then is damaged: a table that can be made again."""
    if output.suffix != ".parquet" or not _is_there(output):
        return False
    with output.open("rb") as file:
        begins = file.read(4) == b"PAR1"
    try:
        pa.parquet.read_schema(output)
    except UNREADABLE:
        return begins
    return False


def _differs(output: Path, what: str) -> str:
    return (
        f"{output} holds the scores of other {what}: give another name, or let the table of this "
        "run take its place: --overwrite (in Python overwrite=True), or --resume, which scores what is new"
    )


def _same_files(output: Path, files: Sequence[Path], columns: Sequence[str]) -> bool:
    """Whether a table is of these files; of one that does not say so, whether all in it are among them."""
    given = {os.path.realpath(path) for path in files}
    if output.suffix == ".parquet":
        asked = (pa.parquet.read_schema(output).metadata or {}).get(ASKED.encode())
        if asked is not None:
            return set(json.loads(asked)) == given
    if "file" not in columns:
        return False
    # Such a table may name files relative to the folder it was made in, which it does not know.
    return {os.path.realpath(path) for path in read_scores(output)["file"].unique()} <= given


def check_summary(output: Path, inputs: Iterable[Path]) -> None:
    """Refuse to replace anything but a summary."""
    check_no_input(output, inputs)
    _found(output, "summary", _OF_SUMMARIES)


def check_page(output: Path, inputs: Iterable[Path]) -> None:
    """Refuse to replace anything but a page that this package made."""
    check_no_input(output, inputs)
    if _is_there(output):
        with output.open("rb") as file:
            start = file.read(_PAGE_BYTES)
        if not (start.startswith(b"<!doctype html>") and b"<dd>lensmetrics " in start):
            raise FileExistsError(_is_something_else(output, "page of lensmetrics"))


def _found(output: Path, kind: str, needed: set[str]) -> list[str] | None:
    """Return the columns of a table that is there, None where nothing is."""
    if not _is_there(output):
        return None
    columns: list[str] = []
    with contextlib.suppress(*UNREADABLE, zlib.error):
        if output.suffix == ".parquet":
            columns = list(pa.parquet.read_schema(output).names)
        else:
            columns = list(map(str, pd.read_csv(output, nrows=0).columns))
    if not needed <= set(columns):
        raise FileExistsError(_is_something_else(output, kind))
    return columns


def _is_there(output: Path) -> bool:
    """Whether there is anything to lose at the path."""
    if output.exists() and not output.is_dir() and not output.is_file():
        raise FileExistsError(f"{output} is no regular file; give the output another name")
    return output.is_file() and output.stat().st_size > 0


def _is_something_else(output: Path, kind: str) -> str:
    return f"{output} exists and is no {kind}: give the output another name, or move that file away"
