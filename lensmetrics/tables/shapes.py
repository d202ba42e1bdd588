"""The table of scores in long form, and as xarray."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from .columns import Column, check_table, condition_columns, identity_columns, metric_columns, parse_column
from .files import of_one_kind

if TYPE_CHECKING:
    import xarray as xr


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
    check_table(scores, "the table")
    columns = metric_columns(scores)
    parsed = [parse_column(column) for column in columns]
    identity = identity_columns(scores)
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

    check_table(scores, "the table")
    scores = of_one_kind(scores)
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
