"""The table of scores: on disk, in long form, as xarray, and summarized."""

import contextlib
import errno
import math
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet

from .columns import CONDITIONS, IDENTITY
from .registry import split_metric

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

_N_RESAMPLES = 2000
# Weights of resamples are drawn in chunks of about this many numbers.
_CHUNK = 2**20
# As many means at a time, of groups of one size, have their intervals found.
_BATCH = 512


def metric_columns(scores: pd.DataFrame) -> list[str]:
    """Return the columns that hold scores, in their order: those of floats, but for the identifying ones."""
    floats = scores.select_dtypes("float").columns
    return [column for column in floats if column not in IDENTITY]


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


def check_writable(path: Path) -> None:
    """Raise an OSError that says why, if no file can be written at the path."""
    if path.is_dir():
        msg = f"{path} is a directory; give the name of a file in it"
        raise IsADirectoryError(msg)
    if not path.parent.is_dir():
        msg = f"{path} cannot be written: there is no directory {path.parent}; create it"
        raise FileNotFoundError(msg)
    if not os.access(path.parent, os.W_OK):  # also an existing file is replaced, not written into
        msg = f"{path} cannot be written: permission denied; choose another place"
        raise PermissionError(msg)


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yield a path beside `path` to write to; without an error that file then takes its place."""
    part = path.with_name(f".{os.getpid()}.{path.name}")
    try:
        yield part
        with part.open("rb") as file:
            os.fsync(file.fileno())  # else a power cut could leave the new name with nothing behind it
        part.replace(path)
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        msg = f"{path} cannot be written ({os.strerror(error.errno)}): make room, or write elsewhere"
        raise OSError(msg) from error
    finally:
        part.unlink(missing_ok=True)


def write_scores(
    scores: pd.DataFrame, path: str | os.PathLike[str], *, metadata: Mapping[str, str] | None = None
) -> None:
    """Write a table of scores as Parquet or, where the name ends in .csv or .csv.gz, as CSV.

    The file appears whole or not at all; an older one is replaced. Parquet also keeps `metadata`,
    texts under names, in its schema.
    """
    path = check_output(path)
    with replacing(path) as part:
        if path.suffix == ".parquet":
            table = pa.Table.from_pandas(scores)
            described = table.replace_schema_metadata({**table.schema.metadata, **(metadata or {})})
            # Else a changed bit in a score would be read as another score.
            pa.parquet.write_table(described, part, write_page_checksum=True)
        else:
            scores.to_csv(part, index=False)


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
    try:
        scores = _read_csv(path) if path.name.endswith(_CSV) else _read_parquet(path)
        repeated = scores.columns[scores.columns.duplicated()]
        if len(repeated):
            msg = f"the column {repeated[0]!r} stands twice in it"
            raise ValueError(msg)
        for column in scores.columns:
            scores[column] = _as_written(column, scores[column])
    except UNREADABLE as error:
        reason = "".join(c if c.isprintable() else " " for c in str(error)).strip()
        msg = f"{path} cannot be read as a table of scores (.parquet, .csv or .csv.gz): {reason}"
        raise ValueError(msg) from error
    _check(scores, str(path))
    return scores


def _read_csv(path: Path) -> pd.DataFrame:
    # Texts are not guessed to be something else, and only an empty cell is missing.
    texts = dict.fromkeys(("file", *CONDITIONS, "status"), pa.string())
    options = pyarrow.csv.ConvertOptions(column_types=texts, null_values=[""], strings_can_be_null=True)
    table = pyarrow.csv.read_csv(path, convert_options=options)
    scores: pd.DataFrame = table.to_pandas(types_mapper=_NULLABLE.get)
    for column in CONDITIONS:
        if column in scores:
            scores[column] = _as_numbers(scores[column])
    return scores


def _read_parquet(path: Path) -> pd.DataFrame:
    return pd.read_parquet(path, dtype_backend="numpy_nullable", page_checksum_verification=True)


def _as_numbers(texts: "pd.Series[Any]") -> "pd.Series[Any]":
    """Return texts as numbers where all of them are such, else as they are."""
    different = texts.dropna().unique()
    for kind in (int, float):
        with contextlib.suppress(ValueError):
            number = {text: kind(text) for text in different}
            if not any(math.isnan(value) for value in number.values()):
                return texts.map(number).astype("Int64" if kind is int else "Float64")
    return texts


def _as_written(name: str, values: "pd.Series[Any]") -> "pd.Series[Any]":
    """Return a column that was read with nullable types with the type that it was written with."""
    if name in ("file", *CONDITIONS):
        known = values.astype("category")
        # Plain numbers and texts in place of nullable ones.
        return known.cat.rename_categories(known.cat.categories.tolist())
    if name in ("label", "prediction", "prediction_perturbed", "sample"):
        if not pd.api.types.is_integer_dtype(values.dtype):
            msg = f"the column {name!r} must hold whole numbers, it has {values.dtype}"
            raise ValueError(msg)
        return values.astype("int64" if name == "sample" else "Int64")
    if pd.api.types.is_float_dtype(values.dtype) or (name != "status" and values.isna().all()):
        return values.astype("float64")
    return values.astype("str") if pd.api.types.is_string_dtype(values.dtype) else values


def tidy(scores: pd.DataFrame) -> pd.DataFrame:
    """Return the scores in long form, a row per pair and metric.

    Returns
    -------
    DataFrame
        The identifying columns, then ``metric`` (the name alone), its parameters ``k`` and ``w``
        (and ``pool`` or others, where a metric has them) and ``value``. A parameter that a metric
        does not have is missing. Rows of one pair stand together, in the order of the columns.
    """
    _check(scores, "the table")
    columns = metric_columns(scores)
    parsed = [split_metric(column) for column in columns]
    identity = _identity_columns(scores)
    rows = np.repeat(np.arange(len(scores)), len(columns))
    long = scores[identity].iloc[rows].reset_index(drop=True)
    long["metric"] = pd.Categorical(
        [name for name, _ in parsed] * len(scores), categories=list(dict.fromkeys(name for name, _ in parsed))
    )
    extra = [key for _, params in parsed for key in params if key not in ("k", "w")]
    for key in dict.fromkeys(["k", "w", *extra]):
        of_metric: list[Any] = [params.get(key) for _, params in parsed]
        whole = all(value is None or isinstance(value, int) for value in of_metric)
        values = pd.array(of_metric, dtype="Int64" if whole else "Float64")
        long[key] = values.take(np.tile(np.arange(len(columns)), len(scores)))
    long["value"] = scores[columns].to_numpy(dtype=np.float64).reshape(-1)
    return long


def to_xarray(scores: pd.DataFrame) -> "xr.Dataset":
    """Return the scores as a Dataset with a variable per metric name.

    Returns
    -------
    Dataset
        Each variable has the dimension ``sample``, one for each parameter of its metric (``k``,
        ``w``, ...), and ``file`` first where the table has several files. Combinations that were
        not scored are NaN; an optional parameter that was not given (``pool``) is at 0. ``status``
        is a variable too, empty where a file lacks the sample; condition attributes are
        coordinates, along ``file`` where there are several. Samples that were never written have
        no number (-1 in the table) and no place here.

    Raises
    ------
    ValueError
        If a sample stands twice in one file.
    """
    import xarray as xr  # which takes a while, and only this needs it

    _check(scores, "the table")
    if "status" in scores:
        scores = scores[(scores["status"] != "incomplete") | (scores["sample"] >= 0)]
    several = "file" in scores and scores["file"].nunique() > 1
    keys = ["file", "sample"] if several else ["sample"]
    if scores.duplicated(keys).any():
        row = scores.loc[scores.duplicated(keys), keys].iloc[0]
        where = f" of {row['file']}" if several else ""
        msg = f"sample {row['sample']}{where} stands twice in the table; a cube has one place for it"
        raise ValueError(msg)
    # Files keep their order, samples are sorted: files of one study then share the axis.
    labels = {key: pd.unique(scores[key]) if key == "file" else np.unique(scores[key]) for key in keys}
    shape = tuple(len(values) for values in labels.values())
    place = np.ravel_multi_index(
        [pd.Index(labels[key]).get_indexer(pd.Index(scores[key])) for key in keys], shape
    )

    def spread(values: npt.NDArray[Any], fill: object) -> npt.NDArray[Any]:
        full = np.full(shape, fill, dtype=values.dtype)
        full.reshape(-1)[place] = values
        return full

    variables: dict[str, xr.DataArray] = {}
    by_name: dict[str, list[tuple[str, dict[str, int | float]]]] = {}
    for column in metric_columns(scores):
        name, params = split_metric(column)
        by_name.setdefault(name, []).append((column, params))
    for name, members in by_name.items():
        used = dict.fromkeys(key for _, params in members for key in params)
        axes = {key: sorted({params.get(key, 0) for _, params in members}) for key in used}
        cube = np.full((*(len(values) for values in axes.values()), *shape), np.nan)
        for column, params in members:
            at = tuple(axes[key].index(params.get(key, 0)) for key in axes)
            cube[at] = spread(scores[column].to_numpy(dtype=np.float64), np.nan)
        variables[name] = xr.DataArray(cube, dims=[*axes, *keys], coords=axes).transpose(*keys, *axes)
    data = xr.Dataset(variables).assign_coords({key: np.asarray(values) for key, values in labels.items()})
    if "status" in scores:
        data["status"] = (keys, spread(scores["status"].to_numpy(dtype=object), ""))
    for column in CONDITIONS:
        if column in scores:
            first = scores if several else scores.iloc[:1]
            values = first.drop_duplicates("file" if several else None)[column].to_numpy()
            data = data.assign_coords({column: ("file", values) if several else values[0]})
    return data


def summarize(scores: pd.DataFrame, by: Sequence[str] | None = None, *, seed: int = 0) -> pd.DataFrame:
    """Aggregate the scores of each condition.

    Parameters
    ----------
    scores
        A table of scores.
    by
        Columns whose values tell the groups apart, such as ``["training", "attack"]``; the
        default is every condition attribute that has more than one value, but for ``attack_k``
        and ``attack_w`` where the others decide them. Rows in which such a value is missing are a
        group of their own.
    seed
        Seed of the bootstrap.

    Returns
    -------
    DataFrame
        A row per group and metric: the columns `by`, ``metric`` (its text), ``mean``, ``sd`` (of
        the sample, n - 1), ``n`` (scores that are defined), ``n_undefined`` (NaN), ``ci_low`` and
        ``ci_high``, then ``n_`` and the name of each status that occurs in the table: how many of
        the group's rows have it.

    Notes
    -----
    The 95 % interval is the percentile bootstrap of the mean over 2000 resamples of **source
    samples** (dataset and sample number): all rows of a sample that a group pools are drawn
    together, because they share an image. Groups with the same number of source samples use the
    same draws. The interval is NaN where fewer than two source samples have defined scores.
    """
    _check(scores, "the table")
    by = [by] if isinstance(by, str) else by if by is None else list(dict.fromkeys(by))
    if by is None:
        by = distinguishing(scores)
    for column in by:
        if column not in scores or column in metric_columns(scores):
            msg = f"cannot summarize by {column!r}: the table has {', '.join(_identity_columns(scores))}"
            raise ValueError(msg)
    statuses = [str(status).split(";") for status in scores.get("status", pd.Series(dtype=str)).dropna()]
    tokens = sorted({token for status in statuses for token in status} - {"ok"})
    groups: list[tuple[Any, pd.DataFrame]] = [((), scores)]
    if by:
        groups = list(scores.groupby(list(by), sort=True, observed=True, dropna=False))
    tables = _summaries([group for _, group in groups], seed)
    for (key, group), table in zip(groups, tables, strict=True):
        for i, (column, value) in enumerate(zip(by, key, strict=True)):
            table.insert(i, column, value)
        for token in tokens:
            table[f"n_{token}"] = sum(token in str(status).split(";") for status in group["status"])
    return pd.concat(tables or [table[:0] for table in _summaries([scores], seed)], ignore_index=True)


def distinguishing(scores: pd.DataFrame) -> list[str]:
    """Return the condition columns that tell the conditions in the table apart.

    ``attack_k`` and ``attack_w`` are left out where the other columns already say what they are.
    """
    found = [c for c in CONDITIONS if c in scores and scores[c].nunique(dropna=False) > 1]
    for name in ("attack_k", "attack_w"):
        rest = [c for c in found if c != name]
        if name in found and rest:
            n_rest, n_found = (len(scores[columns].drop_duplicates()) for columns in (rest, found))
            found = rest if n_rest == n_found else found
    return found


def _summaries(groups: Sequence[pd.DataFrame], seed: int) -> list[pd.DataFrame]:
    """Return mean, deviation, counts and interval of every metric of every group."""
    sources = [_source_sample(group) for group in groups]
    by_size: dict[int, list[int]] = {}
    for i, source in enumerate(sources):
        by_size.setdefault(int(source.max()) + 1 if len(source) else 0, []).append(i)
    tables: dict[int, pd.DataFrame] = {}
    for size, members in by_size.items():
        length = max(1, _BATCH // len(metric_columns(groups[0])))
        for start in range(0, len(members), length):
            batch = members[start : start + length]
            moments = [_moments(groups[i], sources[i], size) for i in batch]
            ends = _bootstrap(np.stack([totals for _, totals in moments], axis=2), seed)
            for i, (table, _), (low, high) in zip(batch, moments, ends, strict=True):
                tables[i] = table.assign(ci_low=table["mean"] + low, ci_high=table["mean"] + high)
    return [tables[i] for i in range(len(groups))]


def _moments(
    group: pd.DataFrame, source: npt.NDArray[np.intp], n_sources: int
) -> tuple[pd.DataFrame, npt.NDArray[np.float64]]:
    """Return what is known without resampling, and of each source sample the totals (2, metric).

    These are of deviations, 0 where a score is not defined, and how many are defined.
    """
    columns = metric_columns(group)
    values = group[columns].to_numpy(dtype=np.float64)
    defined = np.isfinite(values)
    n = defined.sum(0)
    filled = np.where(defined, values, 0.0)
    with np.errstate(invalid="ignore", divide="ignore"):
        mean = filled.sum(0) / n
        deviation = np.where(defined, values - mean, 0.0)
        sd = np.sqrt((deviation**2).sum(0) / np.where(n > 1, n - 1, np.nan))
    totals = np.zeros((n_sources, 2, len(columns)))
    np.add.at(totals, source, np.stack([deviation, defined], axis=1))
    known = {"metric": columns, "mean": mean, "sd": sd, "n": n, "n_undefined": len(group) - n}
    return pd.DataFrame(known), totals


def _source_sample(group: pd.DataFrame) -> npt.NDArray[np.intp]:
    """Number the source samples of the rows: equal numbers for rows of one sample of one dataset."""
    keys = [column for column in ("dataset", "sample") if column in group]
    if "sample" not in keys:
        return np.arange(len(group), dtype=np.intp)
    numbers = group.groupby(keys, sort=True, observed=True, dropna=False).ngroup()
    return np.asarray(numbers, dtype=np.intp)


def _bootstrap(totals: npt.NDArray[np.float64], seed: int) -> npt.NDArray[np.float64]:
    """Return the ends of the intervals (group, 2, metric) of groups with as many source samples.

    They share their draws, which take most of the time. The totals are (source sample, 2, group, metric).
    """
    n, _, n_groups, n_metrics = totals.shape
    totals = totals.reshape(n, 2, n_groups * n_metrics)
    means = _resampled_means(totals, seed)
    enough = (totals[:, 1] > 0).sum(0) > 1
    ends = np.full((2, n_groups * n_metrics), np.nan)
    if enough.any():
        # A resample may miss every sample with a defined score; it has no mean.
        ends[:, enough] = np.nanquantile(means[:, enough], [0.025, 0.975], axis=0)
    return ends.reshape(2, n_groups, n_metrics).swapaxes(0, 1)


def _resampled_means(totals: npt.NDArray[np.float64], seed: int) -> npt.NDArray[np.float64]:
    n, _, n_means = totals.shape
    means = np.empty((_N_RESAMPLES, n_means))
    rng = np.random.default_rng(seed)
    length = max(1, _CHUNK // max(1, n))
    for start in range(0, _N_RESAMPLES if n else 0, length):
        rows = min(length, _N_RESAMPLES - start)
        drawn = rng.integers(n, size=(rows, n))
        drawn += n * np.arange(rows)[:, None]
        times = np.bincount(drawn.reshape(-1), minlength=rows * n).reshape(rows, n).astype(np.float64)
        deviation, defined = np.split(times @ totals.reshape(n, -1), 2, axis=1)
        with np.errstate(invalid="ignore", divide="ignore"):
            means[start : start + rows] = deviation / defined
    return means


def _check(scores: pd.DataFrame, what: str) -> None:
    if not metric_columns(scores):
        msg = f"{what} has no column of scores; is it one that score or evaluate made?"
        raise ValueError(msg)
