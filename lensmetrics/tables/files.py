"""The table of scores on disk."""

import json
import os
import warnings
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet

from ..disk import check_writable, file_kind, replacing
from .columns import (
    CONDITIONS,
    IDENTITY,
    METRICS,
    check_names,
    check_table,
    condition_columns,
    metric_columns,
    one_kind,
    parse_column,
)
from .csv_files import LABELS, read_csv, write_csv
from .known import BUILT_IN, CERTIFICATES, FACTS, known_metrics, read_facts

_CSV = (".csv", ".csv.gz")
# What Arrow and pandas raise for a damaged file, depending on which bytes are damaged.
UNREADABLE = (pa.ArrowException, ArithmeticError, EOFError, LookupError, OSError, TypeError, ValueError)
# Keys of the Parquet metadata: the columns of scores, and the facts of metrics that readers may not know.
_LISTED = b"lensmetrics_metrics"
_FACTS = b"lensmetrics_metric_facts"
# With nullable types, integers remain integers if some are missing.
_NULLABLE = {
    pa.int8(): pd.Int8Dtype(),
    pa.int16(): pd.Int16Dtype(),
    pa.int32(): pd.Int32Dtype(),
    pa.int64(): pd.Int64Dtype(),
    pa.uint8(): pd.UInt8Dtype(),
    pa.uint16(): pd.UInt16Dtype(),
    pa.uint32(): pd.UInt32Dtype(),
    pa.uint64(): pd.UInt64Dtype(),
    pa.bool_(): pd.BooleanDtype(),
    pa.float32(): pd.Float32Dtype(),
    pa.float64(): pd.Float64Dtype(),
    pa.string(): pd.StringDtype(),
    pa.large_string(): pd.StringDtype(),
}


def check_output(path: str | os.PathLike[str]) -> Path:
    """Return the path of a table to write; raise early if it cannot be written."""
    path = Path(path)
    if not (path.suffix == ".parquet" or path.name.endswith(_CSV)):
        raise ValueError(f"{path}: unknown kind of table; use a name that ends in .parquet, .csv or .csv.gz")
    check_writable(path)
    return path


def write_scores(
    scores: pd.DataFrame, path: str | os.PathLike[str], *, metadata: Mapping[str, str] | None = None
) -> None:
    """Write a table of scores as Parquet, or as CSV if the name ends in .csv or .csv.gz.

    The file appears whole or not at all; an older file is replaced.

    Parameters
    ----------
    scores
        A table of scores.
    path
        Path of the file: .parquet, .csv or .csv.gz.
    metadata
        Texts that Parquet stores in its schema under their names.

    Raises
    ------
    ValueError
        If the name has another suffix, or column names are not unique texts.
    OSError
        If the file cannot be written.

    Notes
    -----
    Parquet also stores which columns are scores, and bounds, best value and meaning of metrics that
    do not belong to the package.

    CSV has no types. If all texts of a condition look exactly like printed numbers (``5``, ``0.1``),
    they are read as numbers; every other text (``018``, ``1_0``) is read unchanged. The empty text is
    quoted, a missing value is not. A text that a spreadsheet would read as a formula (it begins with
    ``=``, ``+``, ``-`` or ``@``) gets an apostrophe in front, which :func:`read_scores` removes. A
    metric without parameters that is not registered in the reading process is read as a condition.

    Examples
    --------
    >>> import tempfile
    >>> from pathlib import Path
    >>> import pandas as pd
    >>> import lensmetrics as lm
    >>> scores = pd.DataFrame({"attack": ["topk", "topk"], "sample": [7, 8], "kendall": [0.25, 0.5]})
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     lm.write_scores(scores, f"{folder}/scores.csv")
    ...     print(Path(folder, "scores.csv").read_text())
    attack,sample,kendall
    topk,7,0.25
    topk,8,0.5
    <BLANKLINE>
    """
    path = check_output(path)
    check_names(scores, "the table")
    scores = of_one_kind(scores)
    with replacing(path) as part:
        if path.suffix == ".parquet":
            table = pa.Table.from_pandas(scores)
            columns = metric_columns(scores)
            described = table.replace_schema_metadata(
                {
                    **table.schema.metadata,
                    _LISTED: json.dumps(columns),
                    _FACTS: json.dumps(_foreign_facts(scores, columns)),
                    **(metadata or {}),
                }
            )
            # Without checksums, a flipped bit in a score would be read as a different score.
            pa.parquet.write_table(described, part, write_page_checksum=True)
        else:
            write_csv(scores, part)


def _foreign_facts(scores: pd.DataFrame, columns: Iterable[str]) -> dict[str, Any]:
    """Return what is known about the metrics of the table that do not belong to the package."""
    known = known_metrics(scores.attrs)
    names = dict.fromkeys(parse_column(column).name for column in columns)
    ours = BUILT_IN.keys() | CERTIFICATES.keys()
    return {name: known[name].plain() for name in names if name in known and name not in ours}


def of_one_kind(scores: pd.DataFrame) -> pd.DataFrame:
    """Return the table with one kind of value per condition; concatenated tables can have several."""
    columns = [*condition_columns(scores), *(["sample"] if "sample" in scores else [])]
    mixed = [column for column in columns if scores[column].dtype == object]
    plain = {
        column: one_kind([None if pd.isna(value) else value for value in scores[column]]) for column in mixed
    }
    return scores.assign(**plain) if plain else scores


def read_scores(path: str | os.PathLike[str]) -> pd.DataFrame:
    """Read a table of scores that :func:`write_scores` wrote.

    Parameters
    ----------
    path
        Path of a .parquet, .csv or .csv.gz file.

    Returns
    -------
    DataFrame
        The table with the types that it was written with. Conditions are categorical.

    Raises
    ------
    FileNotFoundError, IsADirectoryError, PermissionError
        If there is no such file, or it may not be read.
    ValueError
        If the file is not a table of scores, or is damaged.

    Examples
    --------
    >>> import tempfile
    >>> import pandas as pd
    >>> import lensmetrics as lm
    >>> scores = pd.DataFrame({"attack": ["topk", "topk"], "sample": [7, 8], "kendall": [0.25, 0.5]})
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     lm.write_scores(scores, f"{folder}/scores.parquet")
    ...     lm.read_scores(f"{folder}/scores.parquet")
      attack  sample  kendall
    0   topk       7     0.25
    1   topk       8     0.50
    """
    path = Path(path)
    if not path.exists():
        raise FileNotFoundError(f"{path} does not exist")
    if path.is_dir():
        raise IsADirectoryError(f"{path} is a directory; name a table of scores")
    if not path.is_file():  # Arrow waits for a writer to a pipe, and cannot be interrupted
        raise ValueError(f"{path} is {file_kind(path.stat().st_mode)}; name a table of scores")
    if not os.access(path, os.R_OK):
        raise PermissionError(f"{path} may not be read: allow it with chmod, or read a copy")
    try:
        scores = read_csv(path) if path.name.endswith(_CSV) else _read_parquet(path)
    except UNREADABLE as error:
        raise _not_a_table(path, error) from error
    repeated = scores.columns[scores.columns.duplicated()]
    if len(repeated):
        raise _not_a_table(path, f"column {repeated[0]!r} occurs more than once")
    scored = set(metric_columns(scores))
    for column in scores.columns:
        try:
            scores[column] = _as_written(column, scores[column], scored=column in scored)
        except ValueError as error:  # a column of scores holds texts, a label is a fraction
            raise _not_a_table(path, error) from error
    check_table(scores, str(path))
    return scores


def _not_a_table(path: Path, reason: object) -> ValueError:
    if _is_hdf5(path):
        return ValueError(f"{path} cannot be read as a table of scores: it is an HDF5 file; score it first")
    if path.suffix == ".parquet" and not _begins(path, b"PAR1"):
        what = (
            "it is not a Parquet file; a CSV file must be named .csv"
            if path.stat().st_size
            else "it is empty"
        )
        return ValueError(f"{path} cannot be read as a table of scores: {what}")
    text = "".join(c if c.isprintable() else " " for c in str(reason)).strip()
    return ValueError(f"{path} cannot be read as a table of scores (.parquet, .csv or .csv.gz): {text}")


def _is_hdf5(path: Path) -> bool:
    return _begins(path, b"\x89HDF\r\n\x1a\n")


def _begins(path: Path, magic: bytes) -> bool:
    with path.open("rb") as file:
        return file.read(len(magic)) == magic


def _read_parquet(path: Path) -> pd.DataFrame:
    # `pandas.read_parquet` and `read_table` also load the reader of partitioned datasets, which takes 20 ms.
    with pa.parquet.ParquetFile(path, page_checksum_verification=True) as file:
        metadata = file.schema_arrow.metadata or {}
        table = file.read(use_pandas_metadata=True)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="make_block is deprecated")
        scores: pd.DataFrame = table.to_pandas(types_mapper=_NULLABLE.get)
    scores.attrs.pop(FACTS, None)
    if _LISTED in metadata:
        scores.attrs[METRICS] = [str(name) for name in json.loads(metadata[_LISTED])]
    described = dict(json.loads(metadata.get(_FACTS, b"{}")))
    if described:
        scores.attrs[FACTS] = {str(name): read_facts(facts).plain() for name, facts in described.items()}
    return scores


def _as_written(name: str, values: "pd.Series[Any]", *, scored: bool) -> "pd.Series[Any]":
    """Return a column that was read with a nullable type with the type that it was written with."""
    if scored:
        return values.astype("float64")
    if name in LABELS:
        if not pd.api.types.is_integer_dtype(values.dtype):
            raise ValueError(f"column {name!r} must contain integers, got {values.dtype}")
        return values.astype("Int64")
    if pd.api.types.is_bool_dtype(values.dtype):
        values = values.astype("category")
    categorical = isinstance(values.dtype, pd.CategoricalDtype)
    if name in ("file", *CONDITIONS) or (categorical and name not in IDENTITY):
        known = values if categorical else values.astype("category")
        # Plain numbers and texts instead of nullable ones, and texts instead of booleans.
        return known.cat.rename_categories(one_kind(known.cat.categories.tolist()))
    if name in ("name", "status") or pd.api.types.is_string_dtype(values.dtype):
        texts = values.astype(object).where(values.notna(), None)
        return pd.Series(texts.tolist(), index=values.index, name=name)
    if pd.api.types.is_integer_dtype(values.dtype) and values.notna().all():
        return values.astype("int64")
    return values.astype("float64") if pd.api.types.is_float_dtype(values.dtype) else values
