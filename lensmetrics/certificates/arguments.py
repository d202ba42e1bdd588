"""The arguments of certificates: numbers and arrays, checked."""

from typing import Any

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]


def as_norm(norm: npt.ArrayLike) -> Floats:
    """Return norms of maps."""
    found = _numbers("norm", norm)
    _refuse("norm", found, found < 0, "0 or more")
    return found


def as_distance(eps: npt.ArrayLike) -> Floats:
    found = _numbers("eps", eps)
    _refuse("eps", found, found < 0, "an l2 norm, 0 or more")
    return found


def above_0(name: str, value: npt.ArrayLike) -> Floats:
    found = _numbers(name, value)
    _refuse(name, found, ~((found > 0) & np.isfinite(found)), "a finite number above 0")
    return found


def dimensions(dim: npt.ArrayLike) -> Floats:
    found = _numbers("dim", dim)
    wrong = ~((found >= 1) & np.isfinite(found) & (found == np.floor(found)))
    _refuse("dim", found, wrong, "a whole number from 1 on, C H W for images")
    return found


def checked_cosine(cosine: npt.ArrayLike) -> Floats:
    found = _numbers("cosine", cosine)
    _refuse("cosine", found, ~((found >= 0) & (found <= 1)), "in [0, 1]")
    return found


def _numbers(name: str, value: npt.ArrayLike) -> Floats:
    found = np.asarray(value)
    if found.dtype.kind not in "iuf":
        raise ValueError(f"{name} must be a number or an array of numbers, got {value!r}")
    return found.astype(np.float64)


def _refuse(name: str, found: Floats, wrong: npt.NDArray[np.bool_], allowed: str) -> None:
    if wrong.any():
        raise ValueError(f"{name} must be {allowed}, got {found[wrong][0]:.9g}")


def plain(found: Floats) -> Any:
    """Return an array without axes as a number."""
    return found if np.ndim(found) else float(found)
