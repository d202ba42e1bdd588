"""What a pair accepts as maps, and what it refuses."""

import gc
import math
import re
import weakref
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import pytest
import xarray as xr

import lensmetrics as lm
from tests import reference
from tests.strategies import DTYPES, DType

Map = npt.NDArray[Any]

PARAMETERS = {"k": 9, "w": 1, "pool": 60}


def all_scores(u: npt.ArrayLike, p: npt.ArrayLike) -> dict[str, float]:
    """Return every metric of one pair, and whether its status is ok."""
    pair = lm.MapPair(u, p)
    scores = {
        name: getattr(lm, name)(pair, **{key: PARAMETERS[key] for key in reference.parameters(name)})
        for name in reference.TWINS
    }
    # Maps without a negative pixel have the status unsigned, whatever their type.
    return scores | {"is ok": float(pair.status in ("ok", "unsigned"))}


def plain_pair(dtype: npt.DTypeLike = np.float64) -> tuple[Map, Map]:
    """Return two maps of distinct integers that every numeric type holds exactly."""
    rng = np.random.default_rng(9)
    return rng.permutation(120).reshape(10, 12).astype(dtype), rng.permutation(120).reshape(10, 12).astype(
        dtype
    )


LAYOUTS: dict[str, Callable[[Map], Map]] = {
    "Fortran order": np.asfortranarray,
    "view with steps": lambda a: np.repeat(np.repeat(a, 2, axis=0), 3, axis=1)[::2, ::3],
    "view backwards": lambda a: np.ascontiguousarray(a[::-1, ::-1])[::-1, ::-1],
    "view of a transpose": lambda a: np.ascontiguousarray(a.T).T,
    "one of many channels": lambda a: np.stack([a, a * 0, a + 1], axis=-1)[..., 0],
    "unaligned": lambda a: np.frombuffer(b"\0" + a.tobytes(), dtype=a.dtype, offset=1).reshape(a.shape),
    "big endian": lambda a: a.astype(a.dtype.newbyteorder(">")),
    "little endian": lambda a: a.astype(a.dtype.newbyteorder("<")),
    "masked nowhere": np.ma.masked_array,
}


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("layout", LAYOUTS)
def test_layout_of_the_array_does_not_matter(layout: str, dtype: DType) -> None:
    u, p = plain_pair(dtype)
    change = LAYOUTS[layout]
    assert all_scores(change(u), change(p)) == all_scores(u, p)
    assert all_scores(change(u), p) == all_scores(u, p)


@pytest.mark.parametrize(
    "dtype",
    [np.float16, np.float32, np.int8, np.uint8, np.int16, np.uint32, np.int64, np.uint64, ">i4", ">f2"],
)
def test_numbers_are_converted_exactly(dtype: npt.DTypeLike) -> None:
    u, p = plain_pair()
    expected = all_scores(u, p)
    assert expected["is ok"]
    assert all_scores(u.astype(dtype), p.astype(dtype)) == expected
    assert all_scores(u.astype(dtype), p) == expected


def test_integers_are_converted_to_float64() -> None:
    whole = 2**52 + np.random.default_rng(0).permutation(100).reshape(10, 10)
    pair = lm.MapPair(whole, -whole)
    np.testing.assert_array_equal(pair.order("unperturbed"), np.argsort(-whole.ravel()))
    np.testing.assert_array_equal(pair.order("perturbed"), np.argsort(whole.ravel()))


def test_the_smallest_integer_and_bools_are_converted() -> None:
    pair = lm.MapPair(np.array([[-128, 127, 0]], dtype=np.int8), np.array([[False, True, False]]))
    assert pair.order("unperturbed").tolist() == [1, 2, 0]
    assert pair.order("perturbed").tolist() == [1, 0, 2]
    assert lm.mse(pair) == (128**2 + 126**2) / 3


def test_maps_may_be_memory_mapped(tmp_path: Path) -> None:
    u, p = plain_pair(np.float32)
    np.save(tmp_path / "maps.npy", np.stack([u, p]))
    stored = np.load(tmp_path / "maps.npy", mmap_mode="r")
    assert isinstance(stored, np.memmap)
    assert all_scores(stored[0], stored[1]) == all_scores(u, p)


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.int32])
def test_maps_are_never_written_to(dtype: npt.DTypeLike) -> None:
    u, p = plain_pair(dtype)
    u[0, 0], p[2, 3] = 0, 0
    expected = all_scores(u, p)
    before = u.copy(), p.copy()
    u.flags.writeable = p.flags.writeable = False
    assert all_scores(u, p) == expected
    np.testing.assert_array_equal(u, before[0])
    np.testing.assert_array_equal(p, before[1])


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("damaged", ["unperturbed", "perturbed", "both"])
def test_every_metric_of_a_map_that_is_not_finite_is_nan(damaged: str, value: float, dtype: DType) -> None:
    u, p = plain_pair(dtype)
    if damaged != "perturbed":
        u[3, 4] = value
    if damaged != "unperturbed":
        p[0, 0] = value
    assert lm.MapPair(u, p).status == "nan_map"
    pair = lm.MapPair(u, p)
    for name in reference.TWINS:
        arguments = {key: PARAMETERS[key] for key in reference.parameters(name)}
        assert math.isnan(getattr(lm, name)(pair, **arguments)), name
        assert pair.status == "nan_map", name


def test_masked_pixels_are_missing() -> None:
    u, p = plain_pair()
    masked = np.ma.masked_array(u, mask=np.zeros(u.shape, dtype=bool))
    masked[2, 2] = np.ma.masked
    for pair in (lm.MapPair(masked, p), lm.MapPair(p, masked)):
        assert math.isnan(lm.topk_intersection(pair, k=5))
        assert pair.status == "nan_map"
    whole = np.ma.masked_array(np.arange(4).reshape(2, 2), mask=[[True, False], [False, False]])
    assert lm.MapPair(whole, np.eye(2)).status == "nan_map"


@pytest.mark.parametrize("dtype", [np.complex128, object, "U3", "S3", "datetime64[s]", "timedelta64[s]"])
def test_maps_must_be_numbers(dtype: npt.DTypeLike) -> None:
    u, p = plain_pair()
    for maps in ((u.astype(np.int64).astype(dtype), p), (u, p.astype(np.int64).astype(dtype))):
        with pytest.raises((TypeError, ValueError), match="perturbed"):
            lm.MapPair(*maps)


def test_masks_are_seen_in_lists_and_integers() -> None:
    rows = [np.ma.masked_array([1.0, 2.0], [False, True]), np.ma.masked_array([3.0, 4.0], [False, False])]
    small = np.ma.masked_array(np.array([[1, 2], [3, 4]], np.uint8), [[True, False], [False, False]])
    for masked in (rows, small):
        assert lm.MapPair(masked, np.eye(2)).status == "nan_map"
        assert lm.score([masked, masked], np.stack([np.eye(2)] * 2), "kendall")["kendall"].isna().all()
    too_large = np.ma.masked_array([[2**60 + 1, 0]], [[False, True]])
    with pytest.raises(TypeError, match="unperturbed map holds integers too large for float64"):
        lm.MapPair(too_large, np.ones((1, 2)))


def test_one_channel_is_dropped() -> None:
    """A reduction by absolute values would lose its signs."""
    u, p = np.random.default_rng(0).normal(size=(2, 5, 6, 7))
    names = ["kendall", "topk_intersection(k=9)", "sign_agreement(k=9)"]
    expected = lm.score(u, p, names)
    pd.testing.assert_frame_equal(lm.score(u[:, None], p[:, None], names), expected, check_exact=True)
    for pair in (lm.MapPair(u[:1], p[0]), lm.MapPair(u[:1, None], p[:1])):
        assert lm.kendall(pair) == expected["kendall"][0]
    with pytest.raises(ValueError, match=r"got shape \(5, 2, 6, 7\); .* abs\(maps\).sum\(axis=1\)"):
        lm.score(np.stack([u, u], 1), np.stack([p, p], 1), names)


def test_tensors_lose_their_graph_and_bfloat16_is_widened() -> None:
    torch = pytest.importorskip("torch")
    u, p = plain_pair(np.float32)
    expected = all_scores(u, p)
    tensors = [torch.tensor(a, requires_grad=True) for a in (u, p)]
    assert all_scores(*tensors) == expected
    assert all_scores(*(tensor.bfloat16() for tensor in tensors)) == expected  # integers below 256
    assert all_scores(*([*tensor] for tensor in tensors)) == expected
    stacked = lm.score(tensors[0][None], tensors[1][None], "kendall")
    assert stacked["kendall"].tolist() == [expected["kendall"]]


def test_data_arrays_are_aligned_by_the_names_of_their_dimensions() -> None:
    u, p = plain_pair()
    expected = all_scores(u, p)
    named_u, named_p = (xr.DataArray(a, dims=("y", "x"), coords={"x": np.arange(12)}) for a in (u, p))
    others = [a.rename(y="row", x="column").drop_vars("column") for a in (named_u, named_p)]
    assert all_scores(named_u.T, named_p) == expected
    assert all_scores(named_u, named_p.T) == expected
    assert all_scores(named_u.T, p) == expected
    assert all_scores(others[0], others[1].T) == expected
    assert all_scores(xr.DataArray(u), named_p) == expected
    assert all_scores(named_u.expand_dims("channel", axis=2), named_p) == expected
    with pytest.raises(ValueError, match=r"'unperturbed' has the dimensions \('y', 'x'\) and .*row.*rename"):
        lm.MapPair(named_u, others[1])
    with pytest.raises(ValueError, match="the x coordinates of 'unperturbed' and 'perturbed' differ"):
        lm.MapPair(named_u, named_p[:, ::-1])


@pytest.mark.parametrize("name", reference.TWINS)
def test_metrics_called_with_arrays_say_what_to_write(name: str) -> None:
    u, p = plain_pair()
    metric = getattr(lm, name)
    words = f"{name} takes a MapPair, got ndarray: write {name}\\(MapPair\\(unperturbed, perturbed\\)"
    arguments = {key: PARAMETERS[key] for key in reference.parameters(name)}
    for maps in ((u, p), (u,)):
        with pytest.raises(TypeError, match=words):
            metric(*maps, **arguments)
    with pytest.raises(TypeError, match="got tuple"):
        metric((u, p), **arguments)
    with pytest.raises(TypeError, match=words) as caught:
        metric(unperturbed=u, perturbed=p, **arguments)
    assert "array(" not in str(caught.value)


def test_labels_of_other_containers_are_used() -> None:
    u, p = plain_pair()
    expected = all_scores(u, p)
    assert all_scores(xr.Variable(("x", "y"), u.T), xr.DataArray(p, dims=("y", "x"))) == expected
    frames = pd.DataFrame(u), pd.DataFrame(p)
    assert all_scores(*frames) == expected
    with pytest.raises(ValueError, match="the index of the DataFrames 'unperturbed' and 'perturbed' differ"):
        lm.MapPair(frames[0], frames[1].iloc[::-1])
    arrays = [xr.DataArray(u.T, dims=("x", "y"))] * 2
    with pytest.raises(TypeError, match=r"list of DataArrays: join them with xarray\.concat"):
        lm.score(arrays, np.stack([p, p]), "kendall")
    gap = [np.nan, *range(1, 12)]
    named = [xr.DataArray(a, dims=("y", "x"), coords={"x": gap}) for a in (u, p)]
    assert all_scores(*named) == expected


def test_a_tensor_that_numpy_cannot_hold_is_refused() -> None:
    torch = pytest.importorskip("torch")
    with pytest.raises(TypeError, match=r"map is a tensor that NumPy cannot hold .* make it dense"):
        lm.MapPair(torch.ones(3, 3).to_sparse(), np.ones((3, 3)))


def test_identical_maps_have_a_status() -> None:
    u, p = plain_pair()
    zeros = np.array([[0.0, -0.0, 1.0]])
    assert lm.MapPair(u, u.astype(np.float32)).status == "identical"
    assert lm.MapPair(zeros, -zeros[:, ::-1][:, ::-1] * [1, 1, -1]).status == "identical"
    assert lm.MapPair(u, p).status == "ok"
    missing = np.array([[np.nan, 1.0]])
    assert lm.MapPair(missing, missing).status == "nan_map"
    pair = lm.MapPair(u, -u)
    lm.sign_agreement(pair, k=3)  # their absolute values are the same, they are not
    assert pair.status == "ok"


@pytest.mark.large
def test_threads_may_share_a_pair() -> None:
    """Shared sets and sequences are not changed in place."""
    u, p = np.random.default_rng(0).normal(size=(2, 120, 120))
    calls = [partial(lm.lens_recall, k=300, w=w) for w in (1, 2, 3, 5)] + [lm.kendall, lm.spearman]
    expected = [call(lm.MapPair(u, p)) for call in calls]
    with ThreadPoolExecutor(4) as threads:
        for _ in range(150):
            pair = lm.MapPair(u, p)
            assert list(threads.map(lambda call, pair=pair: call(pair), calls)) == expected


def test_attributions_of_features_get_a_hint() -> None:
    features = np.random.default_rng(0).normal(size=(4, 9))
    with pytest.raises(ValueError, match=r"pass array\[:, None\]: windows then run along the features"):
        lm.score(features, -features, "kendall")
    with pytest.raises(ValueError, match=r"write values\[None\]: windows then run along the features"):
        lm.MapPair(features[0], features[1])
    scores = lm.score(features[:, None], -features[:, None], "lens_recall(k=2,w=1)")
    assert scores["status"].tolist() == ["ok"] * 4


@pytest.mark.parametrize("shape", [(), (6,), (2, 3, 1), (0, 3), (3, 0), (0, 0)])
def test_maps_must_have_two_dimensions_and_pixels(shape: tuple[int, ...]) -> None:
    a = np.zeros(shape)
    with pytest.raises(ValueError, match=re.escape(str(shape))):
        lm.MapPair(a, a)


@pytest.mark.parametrize(("first", "second"), [((3, 4), (4, 3)), ((3, 4), (3, 5)), ((1, 6), (6, 1))])
def test_maps_of_different_shapes_are_refused(first: tuple[int, int], second: tuple[int, int]) -> None:
    with pytest.raises(ValueError, match=f"{re.escape(str(first))}.*{re.escape(str(second))}"):
        lm.MapPair(np.zeros(first), np.zeros(second))


def test_a_pair_goes_with_its_last_reference() -> None:
    """Maps are large: they must not wait for the garbage collector, which counts objects, not bytes."""
    gc.disable()
    try:
        for values in ([[1.0, 2.0], [3.0, 4.0]], [[1.0, -2.0], [3.0, -4.0]]):
            pair = lm.MapPair(values, values[::-1])
            for metric in (
                "sign_agreement(k=2)",
                "lens_kendall(w=1)",
                "lens_recall(k=1)",
                "mass_center_shift",
            ):
                lm.parse_metric(metric)(pair)
            gone = weakref.ref(pair)
            del pair
            assert gone() is None
    finally:
        gc.enable()
