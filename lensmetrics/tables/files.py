"""The table of scores on disk."""

import contextlib
import gzip
import json
import math
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet

from ..disk import check_writable, replacing
from .columns import (
    CONDITIONS,
    IDENTITY,
    METRICS,
    check_names,
    check_table,
    condition_columns,
    metric_columns,
    one_kind,
)

_CSV = (".csv", ".csv.gz")
# Arrow and pandas report damage as any of these, depending on what the damaged bytes were.
UNREADABLE = (pa.ArrowException, ArithmeticError, EOFError, LookupError, OSError, TypeError, ValueError)
# Nullable types keep whole numbers whole where some are missing.
_NULLABLE = {
    pa.int64(): pd.Int64Dtype(),
    pa.float64(): pd.Float64Dtype(),
    pa.string(): pd.StringDtype(),
    pa.null(): pd.Float64Dtype(),
}
_METADATA = b"lensmetrics_metrics"
_LABELS = ("label", "prediction", "prediction_perturbed")
# Rows of CSV that are put together at a time.
_CSV_ROWS = 2**14
# A spreadsheet takes a cell that begins so for a formula; behind an apostrophe it is text.
_FORMULA = re.compile("'*[=+@\t\r-]")
_NEEDS_QUOTES = re.compile('[",\r\n]|^\\s|\\s$|^$')


def check_output(path: str | os.PathLike[str]) -> Path:
    """Return the path of a table to be written, or raise before the work is done that fills it."""
    path = Path(path)
    if not (path.suffix == ".parquet" or path.name.endswith(_CSV)):
        msg = f"{path}: cannot tell the kind of table; name it .parquet, .csv or .csv.gz"
        raise ValueError(msg)
    check_writable(path)
    return path


def write_scores(
    scores: pd.DataFrame, path: str | os.PathLike[str], *, metadata: Mapping[str, str] | None = None
) -> None:
    """Write a table of scores as Parquet or, where the name ends in .csv or .csv.gz, as CSV.

    The file appears whole or not at all; an older one is replaced. Parquet also keeps `metadata`,
    texts under names, in its schema, and the list of the columns that are scores.

    Notes
    -----
    CSV has no types. A condition whose texts all read as numbers print (``5``, ``0.1``) comes back
    as numbers, every other text (``018``, ``1_0``) as it was, the empty one in quotes. A text that
    begins as a formula of a spreadsheet does (``=``, ``+``, ``-``, ``@``) stands behind an
    apostrophe, which :func:`read_scores` takes away. A metric without parameters that is not
    registered where the table is read comes back as a condition: Parquet knows better.
    """
    path = check_output(path)
    check_names(scores, "the table")
    scores = of_one_kind(scores)
    with replacing(path) as part:
        if path.suffix == ".parquet":
            table = pa.Table.from_pandas(scores)
            listed = {_METADATA: json.dumps(metric_columns(scores))}
            described = table.replace_schema_metadata({**table.schema.metadata, **listed, **(metadata or {})})
            # Else a changed bit in a score would be read as another score.
            pa.parquet.write_table(described, part, write_page_checksum=True)
        else:
            write_csv(scores, part)


def of_one_kind(scores: pd.DataFrame) -> pd.DataFrame:
    """Return a table without conditions and samples of several kinds, which joined tables can have."""
    columns = [*condition_columns(scores), *(["sample"] if "sample" in scores else [])]
    mixed = [column for column in columns if scores[column].dtype == object]
    plain = {
        column: one_kind([None if pd.isna(value) else value for value in scores[column]]) for column in mixed
    }
    return scores.assign(**plain) if plain else scores


def write_csv(table: pd.DataFrame, path: Path) -> None:
    """Write what :func:`_read_csv` reads: pandas itself writes missing and empty texts alike."""
    compressed = path.name.endswith(".gz")
    with gzip.open(path, "wb") if compressed else path.open("wb") as file:
        file.write((",".join(map(_text_cell, table.columns)) + "\n").encode())
        for start in range(0, len(table), _CSV_ROWS):
            part = table.iloc[start : start + _CSV_ROWS]
            cells = [_cells(part.iloc[:, i]) for i in range(part.shape[1])]
            file.write("".join(",".join(row) + "\n" for row in zip(*cells, strict=True)).encode())


def _cells(values: "pd.Series[Any]") -> list[str]:
    """Return the cells of a column: numbers with all digits, missing ones empty."""
    if values.dtype.kind == "f":
        return ["" if math.isnan(value) else repr(value) for value in values.astype(np.float64).tolist()]
    codes, different = pd.factorize(values)
    texts = [_cell(value) for value in different.tolist()]
    texts.append("")  # which the code of missing ones, -1, finds
    return [texts[code] for code in codes.tolist()]


def _cell(value: object) -> str:
    if isinstance(value, float | np.floating):
        return repr(float(value))
    return str(value) if isinstance(value, int | np.integer) else _text_cell(str(value))


def _text_cell(text: str) -> str:
    if _FORMULA.match(text):
        text = f"'{text}"
    return '"' + text.replace('"', '""') + '"' if _NEEDS_QUOTES.search(text) else text


def _text_of_cell(text: str) -> str:
    return text[1:] if text.startswith("'") and _FORMULA.match(text) else text


def read_scores(path: str | os.PathLike[str]) -> pd.DataFrame:
    """Read a table of scores that :func:`write_scores` wrote.

    Raises
    ------
    ValueError
        If the file is no table of scores.
    """
    path = Path(path)
    if not path.exists():
        msg = f"{path} does not exist"
        raise FileNotFoundError(msg)
    if path.is_dir():
        msg = f"{path} is a directory; give a table of scores"
        raise IsADirectoryError(msg)
    try:
        scores = _read_csv(path) if path.name.endswith(_CSV) else _read_parquet(path)
        repeated = scores.columns[scores.columns.duplicated()]
        if len(repeated):
            msg = f"the column {repeated[0]!r} stands twice in it"
            raise ValueError(msg)
        scored = set(metric_columns(scores))
        for column in scores.columns:
            scores[column] = _as_written(column, scores[column], scored=column in scored)
    except UNREADABLE as error:
        if _is_hdf5(path):
            msg = f"{path} cannot be read as a table of scores: it is an HDF5 file; score it first"
            raise ValueError(msg) from error
        reason = "".join(c if c.isprintable() else " " for c in str(error)).strip()
        msg = f"{path} cannot be read as a table of scores (.parquet, .csv or .csv.gz): {reason}"
        raise ValueError(msg) from error
    check_table(scores, str(path))
    return scores


def _is_hdf5(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(8) == b"\x89HDF\r\n\x1a\n"


def _read_csv(path: Path) -> pd.DataFrame:
    # Texts are not guessed to be something else, and only an empty cell without quotes is missing.
    parsing = pyarrow.csv.ParseOptions(newlines_in_values=True)
    with pyarrow.csv.open_csv(path, parse_options=parsing) as reader:
        cells = reader.schema.names
    parsing.ignore_empty_lines = len(cells) > 1
    names = [_text_of_cell(cell) for cell in cells]
    scored = set(metric_columns(pd.DataFrame(columns=names)))
    # A spreadsheet writes the score 1.0 as 1.
    kinds = pa.dictionary(pa.int32(), pa.string()), pa.float64()
    types = {cell: kinds[name in scored] for cell, name in zip(cells, names, strict=True)}
    options = pyarrow.csv.ConvertOptions(
        column_types=types, null_values=[""], strings_can_be_null=True, quoted_strings_can_be_null=False
    )
    table = pyarrow.csv.read_csv(path, parse_options=parsing, convert_options=options)
    scores: pd.DataFrame = table.rename_columns(names).to_pandas(types_mapper=_NULLABLE.get)
    if not scores.columns.is_unique:
        return scores
    for column in scores.columns:
        if isinstance(scores[column].dtype, pd.CategoricalDtype):
            scores[column] = _decoded(column, scores[column])
    for column in [c for c in ("sample", *_LABELS) if c in scores]:
        different = scores[column].cat.categories
        whole = different.empty or pd.api.types.is_integer_dtype(different.dtype)
        scores[column] = scores[column].astype("Int64" if whole else different.dtype)
    return scores


def _decoded(name: str, values: "pd.Series[Any]") -> "pd.Series[Any]":
    """Return a column of cells as the texts or numbers that were written."""
    texts = [_text_of_cell(cell) for cell in values.cat.categories.tolist()]
    plain = texts if name in ("file", "name", "status") else _as_numbers(texts)
    return values.cat.rename_categories(plain).cat.reorder_categories(sorted(plain))


def _read_parquet(path: Path) -> pd.DataFrame:
    scores = pd.read_parquet(path, dtype_backend="numpy_nullable", page_checksum_verification=True)
    listed = (pa.parquet.read_schema(path).metadata or {}).get(_METADATA)
    if listed is not None:
        scores.attrs[METRICS] = [str(name) for name in json.loads(listed)]
    return scores


def _as_numbers(texts: list[str]) -> list[Any]:
    """Return texts as numbers where each of them is how a number prints, else as they are."""
    numbers = [_printed_number(text) for text in texts]
    if None in numbers or any(isinstance(value, str) for value in one_kind(numbers)):
        return texts
    if any(isinstance(number, float) for number in numbers):
        numbers = [float(number) for number in numbers if number is not None]
    return numbers if len(set(numbers)) == len(numbers) else texts


def _printed_number(text: str) -> int | float | None:
    for kind in (int, float):
        with contextlib.suppress(ValueError):
            number = kind(text)
            if str(number) == text and text != "nan":
                return number
    return None


def _as_written(name: str, values: "pd.Series[Any]", *, scored: bool) -> "pd.Series[Any]":
    """Return a column that was read with nullable types with the type that it was written with."""
    if scored:
        return values.astype("float64")
    if name in _LABELS:
        if not pd.api.types.is_integer_dtype(values.dtype):
            msg = f"the column {name!r} must hold whole numbers, it has {values.dtype}"
            raise ValueError(msg)
        return values.astype("Int64")
    if pd.api.types.is_bool_dtype(values.dtype):
        values = values.astype("category")
    categorical = isinstance(values.dtype, pd.CategoricalDtype)
    if name in ("file", *CONDITIONS) or (categorical and name not in IDENTITY):
        known = values if categorical else values.astype("category")
        # Plain numbers and texts in place of nullable ones.
        return known.cat.rename_categories(one_kind(known.cat.categories.tolist()))  # not truth values either
    if name in ("name", "status") or pd.api.types.is_string_dtype(values.dtype):
        texts = values.astype(object).where(values.notna(), None)
        return pd.Series(texts.tolist(), index=values.index, name=name)
    if pd.api.types.is_integer_dtype(values.dtype) and values.notna().all():
        return values.astype("int64")
    return values.astype("float64") if pd.api.types.is_float_dtype(values.dtype) else values
