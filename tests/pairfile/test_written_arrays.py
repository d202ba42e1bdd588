"""The type of the maps, and arrays of other libraries."""

from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import xarray as xr
from numpy.typing import NDArray

from lensmetrics.pairfile.store import PairStore
from lensmetrics.pairfile.verification import verify
from lensmetrics.pairfile.writer import PairWriter
from tests.pairfile.toys import MAP
from tests.pairfiles import maps_of, names_in


def stored_dtype(path: Path) -> str:
    with h5py.File(path) as file:
        assert file["unperturbed"].dtype == file["perturbed"].dtype
        return str(file["unperturbed"].dtype)


@pytest.mark.parametrize(
    ("unperturbed", "perturbed", "expected"),
    [
        (np.float16, np.float16, "float32"),
        (np.float32, np.float32, "float32"),
        (bool, np.uint8, "float32"),
        (np.float32, np.float64, "float64"),
        (np.float64, np.int8, "float64"),
        (np.float16, np.int64, "float64"),  # the integers are beyond 2^24, see below
    ],
)
@pytest.mark.parametrize("compression", [None, "gzip"])
def test_the_first_batch_decides_the_type(
    tmp_path: Path, unperturbed: Any, perturbed: Any, expected: str, compression: str | None
) -> None:
    maps = [np.arange(12).reshape(1, 3, 4).astype(dtype) for dtype in (unperturbed, perturbed)]
    maps = [array + 2**24 if array.dtype == np.int64 else array for array in maps]
    path = tmp_path / "a.h5"
    with PairWriter(path, n_samples=2, shape=(3, 4), attrs={}, compression=compression) as writer:
        writer.write(slice(0, 1), *maps)
        assert stored_dtype(Path(f"{path}.part")) == expected
        writer.write(1, np.zeros((3, 4), np.float32), np.ones((3, 4), np.int16))
    for found, array in zip(PairStore(path).read_block(0, 1), maps, strict=False):
        np.testing.assert_array_equal(found, array.astype(expected), strict=True)
    assert verify(path) == []


@pytest.mark.parametrize("scale", [1e60, 1e-60, 1.0])
def test_float64_maps_keep_every_bit(tmp_path: Path, scale: float) -> None:
    maps = 1 + np.random.default_rng(0).normal(size=(2, 3, 4, 5)) * 1e-9
    maps *= scale
    with PairWriter(tmp_path / "a.h5", n_samples=3, shape=(4, 5), attrs={}) as writer:
        writer.write(slice(0, 3), *maps)
    np.testing.assert_array_equal(PairStore(tmp_path / "a.h5").read_block(0, 3)[0], maps[0], strict=True)


@pytest.mark.parametrize("later", [MAP, MAP.astype(int) + 2**24 + 1, -(MAP.astype(int)) - 2**24 - 1])
def test_a_wider_later_batch_is_refused(tmp_path: Path, later: NDArray[Any]) -> None:
    path = tmp_path / "a.h5"
    words = (
        r"'perturbed' is .* and needs float64, but .* holds float32, .* dtype='float64', or .*'float32' to"
    )
    narrow = MAP.astype(np.float32)
    with PairWriter(path, n_samples=3, shape=(3, 4), attrs={}) as writer:
        writer.write(0, narrow, narrow)
        with pytest.raises(ValueError, match=words):
            writer.write(1, narrow, later)
        writer.write(1, narrow, narrow)
    with PairWriter.resume(path, {}) as writer, pytest.raises(ValueError, match=words):
        writer.write(2, narrow, later)
    with pytest.raises(ValueError, match=r"dtype is float64, but .* holds float32"):
        PairWriter.resume(path, {}, dtype="float64")
    with PairWriter.resume(path, {}, dtype="float32") as writer:
        writer.write(2, narrow, later)
    assert verify(path) == []


@pytest.mark.parametrize(
    ("maps", "message"),
    [
        (MAP + 1e300, r"'unperturbed' holds 1e\+300, beyond \+-3\.4e\+38, the largest float32"),
        (np.arange(12).reshape(3, 4) * 1e-60, "'unperturbed' holds 1e-60, which float32 makes 0"),
        (1e8 + np.arange(12).reshape(3, 4) * 1e-3, "'unperturbed' holds a map that float32 makes constant"),
    ],
)
def test_float32_on_purpose(tmp_path: Path, maps: NDArray[Any], message: str) -> None:
    path = tmp_path / "a.h5"
    with PairWriter(path, n_samples=2, shape=(3, 4), attrs={}, dtype="float32") as writer:
        with pytest.raises(ValueError, match=message):
            writer.write(0, maps, maps)
        writer.write(0, MAP + 0.1, MAP)
        writer.write(1, MAP.astype(int) + 2**60, MAP)
    assert stored_dtype(path) == "float32"
    assert PairStore(path)[0].unperturbed[0, 0] == np.float32(0.1)


def test_float64_on_purpose_and_without_a_sample(tmp_path: Path) -> None:
    for dtype, expected in (("float64", "float64"), (np.float64, "float64"), (None, "float32")):
        path = tmp_path / "a.h5"
        with PairWriter(path, n_samples=2, shape=(3, 4), attrs={}, dtype=dtype):
            pass
        assert stored_dtype(path) == expected
        assert verify(path) == [(0, -1, "incomplete"), (1, -1, "incomplete")]
        path.unlink()


@pytest.mark.parametrize("dtype", ["float16", "int32", "longdouble", "nonsense", complex])
def test_other_types_of_files_are_refused(tmp_path: Path, dtype: Any) -> None:
    with pytest.raises(ValueError, match="dtype must be None, 'float32' or 'float64', got"):
        PairWriter(tmp_path / "a.h5", n_samples=2, shape=(3, 4), attrs={}, dtype=dtype)
    assert names_in(tmp_path) == []


@pytest.mark.parametrize("reduction", ["abs_sum", "sum", "abs_max"])
def test_one_channel_keeps_its_sign(tmp_path: Path, reduction: str) -> None:
    unperturbed, perturbed = maps_of(3, 4, 5)
    options: dict[str, Any] = {"n_samples": 3, "shape": (4, 5), "attrs": {"reduction": reduction}}
    with PairWriter(tmp_path / "stored.h5", channels=1, **options) as writer:
        writer.write(slice(0, 3), unperturbed[:, None], perturbed[:, None])
    with PairWriter(tmp_path / "dropped.h5", **options) as writer:
        writer.write(slice(0, 2), unperturbed[:2, None], perturbed[:2])
        writer.write(2, unperturbed[2], perturbed[2][None])
    for name, n_channels in (("stored", 1), ("dropped", None)):
        store = PairStore(tmp_path / f"{name}.h5")
        assert store.n_channels == n_channels
        block = store.read_block(0, 3)
        np.testing.assert_array_equal(block[0], unperturbed, strict=True)
        np.testing.assert_array_equal(block[1], perturbed, strict=True)
        np.testing.assert_array_equal(store[1].perturbed, perturbed[1])


def test_masked_pixels_become_nan(tmp_path: Path) -> None:
    unperturbed, perturbed = maps_of(3, 4, 5)
    outside = np.zeros((3, 4, 5), bool)
    outside[:, :2] = True
    unperturbed[outside] = -9999
    path = tmp_path / "a.h5"
    linf = np.ma.masked_array([0.5, 0.0, 0.5], [False, True, False])
    with PairWriter(path, n_samples=3, shape=(4, 5), attrs={}) as writer:
        masked = np.ma.masked_array(unperturbed, outside)
        writer.write(slice(0, 3), masked, perturbed, perturbation_linf=linf, target=list(masked))
    expected = np.where(outside, np.nan, unperturbed)
    np.testing.assert_array_equal(PairStore(path).read_block(0, 3)[0], expected, strict=True)
    assert not PairStore(path).not_attacked.any()  # a 0 lay under the mask
    with h5py.File(path) as file:
        np.testing.assert_array_equal(file["target"][()], expected)
        np.testing.assert_array_equal(file["perturbation_linf"][()], np.array([0.5, np.nan, 0.5], "f4"))


@pytest.mark.parametrize("name", ["sample", "label", "prediction", "prediction_perturbed", "n_accepted"])
@pytest.mark.parametrize("kind", ["array", "list"])
def test_masked_integers_are_refused(tmp_path: Path, name: str, kind: str) -> None:
    values: Any = np.ma.masked_array([3, 4], [False, True])
    if kind == "list":
        values = [3, np.ma.masked]
    maps = np.zeros((2, 3, 4))
    with (
        PairWriter(tmp_path / "a.h5", n_samples=2, shape=(3, 4), attrs={}) as writer,
        pytest.raises(
            ValueError, match=f"'{name}' has masked elements, but no integer can stand for a missing value"
        ),
    ):
        writer.write(slice(0, 2), maps, maps, **{name: values})


def test_tensors(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")
    path = tmp_path / "a.h5"
    maps = torch.arange(24.0).reshape(2, 3, 4).requires_grad_()
    numbers = torch.tensor([4, 5])
    with PairWriter(path, n_samples=2, shape=(3, 4), attrs={}) as writer:
        image, linf = maps.unsqueeze(1) / 24, torch.tensor([0.5, 0.25], dtype=torch.bfloat16)
        beside = {"output": maps[:, 0], "image": image, "perturbation_linf": linf, "name": ["a", "b"]}
        writer.write(slice(0, 2), maps * 2, maps.bfloat16(), sample=numbers, label=numbers, **beside)
    store = PairStore(path)
    expected = np.arange(24, dtype=np.float32).reshape(2, 3, 4)
    np.testing.assert_array_equal(store.read_block(0, 2)[0], expected * 2, strict=True)
    np.testing.assert_array_equal(store.read_block(0, 2)[1], expected, strict=True)
    assert store.sample.tolist() == [4, 5]
    assert verify(path) == []


def test_data_arrays_by_the_names_of_their_dimensions(tmp_path: Path) -> None:
    unperturbed, perturbed = maps_of(4, 2, 3, 4)
    image = np.random.default_rng(0).random((4, 3, 6, 4), dtype=np.float32)
    path = tmp_path / "a.h5"
    dims = ("sample", "channel", "y", "x")
    with PairWriter(path, n_samples=4, shape=(3, 4), channels=2, attrs={"reduction": "sum"}) as writer:
        writer.write(
            slice(0, 4),
            xr.DataArray(unperturbed, dims=dims).transpose("x", "sample", "y", "channel"),
            xr.DataArray(perturbed, dims=dims),
            label=xr.DataArray([3, 2, 1, 0], dims="sample"),
            image=xr.DataArray(image, dims=("sample", "image_channel", "image_y", "x")).transpose(
                ..., "image_y"
            ),
            output=xr.DataArray(image[:, 0, :, 0].T, dims=("class", "sample")),
            target=xr.DataArray(unperturbed[:, 0].T, dims=("x", "y", "sample")),
        )
    with PairStore(path).to_xarray() as found:
        np.testing.assert_array_equal(found["unperturbed"].values, unperturbed)
        np.testing.assert_array_equal(found["perturbed"].values, perturbed)
        np.testing.assert_array_equal(found["image"].values, image)
        np.testing.assert_array_equal(found["output"].values, image[:, 0, :, 0])
        np.testing.assert_array_equal(found["target"].values, unperturbed[:, 0])
        assert found["label"].values.tolist() == [3, 2, 1, 0]
        assert found["output"].dims == ("sample", "class")
        with PairWriter(tmp_path / "b.h5", n_samples=1, shape=(3, 4), channels=2, attrs={}) as writer:
            one = found.isel(sample=2)
            writer.write(0, one.unperturbed.transpose("x", "y", "channel"), one.perturbed, image=one.image)
    np.testing.assert_array_equal(PairStore(tmp_path / "b.h5").to_xarray()["image"].values[0], image[2])


@pytest.mark.parametrize(
    ("dims", "shape"),
    [
        (("dim_0", "dim_1", "dim_2"), (2, 3, 4)),
        (("time", "y", "x"), (2, 3, 4)),
        (("channel", "y", "x"), (2, 3, 4)),
        (("sample", "y"), (2, 3)),
        (("y", "x"), (3, 4)),
    ],
)
def test_data_arrays_with_other_dimensions(tmp_path: Path, dims: Any, shape: tuple[int, ...]) -> None:
    words = (
        r"'unperturbed' is a DataArray with the dimensions \(.*\); here they must be sample, channel, y, x"
    )
    with (
        PairWriter(tmp_path / "a.h5", n_samples=2, shape=(3, 4), attrs={}) as writer,
        pytest.raises(ValueError, match=words),
    ):
        writer.write(slice(0, 2), xr.DataArray(np.zeros(shape), dims=dims), np.zeros((2, 3, 4)))
