"""Foreign arrays turned into plain NumPy arrays without losing a mask, a dimension name or a bit."""

import re
import sys
from typing import TYPE_CHECKING, Any, TypeAlias, TypeGuard

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    import xarray as xr

Maps: TypeAlias = "npt.ArrayLike | xr.DataArray"

# The names of dimensions, in the order that maps have here.
_DIMENSIONS = ("sample", "channel", "y", "x")
# float64 holds every integer up to here exactly.
LARGEST_EXACT = 2**53


def is_data_array(values: object) -> "TypeGuard[xr.DataArray]":
    """Whether the values are an xarray.DataArray."""
    xarray = sys.modules.get("xarray")  # who has a DataArray has imported it, which takes a while
    return xarray is not None and isinstance(values, xarray.DataArray)


def aligned(unperturbed: Maps, perturbed: Maps) -> tuple[Maps, Maps]:
    """Return maps whose axes go by name in one order: sample, channel, y, x where they are called so.

    Raises
    ------
    ValueError
        If two DataArrays have other dimensions, or other coordinates along one of them, or two
        DataFrames have other labels.
    """
    _check_labels(unperturbed, perturbed)
    first, second = _in_order(unperturbed), _in_order(perturbed)
    if not (is_data_array(first) and is_data_array(second)):
        return first, second
    if set(first.dims) != set(second.dims):
        msg = (
            f"'unperturbed' has the dimensions {first.dims} and 'perturbed' has {second.dims}: rename "
            "them, so that both have the same"
        )
        raise ValueError(msg)
    for dim in first.dims:
        both = dim in first.coords and dim in second.coords
        if both and not first.coords[dim].variable.equals(second.coords[dim].variable):
            msg = f"the {dim} coordinates of 'unperturbed' and 'perturbed' differ; align them first"
            raise ValueError(msg)
    return first, second.transpose(*first.dims)


def _check_labels(unperturbed: object, perturbed: object) -> None:
    pandas = sys.modules.get("pandas")  # who has a DataFrame has imported it
    if pandas is None or not all(isinstance(maps, pandas.DataFrame) for maps in (unperturbed, perturbed)):
        return
    for axis in ("index", "columns"):
        if not getattr(unperturbed, axis).equals(getattr(perturbed, axis)):
            msg = f"the {axis} of the DataFrames 'unperturbed' and 'perturbed' differ; align them first"
            raise ValueError(msg)


def _in_order(maps: Maps) -> Maps:
    xarray = sys.modules.get("xarray")
    if xarray is not None and isinstance(maps, xarray.Variable):
        maps = xarray.DataArray(maps)
    if not is_data_array(maps):
        return maps
    if maps.ndim and all(re.fullmatch(r"dim_\d+", str(dim)) for dim in maps.dims):
        return maps.values  # nobody has named them
    if {*maps.dims} <= {*_DIMENSIONS}:
        if maps.sizes.get("channel") == 1:
            maps = maps.squeeze("channel")
        return maps.transpose(*(dim for dim in _DIMENSIONS if dim in maps.dims))
    return maps


def _is_tensor(values: object) -> bool:
    torch = sys.modules.get("torch")  # who has a tensor has imported it
    return torch is not None and isinstance(values, torch.Tensor)


def as_numpy(values: Any, name: str) -> npt.NDArray[Any]:
    """Return the values as a NumPy array of the type they have; `name` is what messages call them.

    Masked elements become NaN: of integers up to 16 bits in float32, of others in float64. Tensors are
    detached from their graph and moved to the CPU, bfloat16 becomes float32. A list or tuple is
    converted element by element where one of these is in it.

    Raises
    ------
    TypeError
        If masked integers are too large for float64 to tell apart, a tensor has no NumPy type, or a list
        holds DataArrays, whose dimensions would be lost.
    """
    if is_data_array(values):
        values = values.data
    if _is_tensor(values):
        tensor = values.detach().cpu()
        if not tensor.is_sparse and not tensor.is_quantized:
            tensor = tensor.resolve_conj().resolve_neg()
        if str(tensor.dtype) == "torch.bfloat16":
            tensor = tensor.float()
        try:
            array: npt.NDArray[Any] = tensor.numpy()
        except (TypeError, RuntimeError) as error:
            msg = (
                f"the {name} is a tensor that NumPy cannot hold ({tensor.dtype}, {tensor.layout}): make it "
                "dense and floating-point first, as in tensor.to_dense().float()"
            )
            raise TypeError(msg) from error
        return array
    if isinstance(values, list | tuple) and any(map(is_data_array, values)):
        msg = f"the {name} is a list of DataArrays: join them with xarray.concat(list, 'sample')"
        raise TypeError(msg)
    if isinstance(values, list | tuple) and any(_hides_something(item) for item in values):
        return np.stack([as_numpy(item, name) for item in values])
    if isinstance(values, np.ma.MaskedArray):
        return _unmasked(values, name)
    array = np.asarray(values)
    if array.dtype.name == "bfloat16":  # JAX and TensorFlow share one that NumPy itself does not know
        return array.astype(np.float32)
    return array


def _hides_something(item: object) -> bool:
    """Whether np.asarray of a list of these would fail, or drop what they know."""
    if isinstance(item, list | tuple):
        return any(map(_hides_something, item))
    return isinstance(item, np.ma.MaskedArray) or _is_tensor(item)


def _unmasked(values: "np.ma.MaskedArray[Any, Any]", name: str) -> npt.NDArray[Any]:
    data = np.asarray(values.data)
    if not np.ma.is_masked(values) or data.dtype.kind not in "fiub":
        return data
    if data.dtype.kind == "f":
        filled = data.copy()
    else:
        filled = data.astype(np.float32 if data.dtype.itemsize <= 2 else np.float64)
        kept = data[~np.ma.getmaskarray(values)]
        if (
            data.dtype.itemsize == 8
            and kept.size
            and max(abs(int(kept.min())), int(kept.max())) > LARGEST_EXACT
        ):
            msg = f"the {name} holds integers too large for float64 to tell apart; convert it yourself"
            raise TypeError(msg)
    filled[np.ma.getmaskarray(values)] = np.nan
    return filled
