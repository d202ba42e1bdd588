"""Scores in long form and as an xarray Dataset."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import xarray as xr

import lensmetrics as lm
from tests.pairfiles import write_file
from tests.scores import METRICS, make_scores, named_scores


def test_tidy_has_a_row_per_pair_and_metric(scores: pd.DataFrame) -> None:
    long = lm.tidy(scores)
    identity = [
        "file",
        "dataset",
        "training",
        "attack",
        "eps",
        "attack_k",
        "sample",
        "label",
        "prediction",
        "status",
    ]
    assert long.columns.tolist() == [*identity, "metric", "k", "w", "pool", "value"]
    assert len(long) == len(scores) * len(METRICS)
    row = 0
    for i in range(len(scores)):
        for metric in METRICS:
            assert long["metric"][row] == metric.name
            for key in ("k", "w", "pool"):
                assert (long[key][row] is pd.NA) == (key not in metric.params)
                assert long[key][row] is pd.NA or long[key][row] == metric.params[key]
            np.testing.assert_equal(long["value"][row], scores[str(metric)][i])
            row += 1
    assert [str(long[key].dtype) for key in ("metric", "k", "w", "pool")] == ["category", *["Int64"] * 3]
    for column in identity:
        pd.testing.assert_series_equal(
            long[column], scores[column].repeat(len(METRICS)).reset_index(drop=True), check_exact=True
        )


def test_tidy_always_has_k_and_w() -> None:
    long = lm.tidy(make_scores([0.5, np.nan]))
    assert long.columns.tolist() == ["sample", "status", "metric", "k", "w", "value"]
    assert long["k"].isna().all()
    assert long["w"].isna().all()
    assert long["k"].dtype == "Int64"


def test_tidy_accepts_any_index(scores: pd.DataFrame) -> None:
    shuffled = scores.sample(frac=1, random_state=0)
    expected = lm.tidy(shuffled.reset_index(drop=True))
    pd.testing.assert_frame_equal(lm.tidy(shuffled), expected)


@pytest.mark.parametrize("function", [lm.tidy, lm.to_xarray, lm.summarize])
def test_table_without_scores_is_refused(function: Any, scores: pd.DataFrame) -> None:
    with pytest.raises(ValueError, match="the table has no column of scores"):
        function(scores[["file", "sample", "status"]])


def test_cube_of_several_files_contains_every_value(scores: pd.DataFrame) -> None:
    cube = lm.to_xarray(scores)
    assert cube["file"].values.tolist() == scores["file"].unique().tolist()
    known = scores["sample"][scores["status"] != "incomplete"]
    assert set(known) <= set(cube["sample"].values.tolist())
    assert {name: cube[name].dims for name in ("kendall", "topk_intersection", "lens_recall")} == {
        "kendall": ("file", "sample"),
        "topk_intersection": ("file", "sample", "k"),
        "lens_recall": ("file", "sample", "k", "w"),
    }
    assert cube["lens_recall_div_published"].dims == ("file", "sample", "k", "w", "pool")
    assert cube["w"].values.tolist() == [0, 1, 2]
    n_filled = 0
    for metric in METRICS:
        for _, row in scores[scores["status"] != "incomplete"].iterrows():
            place = {"file": row["file"], "sample": row["sample"], **metric.params}
            value = cube[metric.name].sel(place).item()
            np.testing.assert_equal(value, row[str(metric)])
            n_filled += not np.isnan(value)
    total = sum(int(cube[name].notnull().sum()) for name in {metric.name for metric in METRICS})
    assert total == n_filled  # and nothing anywhere else
    statuses = {(row["file"], row["sample"]): row["status"] for _, row in scores.iterrows()}
    for file in cube["file"].values:
        for sample in cube["sample"].values:
            assert cube["status"].sel(file=file, sample=sample).item() == statuses.get((file, sample), "")
    assert cube["attack"].dims == cube["eps"].dims == ("file",)
    assert cube["attack"].values.tolist() == ["topk", "topk", "random_sign"]
    np.testing.assert_array_equal(cube["eps"].values.astype(float), [8 / 255, 0.1, np.nan])


def test_cube_of_one_file_has_no_file_dimension(scores: pd.DataFrame) -> None:
    one = scores[scores["training"] == "None"]
    cube = lm.to_xarray(one)
    assert dict(cube["lens_recall"].sizes) == {"sample": 6, "k": 3, "w": 3}
    assert cube["sample"].values.tolist() == one["sample"].tolist()
    assert cube["lens_recall"].sel(k=5, w=2).values.tolist() == one["lens_recall(k=5,w=2)"].tolist()
    assert cube["status"].values.tolist() == one["status"].tolist()
    assert cube["attack"].item() == "topk"
    assert cube["eps"].item() == 8 / 255
    assert "file" not in cube.dims


def test_cube_of_scored_arrays_sorts_the_samples() -> None:
    cube = lm.to_xarray(make_scores([0.3, 0.1, 0.2], [30, 10, 20], status=["ok", "nan_map", "tied_cut"]))
    assert cube["sample"].values.tolist() == [10, 20, 30]
    assert cube["kendall"].values.tolist() == [0.1, 0.2, 0.3]
    assert cube["status"].values.tolist() == ["nan_map", "tied_cut", "ok"]


def test_cube_needs_each_sample_once() -> None:
    with pytest.raises(ValueError, match="sample 7 occurs more than once"):
        lm.to_xarray(make_scores([1, 2, 3], [7, 8, 7]))
    twice = make_scores([1, 2, 3, 4], [7, 8, 7, 7], file=["a.h5", "a.h5", "b.h5", "b.h5"])
    with pytest.raises(
        ValueError, match=r"sample 7 of b\.h5 occurs more than once; to_xarray needs unique samples"
    ):
        lm.to_xarray(twice)
    assert lm.to_xarray(twice.head(3))["kendall"].sel(file="b.h5", sample=7) == 3


def test_cube_of_an_unfinished_file(tmp_path: Path) -> None:
    """Samples that were never written have no number of their own, and must not get in each other's way."""
    write_file(tmp_path / "a.h5", 6, missing=[1, 2, 5])
    write_file(tmp_path / "b.h5", 6, missing=[0, 1])
    scores = lm.evaluate([tmp_path / "a.h5", tmp_path / "b.h5"], "kendall")
    cube = lm.to_xarray(scores)
    for _, row in scores[scores["status"] == "ok"].iterrows():
        assert cube["kendall"].sel(file=row["file"], sample=row["sample"]) == row["kendall"]
    assert int(cube["kendall"].notnull().sum()) == 7


def test_cube_can_be_written_as_netcdf(tmp_path: Path, scores: pd.DataFrame) -> None:
    for name, table in {"several": scores, "one": scores[scores["training"] == "None"]}.items():
        cube = lm.to_xarray(table)
        cube.to_netcdf(tmp_path / f"{name}.nc", engine="h5netcdf")
        with xr.open_dataset(tmp_path / f"{name}.nc", engine="h5netcdf") as back:
            for variable in cube.data_vars:
                np.testing.assert_array_equal(back[variable].values, cube[variable].values)


def test_cube_is_labelled_with_names() -> None:
    table = named_scores([1, 2, 3], ["y", "x", "x"], file=["a", "a", "b"], dataset=["d"] * 3)
    cube = lm.to_xarray(table)
    assert cube["sample"].values.tolist() == ["x", "y"]
    np.testing.assert_array_equal(cube["kendall"].values, [[2, 1], [3, np.nan]])
    assert lm.to_xarray(table[:2])["kendall"].sel(sample="y") == 1
    with pytest.raises(ValueError, match="some samples of the table have names and others do not"):
        lm.to_xarray(named_scores([1, 2], ["x", None]))
    with pytest.raises(ValueError, match=r"sample x of b occurs more than once"):
        lm.to_xarray(named_scores([1, 2, 3], ["x", "x", "x"], file=["a", "b", "b"]))


def test_cube_of_files_without_any_sample(tmp_path: Path) -> None:
    for name in ("a", "b"):
        with lm.PairWriter(tmp_path / f"{name}.h5", n_samples=2, shape=(6, 6), attrs={"attack": name}):
            pass
    cube = lm.to_xarray(lm.evaluate(tmp_path / "a.h5", "kendall"))
    assert dict(cube["kendall"].sizes) == {"sample": 0}
    assert cube["attack"].item() == "a"
    write_file(tmp_path / "c.h5", 2)
    cube = lm.to_xarray(lm.evaluate([tmp_path / f"{name}.h5" for name in "abc"], "kendall"))
    assert dict(cube["kendall"].sizes) == {"file": 3, "sample": 2}
    assert cube["attack"].values[:2].tolist() == ["a", "b"]
    assert cube["kendall"].notnull().sum(dim="sample").values.tolist() == [0, 0, 2]


def test_attributes_that_differ_within_a_file_get_the_sample_dimension() -> None:
    table = make_scores([1, 2], [5, 4], training=["a", "b"], steps=[3, 3])
    cube = lm.to_xarray(table)
    assert cube["training"].dims == ("sample",)
    assert cube["training"].values.tolist() == ["b", "a"]
    assert cube["steps"].item() == 3


@pytest.mark.parametrize("function", [lm.tidy, lm.to_xarray])
@pytest.mark.parametrize("parameter", ["sample", "status", "seed"])
def test_parameters_named_like_columns_are_refused(function: Any, parameter: str) -> None:
    table = make_scores([0.5, 0.25], name=f"odd({parameter}=3)", seed=[1, 1])
    with pytest.raises(ValueError, match=f"'{parameter}' would occur twice, as a column of the table and as"):
        function(table)


@pytest.mark.parametrize("name", ["metric", "k", "value"])
def test_columns_named_like_those_of_the_long_form_are_refused(name: str) -> None:
    with pytest.raises(ValueError, match=f"'{name}' would occur twice"):
        lm.tidy(make_scores([0.5, 0.25]).assign(**{name: 7}))


def test_metrics_that_share_a_cell_of_a_cube_are_refused() -> None:
    table = make_scores([0.5], name="mine(k=3)").assign(**{"mine(k=3,level=0)": 0.25})
    with pytest.raises(ValueError, match=r"mine\(k=3\) and mine\(k=3,level=0\) share a cell of the cube"):
        lm.to_xarray(table)
