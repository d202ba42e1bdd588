"""Scoring arrays."""

import re
from pathlib import Path
from typing import Any, cast

import numpy as np
import pandas as pd
import pytest
import xarray as xr

import lensmetrics as lm
from lensmetrics.metrics import registry
from tests.scoring.runs import METRICS


def test_score_is_every_metric_on_every_pair() -> None:
    rng = np.random.default_rng(0)
    unperturbed, perturbed = rng.integers(0, 9, (2, 4, 8, 9)).astype(np.float32)
    metrics = [
        lm.get_metric(
            name, **{key: {"k": 5, "w": 1, "pool": 60}[key] for key in registry.entries()[name].parameters}
        )
        for name in lm.list_metrics()
    ]
    scores = lm.score(unperturbed, perturbed, metrics)
    assert scores.columns.tolist() == ["sample", "status", *map(str, metrics)]
    assert scores["sample"].tolist() == [0, 1, 2, 3]
    for i in range(4):
        for metric in metrics:  # a fresh pair for each: nothing that the pair keeps may show
            np.testing.assert_equal(
                scores.loc[i, str(metric)], metric(lm.MapPair(unperturbed[i], perturbed[i]))
            )
    assert scores["status"].tolist() == ["no_image;tied_cut;unsigned"] * 4
    assert set(scores.dtypes[2:]) == {np.dtype(np.float64)}


def test_score_takes_a_metric_a_text_or_several() -> None:
    maps = np.random.default_rng(0).normal(size=(2, 4, 4))
    expected = lm.score(maps, -maps, ["kendall"])
    forms: list[Any] = ["kendall", lm.get_metric("kendall"), [lm.get_metric("kendall"), " kendall "]]
    for metrics in forms:
        pd.testing.assert_frame_equal(lm.score(maps, -maps, metrics), expected, check_exact=True)


def test_score_keeps_each_arrays_precision() -> None:
    values = np.array([[[1.0, 1.0 + 1e-12, 0.0]]])
    single = values.astype(np.float32)
    scores = lm.score(values, values[:, :, ::-1], "topk_intersection(k=1)")
    assert scores["status"].tolist() == ["ok"]
    assert lm.score(single, single[:, :, ::-1], "topk_intersection(k=1)")["status"].tolist() == ["tied_cut"]


@pytest.mark.parametrize("dims", [("sample", "y", "x"), ("x", "sample", "y"), ("y", "x", "sample")])
def test_score_takes_data_arrays_in_any_order(dims: tuple[str, ...]) -> None:
    rng = np.random.default_rng(0)
    unperturbed, perturbed = rng.normal(size=(2, 3, 4, 6))
    coordinate = {"sample": [30, 10, 20]}
    u = xr.DataArray(unperturbed, dims=("sample", "y", "x"), coords=coordinate)
    p = xr.DataArray(perturbed, dims=("sample", "y", "x"))
    expected = lm.score(unperturbed, perturbed, METRICS).assign(sample=[30, 10, 20])
    for first, second in [(u.transpose(*dims), p), (u, p.transpose(*dims)), (u.transpose(*dims), perturbed)]:
        pd.testing.assert_frame_equal(lm.score(first, second, METRICS), expected, check_exact=True)
    swapped = lm.score(p, u.transpose(*dims), METRICS)
    assert swapped["sample"].tolist() == [30, 10, 20]
    assert swapped["lens_recall(k=5,w=1)"].tolist() == expected["lens_precision(k=5,w=1)"].tolist()


@pytest.mark.parametrize("dims", [("y", "x", "n"), ("lat", "lon", "n"), ("height", "width", "sample")])
def test_score_does_not_guess_which_dimension_is_a_sample(dims: tuple[str, ...]) -> None:
    maps = xr.DataArray(np.random.default_rng(0).normal(size=(4, 6, 3)), dims=dims)
    with pytest.raises(
        ValueError, match=r"'unperturbed' has the dimensions .* rename them to sample, y and x"
    ):
        lm.score(maps, -maps, "kendall")


def test_score_refuses_sample_coordinates_that_differ() -> None:
    maps = np.random.default_rng(0).normal(size=(3, 4, 4))
    u, p = (
        xr.DataArray(maps, dims=("sample", "y", "x"), coords={"sample": s}) for s in ([0, 1, 2], [0, 2, 1])
    )
    with pytest.raises(ValueError, match="sample coordinates of 'unperturbed' and 'perturbed' differ; align"):
        lm.score(u, p, "kendall")
    assert len(lm.score(u, p.assign_coords(sample=[0, 1, 2]), "kendall")) == 3


@pytest.mark.parametrize("shape", [(4, 4), (16,), (2, 3, 4, 4), ()])
def test_score_requires_three_dimensions(shape: tuple[int, ...]) -> None:
    maps = np.zeros((2, 4, 4))
    words = re.escape(f"must have three dimensions (sample, height, width), got shape {shape}")
    with pytest.raises(ValueError, match=f"'unperturbed' {words}.*MapPair.*channels"):
        lm.score(np.zeros(shape), maps, "kendall")
    with pytest.raises(ValueError, match=f"'perturbed' {words}"):
        lm.score(maps, xr.DataArray(np.zeros(shape)), "kendall")


def test_score_requires_equal_shapes() -> None:
    with pytest.raises(
        ValueError, match=re.escape("'unperturbed' is (2, 3, 4) and 'perturbed' is (2, 4, 3)")
    ):
        lm.score(np.zeros((2, 3, 4)), np.zeros((2, 4, 3)), "kendall")
    with pytest.raises(ValueError, match="one shape"):
        lm.score(np.zeros((2, 3, 4)), np.zeros((3, 3, 4)), "kendall")


def test_score_takes_what_is_on_disk_or_read_only_or_in_fortran_order(tmp_path: Path) -> None:
    maps = np.random.default_rng(0).normal(size=(2, 5, 6, 7)).astype(np.float32)
    expected = lm.score(maps[0], maps[1], METRICS)
    np.save(tmp_path / "maps.npy", maps)
    mapped = np.load(tmp_path / "maps.npy", mmap_mode="r")
    fortran = np.asfortranarray(maps)
    fortran.flags.writeable = False
    for u, p in [mapped, fortran, maps[:, ::-1][:, ::-1], maps.tolist(), maps.astype(">f4")]:
        found = lm.score(u, p, METRICS)
        pd.testing.assert_frame_equal(found, expected, check_exact=True)


def test_score_of_no_pairs_has_all_columns() -> None:
    scores = lm.score(np.empty((0, 3, 3)), np.empty((0, 3, 3)), "kendall")
    assert scores.columns.tolist() == ["sample", "status", "kendall"]
    assert len(scores) == 0


def test_score_counts_what_is_undefined() -> None:
    rng = np.random.default_rng(0)
    unperturbed, perturbed = rng.normal(size=(2, 5, 6, 6))
    unperturbed[1, 2, 3] = np.nan
    perturbed[2, 0, 0] = np.inf
    perturbed[3] = 2.0
    scores = lm.score(unperturbed, perturbed, ["kendall", "topk_intersection(k=4)"])
    assert scores["status"].tolist() == ["ok", "nan_map", "nan_map", "constant_map", "ok"]
    assert scores["kendall"].isna().tolist() == [False, True, True, True, False]
    assert scores["topk_intersection(k=4)"].isna().tolist() == [False, True, True, True, False]


@pytest.mark.usefixtures("own_metrics")
def test_a_metric_must_return_a_number() -> None:
    def forgetful(pair: lm.MapPair) -> float:
        return cast(float, None)

    lm.register(bounds=(0, 1), best=None)(forgetful)
    maps = np.random.default_rng(0).normal(size=(1, 4, 4))
    with pytest.raises(TypeError, match="NoneType") as caught:
        lm.score(maps, maps, "forgetful")
    assert caught.value.__notes__ == ["while scoring forgetful on sample 0"]
