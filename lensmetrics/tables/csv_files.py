"""Tables as CSV: text and missing values are kept apart, and no cell is a formula."""

import contextlib
import gzip
import math
import re
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.csv

from .columns import metric_columns, one_kind

# Columns of integers that may be missing.
LABELS = ("label", "prediction", "prediction_perturbed")
# With nullable types, integers remain integers if some are missing.
_NULLABLE = {
    pa.int64(): pd.Int64Dtype(),
    pa.float64(): pd.Float64Dtype(),
    pa.string(): pd.StringDtype(),
    pa.null(): pd.Float64Dtype(),
}
# Rows of CSV that are formatted at a time.
_CSV_ROWS = 2**14
# A spreadsheet reads a cell that begins like this as a formula; an apostrophe in front makes it a text.
_FORMULA = re.compile("'*[=+@\t\r-]")
_NEEDS_QUOTES = re.compile('[",\r\n]|^\\s|\\s$|^$')


def write_csv(table: pd.DataFrame, path: Path) -> None:
    """Write a CSV file that `read_csv` reads; pandas would write missing and empty texts alike."""
    compressed = path.name.endswith(".gz")
    with gzip.open(path, "wb") if compressed else path.open("wb") as file:
        file.write((",".join(map(_text_cell, table.columns)) + "\n").encode())
        for start in range(0, len(table), _CSV_ROWS):
            part = table.iloc[start : start + _CSV_ROWS]
            cells = [_cells(part.iloc[:, i]) for i in range(part.shape[1])]
            file.write("".join(",".join(row) + "\n" for row in zip(*cells, strict=True)).encode())


def _cells(values: "pd.Series[Any]") -> list[str]:
    """Return the cells of a column: numbers with all digits, missing values empty."""
    if values.dtype.kind == "f":
        return ["" if math.isnan(value) else repr(value) for value in values.astype(np.float64).tolist()]
    codes, different = pd.factorize(values)
    texts = [_cell(value) for value in different.tolist()]
    texts.append("")  # for missing values, whose code is -1
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


def read_csv(path: Path) -> pd.DataFrame:
    """Read a CSV file that `write_csv` wrote, or that a spreadsheet saved."""
    # No type is guessed, and only an empty cell without quotes is a missing value.
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
    for column in [c for c in ("sample", *LABELS) if c in scores]:
        different = scores[column].cat.categories
        whole = different.empty or pd.api.types.is_integer_dtype(different.dtype)
        scores[column] = scores[column].astype("Int64" if whole else different.dtype)
    return scores


def _decoded(name: str, values: "pd.Series[Any]") -> "pd.Series[Any]":
    """Return a column of cells as the texts or numbers that were written."""
    texts = [_text_of_cell(cell) for cell in values.cat.categories.tolist()]
    plain = texts if name in ("file", "name", "status") else _as_numbers(texts)
    return values.cat.rename_categories(plain).cat.reorder_categories(sorted(plain))


def _as_numbers(texts: list[str]) -> list[Any]:
    """Return texts as numbers if each of them is exactly how a number prints, otherwise unchanged."""
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
