"""Turn foreign arrays into plain NumPy arrays without losing a mask, a dimension name or a bit."""

import re
import sys
from typing import TYPE_CHECKING, Any, TypeAlias, TypeGuard

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    import xarray as xr

Maps: TypeAlias = "npt.ArrayLike | xr.DataArray"

# The dimension names that are recognized, in the order of the axes of maps.
_DIMENSIONS = ("sample", "channel", "y", "x")
# float64 holds every integer up to here exactly.
LARGEST_EXACT = 2**53


def is_data_array(values: object) -> "TypeGuard[xr.DataArray]":
    """Return whether the values are an xarray.DataArray."""
    xarray = sys.modules.get("xarray")  # slow to import, and already imported where there is a DataArray
    return xarray is not None and isinstance(values, xarray.DataArray)


def aligned(unperturbed: Maps, perturbed: Maps) -> tuple[Maps, Maps]:
    """Return both maps with their named axes in the order sample, channel, y, x.

    Raises
    ------
    ValueError
        If the dimensions or the coordinates of two DataArrays differ, or the labels of two DataFrames.
    """
    _check_labels(unperturbed, perturbed)
    first, second = _in_order(unperturbed), _in_order(perturbed)
    if not (is_data_array(first) and is_data_array(second)):
        return first, second
    if set(first.dims) != set(second.dims):
        raise ValueError(
            f"'unperturbed' has the dimensions {first.dims} and 'perturbed' has {second.dims}: rename "
            "the dimensions so that both have the same"
        )
    for dim in first.dims:
        both = dim in first.coords and dim in second.coords
        if both and not first.coords[dim].variable.equals(second.coords[dim].variable):
            raise ValueError(
                f"the {dim} coordinates of 'unperturbed' and 'perturbed' differ; align them first"
            )
    return first, second.transpose(*first.dims)


def _check_labels(unperturbed: object, perturbed: object) -> None:
    """Check that two DataFrames have the same labels."""
    pandas = sys.modules.get("pandas")  # already imported where there is a DataFrame
    if pandas is None or not all(isinstance(maps, pandas.DataFrame) for maps in (unperturbed, perturbed)):
        return
    for axis in ("index", "columns"):
        if not getattr(unperturbed, axis).equals(getattr(perturbed, axis)):
            raise ValueError(
                f"the {axis} of the DataFrames 'unperturbed' and 'perturbed' differ; align them first"
            )


def _in_order(maps: Maps) -> Maps:
    """Return maps with axes named sample, channel, y or x in this order, a single channel dropped."""
    xarray = sys.modules.get("xarray")
    if xarray is not None and isinstance(maps, xarray.Variable):
        maps = xarray.DataArray(maps)
    if not is_data_array(maps):
        return maps
    if maps.ndim and all(re.fullmatch(r"dim_\d+", str(dim)) for dim in maps.dims):
        return maps.values  # xarray's default names, dim_0 and so on
    if {*maps.dims} <= {*_DIMENSIONS}:
        if maps.sizes.get("channel") == 1:
            maps = maps.squeeze("channel")
        return maps.transpose(*(dim for dim in _DIMENSIONS if dim in maps.dims))
    return maps


def _is_tensor(values: object) -> bool:
    """Return whether the values are a torch.Tensor."""
    torch = sys.modules.get("torch")  # already imported where there is a tensor
    return torch is not None and isinstance(values, torch.Tensor)


def as_numpy(values: Any, name: str) -> npt.NDArray[Any]:
    """Return the values as a NumPy array, in their own type where NumPy has it.

    Masked elements become NaN: masked integers of up to 16 bits become float32, wider ones float64.
    Tensors are detached from their graph and moved to the CPU; bfloat16 becomes float32. A list or tuple
    that contains masked arrays or tensors is converted element by element. `name` is what messages call
    the values.

    Raises
    ------
    TypeError
        If masked integers are too large for float64 to tell apart, if NumPy has no type for a tensor, or
        if a list holds DataArrays, whose dimension names would be lost.
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
            raise TypeError(
                f"the {name} is a tensor that NumPy cannot hold ({tensor.dtype}, {tensor.layout}): make it "
                "dense and floating-point first, as in tensor.to_dense().float()"
            ) from error
        return array
    if isinstance(values, list | tuple) and any(map(is_data_array, values)):
        raise TypeError(f"the {name} is a list of DataArrays: join them with xarray.concat(list, 'sample')")
    if isinstance(values, list | tuple) and any(_hides_something(item) for item in values):
        return np.stack([as_numpy(item, name) for item in values])
    if isinstance(values, np.ma.MaskedArray):
        return _unmasked(values, name)
    array = np.asarray(values)
    if array.dtype.name == "bfloat16":  # a type of JAX and TensorFlow that NumPy does not have
        return array.astype(np.float32)
    return array


def _hides_something(item: object) -> bool:
    """Return whether np.asarray of a list of such items would fail or lose a mask."""
    if isinstance(item, list | tuple):
        return any(map(_hides_something, item))
    return isinstance(item, np.ma.MaskedArray) or _is_tensor(item)


def _unmasked(values: "np.ma.MaskedArray[Any, Any]", name: str) -> npt.NDArray[Any]:
    """Return the values with NaN in place of the masked ones."""
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
            raise TypeError(
                f"the {name} holds integers too large for float64 to tell apart; convert it yourself"
            )
    filled[np.ma.getmaskarray(values)] = np.nan
    return filled
