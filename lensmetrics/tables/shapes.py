"""The table of scores: on disk, in long form, as xarray, and summarized."""

import contextlib
import gzip
import itertools
import json
import math
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet

from ..disk import check_writable, replacing
from ..statuses import METRIC_STATUSES, SAMPLE_STATUSES
from .columns import CONDITIONS, IDENTITY, METRICS, SUMMARY, condition_columns, one_kind, unified
from .columns import metric_columns as metric_columns
from .labels import Column, parse_column

if TYPE_CHECKING:
    import xarray as xr

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

# Statuses that `summarize` can leave out.
EXCLUDABLE = (*SAMPLE_STATUSES, "tied_cut")
_N_RESAMPLES = 2000
# From so many source samples with a score on, the interval comes from its formula.
_MANY = 20_000
_LARGEST_SKEW = 2
# So many rows of a column are worked on at a time.
_CHUNK_ROWS = 2**15
# Weights of resamples are drawn in chunks of about this many numbers, for so many source samples at a time.
_CHUNK = 2**20
_BLOCK = 2**15
# As many means at a time, of groups of one size, have their intervals found, if their totals are not more.
_BATCH = 512
_TOTALS = 2**24


def _identity_columns(scores: pd.DataFrame) -> list[str]:
    scored = set(metric_columns(scores))
    return [column for column in scores.columns if column not in scored]


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
    _check_labels(scores, "the table")
    scores = _of_one_kind(scores)
    with replacing(path) as part:
        if path.suffix == ".parquet":
            table = pa.Table.from_pandas(scores)
            listed = {_METADATA: json.dumps(metric_columns(scores))}
            described = table.replace_schema_metadata({**table.schema.metadata, **listed, **(metadata or {})})
            # Else a changed bit in a score would be read as another score.
            pa.parquet.write_table(described, part, write_page_checksum=True)
        else:
            write_csv(scores, part)


def _of_one_kind(scores: pd.DataFrame) -> pd.DataFrame:
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
    _check(scores, str(path))
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


def tidy(scores: pd.DataFrame) -> pd.DataFrame:
    """Return the scores in long form, a row per pair and metric.

    Returns
    -------
    DataFrame
        The identifying columns, then ``metric`` (the name alone), its parameters ``k`` and ``w``
        (and ``pool`` or others, where a metric has them) and ``value``. A parameter that a metric
        does not have is missing. Rows of one pair stand together, in the order of the columns.

    Raises
    ------
    ValueError
        If a column of the table has one of these names.
    """
    _check(scores, "the table")
    columns = metric_columns(scores)
    parsed = [parse_column(column) for column in columns]
    identity = _identity_columns(scores)
    keys = list(dict.fromkeys(["k", "w", *(key for column in parsed for key in column.params)]))
    _refuse_repeated([*identity, "metric", *keys, "value"])
    rows = np.repeat(np.arange(len(scores)), len(columns))
    long = scores[identity].iloc[rows].reset_index(drop=True)
    names = [column.name for column in parsed]
    long["metric"] = pd.Categorical(names * len(scores), categories=list(dict.fromkeys(names)))
    for key in keys:
        of_metric: list[Any] = [column.params.get(key) for column in parsed]
        whole = all(value is None or isinstance(value, int) for value in of_metric)
        values = pd.array(of_metric, dtype="Int64" if whole else "Float64")
        long[key] = values.take(np.tile(np.arange(len(columns)), len(scores)))
    long["value"] = scores[columns].to_numpy(dtype=np.float64).reshape(-1)
    return long


def _refuse_repeated(names: Sequence[str]) -> None:
    """Refuse to make two columns or axes of one name, of which one would take the place of the other."""
    repeated = next((name for i, name in enumerate(names) if name in names[:i]), None)
    if repeated is not None:
        msg = (
            f"{repeated!r} would stand twice, for a column of the table and for a metric or a parameter of "
            "one: rename the column first"
        )
        raise ValueError(msg)


def to_xarray(scores: pd.DataFrame) -> "xr.Dataset":
    """Return the scores as a Dataset with a variable per metric name.

    Returns
    -------
    Dataset
        Each variable has the dimension ``sample``, one for each parameter of its metric (``k``,
        ``w``, ...), and ``file`` first where the table has several files. Combinations that were
        not scored are NaN; an optional parameter that was not given (``pool``) is at 0. ``sample``
        has the names of the samples where files have names, else their numbers. ``status``
        is a variable too, empty where a file lacks the sample; condition attributes are
        coordinates, along ``file`` where there are several, and along the samples too where they
        differ within a file. Samples that were never written have no number (-1 in the table) and
        no place here.

    Raises
    ------
    ValueError
        If a sample stands twice in one file, some samples have names and others do not, or the
        names of columns, metrics and parameters are not all different.
    """
    import xarray as xr  # which takes a while, and only this needs it

    _check(scores, "the table")
    scores = _of_one_kind(scores)
    several = "file" in scores and scores["file"].nunique() > 1
    keys = ["file", "sample"] if several else ["sample"]
    everything = scores
    if "status" in scores:
        scores = scores[(scores["status"] != "incomplete") | (scores["sample"] != -1)]
    places = _places(scores, several=several)
    # Files keep their order, samples are sorted: files of one study then share the axis.
    labels = {"sample": pd.Index(np.unique(places["sample"]))}
    if several:
        labels = {"file": pd.Index(everything["file"].unique())} | labels
    shape = tuple(len(values) for values in labels.values())
    place = np.ravel_multi_index(tuple(labels[key].get_indexer(pd.Index(places[key])) for key in keys), shape)

    def spread(values: npt.NDArray[Any], fill: object) -> npt.NDArray[Any]:
        full = np.full(shape, fill, dtype=values.dtype)
        full.reshape(-1)[place] = values
        return full

    variables: dict[str, xr.DataArray] = {}
    by_name: dict[str, list[Column]] = {}
    for column in map(parse_column, metric_columns(scores)):
        by_name.setdefault(column.name, []).append(column)
    conditions = condition_columns(scores)
    parameters = dict.fromkeys(key for members in by_name.values() for c in members for key in c.params)
    _refuse_repeated([*keys, *conditions, "status", *by_name, *parameters])
    for name, members in by_name.items():
        used = dict.fromkeys(key for column in members for key in column.params)
        axes = {key: sorted({column.params.get(key, 0) for column in members}) for key in used}
        cube = np.full((*(len(values) for values in axes.values()), *shape), np.nan)
        taken: dict[tuple[int, ...], str] = {}
        for column in members:
            at = tuple(axes[key].index(column.params.get(key, 0)) for key in axes)
            if taken.setdefault(at, column.text) != column.text:
                msg = f"{taken[at]} and {column.text} have one place in a cube; leave out one of them"
                raise ValueError(msg)
            cube[at] = spread(scores[column.text].to_numpy(dtype=np.float64), np.nan)
        variables[name] = xr.DataArray(cube, dims=[*axes, *keys], coords=axes).transpose(*keys, *axes)
    data = xr.Dataset(variables).assign_coords({key: np.asarray(values) for key, values in labels.items()})
    if "status" in scores:
        data["status"] = (keys, spread(scores["status"].to_numpy(dtype=object), ""))
    for name in conditions:
        values = everything[name]
        first = everything.drop_duplicates("file") if several else everything.iloc[:1]
        if len(everything[[*keys[:-1], name]].drop_duplicates()) > len(first):
            data = data.assign_coords({name: (keys, spread(scores[name].to_numpy(dtype=object), np.nan))})
        elif several:
            data = data.assign_coords({name: ("file", first[name].to_numpy())})
        elif len(first):
            data = data.assign_coords({name: values.iloc[0]})
    return data


def _places(scores: pd.DataFrame, *, several: bool) -> pd.DataFrame:
    """Return file and sample of every row, samples by their names where they have some."""
    places = scores[["file", "sample"] if several else ["sample"]]
    if "name" in scores and scores["name"].notna().any():
        if scores["name"].isna().any():
            msg = (
                "some samples of the table have names and others do not, and a cube needs one kind of label: "
                "make cubes of them apart"
            )
            raise ValueError(msg)
        places = places.assign(sample=scores["name"].astype(object))
    repeated = places.duplicated()
    if repeated.any():
        row = places[repeated].iloc[0]
        where = f" of {row['file']}" if several else ""
        msg = f"sample {row['sample']}{where} stands twice in the table; a cube has one place for it"
        raise ValueError(msg)
    return places


def summarize(
    scores: pd.DataFrame,
    by: Sequence[str] | None = None,
    *,
    exclude: str | Sequence[str] = (),
    seed: int = 0,
) -> pd.DataFrame:
    """Aggregate the scores of each condition.

    Parameters
    ----------
    scores
        A table of scores.
    by
        Columns whose values tell the groups apart, such as ``["training", "attack"]``; the default
        is every condition attribute that differs, then any other attribute without which two files
        would fall into one group, those left out that the ones before them decide. Rows in which
        such a value is missing are a group of their own.
    exclude
        Statuses of samples, such as ``["not_attacked"]``: rows that have one are left out. It can
        be any status of the sample, or ``tied_cut``.
    seed
        Seed of the bootstrap.

    Returns
    -------
    DataFrame
        A row per group and metric: the columns `by`, ``metric`` (its text), ``mean``, ``sd`` (of
        the sample, n - 1), ``n`` (scores that are defined), ``n_undefined`` (NaN or infinite), with `exclude`
        ``n_excluded`` (rows left out), ``ci_low`` and ``ci_high``; ``mean_attacked``, the mean over
        the rows that are not ``not_attacked``, where there are rows that are; then ``n_`` and the
        name of each status that occurs in the table: how many of the group's rows have it, whether
        left out or not.

    Raises
    ------
    ValueError
        If the table has no scores, a column is not there or cannot tell groups apart, a status
        cannot be left out, or a group pools rows of one dataset with and without names.

    Notes
    -----
    Floats in `by` are equal where their float32 values are finite, normal and equal.

    The 95 % interval is the percentile bootstrap of the mean over 2000 resamples of **source
    samples** (dataset and name where files have names, else dataset and sample number): all rows of
    a sample that a group pools are drawn together, because they share an image. Groups with the
    same number of source samples use the same draws. From 20,000 source samples with a defined
    score on, the interval is mean ± 1.96 se with se = sqrt(sum e²) / sum m, where e is a source
    sample's total minus the mean times m, and m its number of defined scores; the bootstrap stays
    where the e are skewed beyond 2. The interval is NaN where fewer than two source samples have
    defined scores.
    """
    _check(scores, "the table")
    excluded = _checked_statuses(scores, exclude)
    scores = unified(scores)
    tokens, has = _tokens(scores)
    by = distinguishing(scores) if by is None else [by] if isinstance(by, str) else list(dict.fromkeys(by))
    metrics = metric_columns(scores)
    for column in by:
        if column not in scores or column in metrics:
            msg = f"cannot summarize by {column!r}: the table has {', '.join(_identity_columns(scores))}"
            raise ValueError(msg)
        if column in ("metric", *SUMMARY, *(f"n_{token}" for token in tokens)):
            msg = f"cannot summarize by {column!r}: a summary has a column of that name; rename yours"
            raise ValueError(msg)
    group = np.zeros(len(scores), dtype=np.intp)
    first = np.zeros(1, dtype=np.intp)
    if by:
        numbers = scores.groupby(by, sort=True, observed=True, dropna=False).ngroup()
        group = np.asarray(numbers, dtype=np.intp)
        first = np.unique(group, return_index=True)[1]

    def count(rows: npt.NDArray[np.bool_]) -> npt.NDArray[np.int64]:
        return np.repeat(np.bincount(group[rows], minlength=len(first)), len(metrics))

    left_out = np.zeros(len(scores), dtype=np.bool_)
    for token in excluded:
        left_out |= has.get(token, False)
    kept = scores[~left_out] if left_out.any() else scores
    not_attacked = has.get("not_attacked", left_out)[~left_out]
    found = _statistics(kept, group[~left_out], len(first), not_attacked, seed)
    table = pd.DataFrame({column: _repeated(scores[column], first, len(metrics)) for column in by})
    table["metric"] = metrics * len(first)
    for name in ("mean", "sd", "n"):
        table[name] = found[name].reshape(-1)
    table["n_undefined"] = count(~left_out) - table["n"]
    if excluded:
        table["n_excluded"] = count(left_out)
    table["ci_low"], table["ci_high"] = found["ci_low"].reshape(-1), found["ci_high"].reshape(-1)
    if not_attacked.any():
        table["mean_attacked"] = found["mean_attacked"].reshape(-1)
    for token in tokens:
        table[f"n_{token}"] = count(has[token])
    return table


def undefined_reason(row: "pd.Series[Any] | Mapping[str, Any]") -> str:
    """Return the status that left a metric without any score in a whole group: "" where none says it.

    `row` is a row of a summary. It is the most frequent of the statuses that can undo that metric.
    """
    metric = parse_column(str(row["metric"]))
    possible = ["incomplete", "checksum", "nan_map"]
    if metric.name.endswith("_published"):
        possible.append("pool_exhausted")
    else:
        possible += ["constant_map"] + ["saturated"] * ("w" in metric.params)
        possible += ["too_small"] * ("k" not in metric.params)
    counts = {status: int(row.get(f"n_{status}", 0)) for status in possible}
    most = max(possible, key=counts.__getitem__)
    return most if not row["n"] and counts[most] else ""


def _checked_statuses(scores: pd.DataFrame, exclude: str | Sequence[str]) -> list[str]:
    statuses = [exclude] if isinstance(exclude, str) else list(dict.fromkeys(exclude))
    for status in statuses:
        if status in EXCLUDABLE:
            continue
        why = "is no status of a sample"
        if status in METRIC_STATUSES:
            why = "is a status of a metric, which depends on the metrics that were asked"
        msg = f"cannot exclude {status!r}: it {why}; allowed: {', '.join(EXCLUDABLE)}"
        raise ValueError(msg)
    if statuses and "status" not in scores:
        msg = f"cannot exclude {statuses[0]!r}: the table has no column 'status'"
        raise ValueError(msg)
    return statuses


def _tokens(scores: pd.DataFrame) -> tuple[list[str], dict[str, npt.NDArray[np.bool_]]]:
    """Return the statuses of the table, sorted, and of each which rows have it."""
    codes, different = pd.factorize(scores["status"] if "status" in scores else pd.Series(dtype=object))
    words = [set(str(status).split(";")) for status in different]
    tokens = sorted(set().union(*words) - {"ok"})
    # The last place is for rows whose status is missing.
    return tokens, {t: np.array([*(t in word for word in words), False])[codes] for t in tokens}


def _repeated(values: "pd.Series[Any]", rows: npt.NDArray[np.intp], n: int) -> "pd.Series[Any]":
    """Return the values at some rows, each n times, as plain ones."""
    found = values.iloc[np.repeat(rows, n)].reset_index(drop=True)
    return pd.Series(found.tolist()) if isinstance(found.dtype, pd.CategoricalDtype) else found


def distinguishing(scores: pd.DataFrame) -> list[str]:
    """Return the condition columns that tell the conditions in the table apart.

    The fixed ones that differ, then any other attribute of files without which two of them would
    fall into one group; from the last to the first, a column is left out that the ones before it
    decide. A column that differs within a file is none of its attributes.
    """
    scores = unified(scores)
    conditions = condition_columns(scores)
    codes = {column: _codes(scores[column]) for column in conditions}
    found = [c for c in CONDITIONS if c in codes and codes[c].max(initial=0) > 0]
    if "file" in scores:
        file = _codes(scores["file"])
        _, first, of_row = np.unique(file, return_index=True, return_inverse=True)
        others = [c for c in conditions if c not in CONDITIONS]
        found += [c for c in others if np.array_equal(codes[c], codes[c][first][of_row])]
    kept: list[str] = []
    n_groups, group = 1, np.zeros(len(scores), dtype=np.int64)
    # A column that those before it decide splits no group of theirs: kept or not, the rest goes on as before.
    for column in found:
        joined = np.unique(group * (codes[column].max(initial=0) + 1) + codes[column], return_inverse=True)
        if len(joined[0]) > n_groups:
            kept.append(column)
            n_groups, group = len(joined[0]), joined[1]
    return kept


def _codes(values: "pd.Series[Any]") -> npt.NDArray[np.int64]:
    """Number the different values of a column, a missing one too."""
    codes = pd.factorize(values, use_na_sentinel=False)[0]
    return np.asarray(codes, dtype=np.int64)


class _Chunk(NamedTuple):
    """Some rows that follow each other, with all rows of each of their source samples."""

    rows: slice
    groups: slice
    group: npt.NDArray[np.intp]  # of every row, counted from the first of `groups`
    source: npt.NDArray[np.intp]  # of every row, counted from the first of the chunk
    source_group: npt.NDArray[np.intp]  # of every source sample


class _Order(NamedTuple):
    """The rows of a table in the order of their groups and, within these, of their source samples."""

    rows: npt.NDArray[np.intp] | slice
    source: npt.NDArray[np.intp]  # of every row
    first_row: npt.NDArray[np.intp]  # of every group, and the end
    first_source: npt.NDArray[np.intp]  # likewise
    chunks: list[_Chunk]


def _statistics(
    scores: pd.DataFrame,
    group: npt.NDArray[np.intp],
    n_groups: int,
    not_attacked: npt.NDArray[np.bool_],
    seed: int,
) -> dict[str, npt.NDArray[Any]]:
    """Return mean, deviation, counts and interval, each (group, metric)."""
    order = _ordered(_source_samples(scores, group), group, n_groups)
    columns = [scores[column].to_numpy(dtype=np.float64)[order.rows] for column in metric_columns(scores)]
    found: dict[str, list[npt.NDArray[Any]]] = {}
    for values in columns:
        for name, numbers in _moments(values, order, not_attacked[order.rows]).items():
            found.setdefault(name, []).append(numbers)
    table = {name: np.stack(numbers, axis=1) for name, numbers in found.items()}
    half = 1.96 * table["se"]
    low, high = -half, half
    wanted = [(i, j) for i, j in np.argwhere(table["resampled"]).tolist()]
    for (i, j), ends in _bootstrap(columns, table["mean"], wanted, order, seed):
        low[i, j], high[i, j] = ends
    return table | {"ci_low": table["mean"] + low, "ci_high": table["mean"] + high}


def _ordered(source: npt.NDArray[np.intp], group: npt.NDArray[np.intp], n_groups: int) -> _Order:
    n = int(source.max(initial=0)) + 1
    key = group * n + source
    rows: npt.NDArray[np.intp] | slice = slice(None)
    if (key[1:] < key[:-1]).any():
        rows = np.argsort(key, kind="stable")
    key, group = key[rows], group[rows]
    begins = np.ones(len(key), dtype=np.bool_)
    begins[1:] = key[1:] != key[:-1]
    source = np.cumsum(begins) - 1
    starts = np.flatnonzero(begins)
    # Arrays of a chunk stay in the cache: a table ten times as long then takes ten times as long.
    cuts = np.searchsorted(starts, np.arange(0, len(key), _CHUNK_ROWS))
    edges = np.unique(np.append(np.append(starts, len(key))[cuts], len(key))).tolist()
    chunks = []
    for start, stop in itertools.pairwise(edges):
        here = slice(start, stop)
        groups = slice(int(group[start]), int(group[stop - 1]) + 1)
        numbers = group[here] - groups.start
        chunk = _Chunk(here, groups, numbers, source[here] - source[start], numbers[begins[here]])
        chunks.append(chunk)
    everyone = np.arange(n_groups + 1)
    return _Order(
        rows, source, np.searchsorted(group, everyone), np.searchsorted(group[starts], everyone), chunks
    )


def _moments(
    values: npt.NDArray[np.float64], order: _Order, not_attacked: npt.NDArray[np.bool_]
) -> dict[str, npt.NDArray[Any]]:
    """Return of one metric, for every group, what is known without resampling.

    `resampled` says whose interval is not: the standard error of the others is `se`.
    """
    sizes = np.diff(order.first_source)
    n, total, rest, squared, n_attacked, of_attacked, n_defined, squares, cubes = np.zeros((9, len(sizes)))
    with np.errstate(invalid="ignore", divide="ignore", over="ignore"):
        for chunk in order.chunks:
            part = values[chunk.rows]
            defined = np.isfinite(part)
            n[chunk.groups] += _sums(defined, chunk.group)
            total[chunk.groups] += _sums(np.where(defined, part, 0.0), chunk.group)
        mean = total / n
        # Sums of many numbers lose digits, sums of what is left of them do not.
        for chunk in order.chunks:
            rest[chunk.groups] += _sums(
                _deviation(values[chunk.rows], mean[chunk.groups], chunk), chunk.group
            )
        mean += rest / n
        for chunk in order.chunks:
            part = values[chunk.rows]
            deviation = _deviation(part, mean[chunk.groups], chunk)
            squared[chunk.groups] += _sums(deviation**2, chunk.group)
            defined = np.isfinite(part)
            if not_attacked[chunk.rows].any():
                attacked = defined & ~not_attacked[chunk.rows]
                n_attacked[chunk.groups] += _sums(attacked, chunk.group)
                of_attacked[chunk.groups] += _sums(np.where(attacked, deviation, 0.0), chunk.group)
            else:
                n_attacked[chunk.groups] += _sums(defined, chunk.group)
                of_attacked[chunk.groups] += _sums(deviation, chunk.group)
            if len(chunk.source_group) < len(part):
                deviation = np.bincount(chunk.source, deviation).astype(np.float64)
                defined = np.bincount(chunk.source, defined) > 0
            n_defined[chunk.groups] += _sums(defined, chunk.source_group)
            square = deviation * deviation
            squares[chunk.groups] += _sums(square, chunk.source_group)
            cubes[chunk.groups] += _sums(square * deviation, chunk.source_group)
        skew = (cubes / sizes) / (squares / sizes) ** 1.5
        plain = (n_defined >= _MANY) & ((np.abs(skew) <= _LARGEST_SKEW) | (squares == 0))
        return {
            "mean": mean,
            "sd": np.sqrt(squared / np.where(n > 1, n - 1, np.nan)),
            "n": n.astype(np.int64),
            "mean_attacked": mean + of_attacked / n_attacked,
            "se": np.where(plain, np.sqrt(squares) / n, np.nan),
            "resampled": ~plain & (n_defined > 1),
        }


def _sums(numbers: npt.NDArray[Any], group: npt.NDArray[np.intp]) -> npt.NDArray[np.float64]:
    """Return the sum of each group; groups follow each other."""
    if group[-1] == 0:
        return np.array([numbers.sum(dtype=np.float64)])
    return np.bincount(group, numbers).astype(np.float64)


def _deviation(
    values: npt.NDArray[np.float64], mean: npt.NDArray[np.float64], chunk: _Chunk
) -> npt.NDArray[np.float64]:
    """Return how far scores are from the mean of their group, 0 where they are not defined."""
    of_rows = mean if len(mean) == 1 else mean[chunk.group]
    return np.where(np.isfinite(values), values - of_rows, 0.0)


def _source_samples(scores: pd.DataFrame, group: npt.NDArray[np.intp]) -> npt.NDArray[np.intp]:
    """Number the source samples of the rows: equal numbers for rows of one sample of one dataset."""
    dataset = np.zeros(len(scores), dtype=np.intp)
    if "dataset" in scores:
        dataset = _sorted_codes(scores["dataset"])
    if "name" in scores and scores["name"].notna().any():
        named = scores["name"].notna().to_numpy()
        _refuse_mixed(scores, group, dataset, named)
        sample = _sorted_codes(scores["name"])
        if not named.all() and "sample" in scores:
            sample = np.where(named, sample, sample.max() + 1 + _sorted_codes(scores["sample"]))
    elif "sample" in scores:
        sample = _sorted_codes(scores["sample"])
    else:
        return np.arange(len(scores), dtype=np.intp)
    return dataset * (int(sample.max(initial=0)) + 1) + sample


def _sorted_codes(values: "pd.Series[Any]") -> npt.NDArray[np.intp]:
    codes, different = pd.factorize(values, sort=True)
    return np.where(codes < 0, len(different), codes).astype(np.intp)


def _refuse_mixed(
    scores: pd.DataFrame,
    group: npt.NDArray[np.intp],
    dataset: npt.NDArray[np.intp],
    named: npt.NDArray[np.bool_],
) -> None:
    """Refuse to pool rows of one dataset with names and without: are they the same samples?"""
    scored = scores[metric_columns(scores)].notna().any(axis=1).to_numpy()
    place = group * (int(dataset.max(initial=0)) + 1) + dataset
    both = np.intersect1d(place[scored & named], place[scored & ~named])
    if len(both):
        row = int(np.flatnonzero(place == both[0])[0])
        of = f" of {scores['dataset'].iloc[row]}" if "dataset" in scores else ""
        msg = (
            f"samples{of} with names and samples without fall into one group, and nothing says which of them "
            "are the same: tell them apart with by, for example by 'file'"
        )
        raise ValueError(msg)


def _bootstrap(
    columns: Sequence[npt.NDArray[np.float64]],
    mean: npt.NDArray[np.float64],
    wanted: Sequence[tuple[int, int]],
    order: _Order,
    seed: int,
) -> Iterator[tuple[tuple[int, int], npt.NDArray[np.float64]]]:
    """Yield (group, metric) and the ends of its interval, less the mean, for those that are wanted.

    Those with as many source samples share their draws, which take most of the time.
    """
    sizes = np.diff(order.first_source)
    by_size: dict[int, list[tuple[int, int]]] = {}
    for i, j in wanted:
        by_size.setdefault(int(sizes[i]), []).append((i, j))
    for n, members in by_size.items():
        length = max(1, min(_BATCH, _TOTALS // n))
        for start in range(0, len(members), length):
            batch = members[start : start + length]
            totals = np.empty((n, 2, len(batch)))
            for position, (i, j) in enumerate(batch):
                rows = slice(order.first_row[i], order.first_row[i + 1])
                values, source = columns[j][rows], order.source[rows] - order.first_source[i]
                defined = np.isfinite(values)
                deviation = np.where(defined, values - mean[i, j], 0.0)
                totals[:, 0, position] = np.bincount(source, deviation)
                totals[:, 1, position] = np.bincount(source, defined)
            yield from zip(batch, _ends(_resampled_means(totals, seed)), strict=True)


def _ends(means: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Return the ends (mean, 2) of the intervals of means (resample, mean)."""
    ends = np.quantile(means, [0.025, 0.975], axis=0).T
    # A resample may miss every sample with a defined score; it has no mean.
    for i in np.flatnonzero(np.isnan(ends).any(axis=1)):
        ends[i] = np.nanquantile(means[:, i], [0.025, 0.975])
    return ends


def _resampled_means(totals: npt.NDArray[np.float64], seed: int) -> npt.NDArray[np.float64]:
    """Return the means (resample, mean) of totals and counts (source sample, 2, mean) that are drawn.

    Many source samples are drawn a block at a time, so that the totals of a block stay in the cache.
    """
    n, _, n_means = totals.shape
    totals = totals.reshape(n, 2 * n_means)
    means = np.empty((_N_RESAMPLES, n_means))
    rng = np.random.default_rng(seed)
    blocks = [slice(start, min(start + _BLOCK, n)) for start in range(0, n, _BLOCK)]
    sizes = np.array([block.stop - block.start for block in blocks])
    length = max(1, _CHUNK // min(n, _BLOCK))
    for start in range(0, _N_RESAMPLES, length):
        rows = min(length, _N_RESAMPLES - start)
        shares = rng.multinomial(n, sizes / n, size=rows)
        sums = np.zeros((rows, 2 * n_means))
        for block, size, share in zip(blocks, sizes.tolist(), shares.T, strict=True):
            drawn = rng.integers(size, size=int(share.sum()))
            drawn += np.repeat(size * np.arange(rows), share)
            times = np.bincount(drawn, minlength=rows * size).reshape(rows, size).astype(np.float64)
            sums += times @ totals[block]
        deviation, defined = np.split(sums, 2, axis=1)
        with np.errstate(invalid="ignore", divide="ignore"):
            means[start : start + rows] = deviation / defined
    return means


def _check(scores: pd.DataFrame, what: str) -> None:
    _check_labels(scores, what)
    if not metric_columns(scores):
        msg = f"{what} has no column of scores; is it one that score or evaluate made?"
        raise ValueError(msg)


def _check_labels(scores: pd.DataFrame, what: str) -> None:
    """Refuse a table whose labels would be lost, or say two things."""
    names = [name for name in scores.index.names if name is not None]
    if names:
        msg = f"{what} has {', '.join(map(str, names))} in its index: write scores.reset_index()"
        raise ValueError(msg)
    wrong = [column for column in scores.columns if not isinstance(column, str)]
    if wrong:
        msg = f"{what} has the column {wrong[0]!r}; names of columns must be texts"
        raise ValueError(msg)
    if not scores.columns.is_unique:
        msg = f"the column {scores.columns[scores.columns.duplicated()][0]!r} occurs twice in {what}"
        raise ValueError(msg)
