"""The table of scores in long form and as an xarray Dataset."""

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
    """Return the scores in long form, with a row per pair and metric.

    Parameters
    ----------
    scores
        A table of scores.

    Returns
    -------
    DataFrame
        The columns that are not scores, then ``metric`` (the name alone), its parameters ``k`` and
        ``w`` (and ``pool`` or others, if a metric has them) and ``value``. A parameter that a metric
        does not have is missing. The parameters of certificates are ``metric_eps`` and ``metric_cosine``,
        because a condition and a metric have the plain names. Rows of one pair are consecutive, in the
        order of the columns.

    Raises
    ------
    ValueError
        If the table has no scores, or a column has one of these names.

    Examples
    --------
    >>> import pandas as pd
    >>> import lensmetrics as lm
    >>> scores = pd.DataFrame({"sample": [7], "kendall": [0.25], "lens_recall(k=9,w=1)": [0.5]})
    >>> lm.tidy(scores)
       sample       metric     k     w  value
    0       7      kendall  <NA>  <NA>   0.25
    1       7  lens_recall     9     1   0.50
    """
    check_table(scores, "the table")
    columns = metric_columns(scores)
    parsed = [parse_column(column) for column in columns]
    identity = identity_columns(scores)
    keys = list(dict.fromkeys(["k", "w", *(key for column in parsed for key in column.axes)]))
    _refuse_repeated([*identity, "metric", *keys, "value"])
    rows = np.repeat(np.arange(len(scores)), len(columns))
    long = scores[identity].iloc[rows].reset_index(drop=True)
    names = [column.name for column in parsed]
    long["metric"] = pd.Categorical(names * len(scores), categories=list(dict.fromkeys(names)))
    for key in keys:
        of_metric: list[Any] = [column.axes.get(key) for column in parsed]
        whole = all(value is None or isinstance(value, int) for value in of_metric)
        values = pd.array(of_metric, dtype="Int64" if whole else "Float64")
        long[key] = values.take(np.tile(np.arange(len(columns)), len(scores)))
    long["value"] = scores[columns].to_numpy(dtype=np.float64).reshape(-1)
    return long


def _refuse_repeated(names: Sequence[str]) -> None:
    """Refuse to create two columns or axes with one name, because one would replace the other."""
    repeated = next((name for i, name in enumerate(names) if name in names[:i]), None)
    if repeated is not None:
        raise ValueError(
            f"{repeated!r} would occur twice, as a column of the table and as a metric or parameter: rename "
            "the column first"
        )


def to_xarray(scores: pd.DataFrame) -> "xr.Dataset":
    """Return the scores as a Dataset with a variable per metric name.

    Parameters
    ----------
    scores
        A table of scores.

    Returns
    -------
    Dataset
        Each variable has the dimension ``sample``, one dimension for each parameter of its metric
        (``k``, ``w``, ..., named as by :func:`tidy`), and first the dimension ``file`` if the table has
        several files.
        Combinations that were not scored are NaN; an optional parameter that was not given
        (``pool``) has the coordinate 0. The coordinates of ``sample`` are the names of the samples if
        files have names, otherwise their numbers. ``status`` is a variable too; it is empty where a
        file lacks the sample. Conditions are coordinates along ``file`` if there are several files,
        and also along ``sample`` if they differ within a file. Samples that were never written
        (number -1 in the table) are left out.

    Raises
    ------
    ValueError
        If the table has no scores, a sample occurs more than once in a file, only some samples have
        names, or a name is used for several columns, metrics or parameters.

    Examples
    --------
    >>> import pandas as pd
    >>> import lensmetrics as lm
    >>> scores = pd.DataFrame(
    ...     {"sample": [7, 8], "fss(k=9,w=1)": [0.25, 0.5], "fss(k=9,w=2)": [0.5, 1.0]}
    ... )
    >>> cube = lm.to_xarray(scores)
    >>> cube["fss"].sel(sample=8, k=9).to_series()
    w
    1    0.5
    2    1.0
    Name: fss, dtype: float64
    """
    import xarray as xr  # slow to import, and used only here

    check_table(scores, "the table")
    scores = of_one_kind(scores)
    several = "file" in scores and scores["file"].nunique() > 1
    keys = ["file", "sample"] if several else ["sample"]
    everything = scores
    if "status" in scores:
        scores = scores[(scores["status"] != "incomplete") | (scores["sample"] != -1)]
    places = _places(scores, several=several)
    # Files keep their order; samples are sorted, so that all files share the axis.
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
    parameters = dict.fromkeys(key for members in by_name.values() for c in members for key in c.axes)
    _refuse_repeated([*keys, *conditions, "status", *by_name, *parameters])
    for name, members in by_name.items():
        used = dict.fromkeys(key for column in members for key in column.axes)
        axes = {key: sorted({column.axes.get(key, 0) for column in members}) for key in used}
        cube = np.full((*(len(values) for values in axes.values()), *shape), np.nan)
        taken: dict[tuple[int, ...], str] = {}
        for column in members:
            at = tuple(axes[key].index(column.axes.get(key, 0)) for key in axes)
            if taken.setdefault(at, column.text) != column.text:
                raise ValueError(
                    f"{taken[at]} and {column.text} share a cell of the cube; leave out one of them"
                )
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
    """Return file and sample of every row; a sample is its name if the table has names."""
    places = scores[["file", "sample"] if several else ["sample"]]
    if "name" in scores and scores["name"].notna().any():
        if scores["name"].isna().any():
            raise ValueError(
                "some samples of the table have names and others do not, but a cube needs one kind of label: "
                "convert them separately"
            )
        places = places.assign(sample=scores["name"].astype(object))
    repeated = places.duplicated()
    if repeated.any():
        row = places[repeated].iloc[0]
        where = f" of {row['file']}" if several else ""
        raise ValueError(
            f"sample {row['sample']}{where} occurs more than once; to_xarray needs unique samples"
        )
    return places
