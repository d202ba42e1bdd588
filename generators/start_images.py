"""The images from which an attack starts: what it found in a smaller ball, unless it is damaged."""

from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

import lensmetrics as lm

# Files hold float32, and a GPU divides pixels by 255 less exactly: by how much a pixel, and a norm relative
# to its size, may be off.
_PIXEL, _RELATIVE = 2.0**-22, 1e-5


def start_images(path: Path, positions: NDArray[np.int64], images: torch.Tensor) -> torch.Tensor:
    """Return the perturbed images of a finished file at `positions`, in the type of `images`.

    Where the file says that nothing was perturbed, this is the image itself, of `images` (sample, channel,
    height, width): the stored one was rounded to float32, which is no perturbation that may count.

    Raises
    ------
    ValueError
        If a stored image is damaged: of another shape or type, not in [0, 1], or outside the file's ball.
    """
    store = lm.PairStore(path)
    is_still = _is_unperturbed(store)[positions]
    starts = images.clone()
    for i, (position, image) in enumerate(zip(positions.tolist(), images.cpu(), strict=True)):
        _, stored = store.read_image(position)
        if problem := _problem(stored, image.double().numpy(), store.attrs["eps"], store.attrs["eps_norm"]):
            raise ValueError(
                f"--start: the perturbed image of sample {store.sample[position]} in {path} {problem}; make "
                "the file again, or remove --start"
            )
        if not is_still[i]:
            starts[i] = torch.from_numpy(stored).reshape(image.shape)
    return starts


def _is_unperturbed(store: lm.PairStore) -> NDArray[np.bool_]:
    """Return the samples for which the attack accepted no image, or found none that was better."""
    columns = store.header.columns
    still = store.not_attacked
    for norms in (columns.perturbation_linf, columns.perturbation_l2):
        if norms is not None:
            still = still | (norms == 0)
    return still


def _problem(stored: NDArray[Any] | None, image: NDArray[np.float64], eps: float, norm: str) -> str:
    """Return "", or what is wrong with a stored image, as the end of a sentence."""
    if stored is None:
        return "is not there: the sample is not complete"
    shapes = (image.shape, image.shape[1:]) if len(image) == 1 else (image.shape,)
    if stored.shape not in shapes or stored.dtype != np.float32:
        return f"is {stored.dtype} {stored.shape}; it must be float32 {shapes[-1]}, the shape of the image"
    if not np.isfinite(stored).all():
        return "has pixels that are no numbers (NaN or infinite)"
    if stored.min() < 0 or stored.max() > 1:
        return f"has pixels from {stored.min():.4g} to {stored.max():.4g}; they must be in [0, 1]"
    change = (stored.reshape(image.shape) - image).ravel()
    distance = np.abs(change).max() if norm == "linf" else np.linalg.norm(change)
    rounding = _PIXEL * (1 if norm == "linf" else np.sqrt(change.size)) + _RELATIVE * eps
    if distance > eps + rounding:
        return f"is {distance:.4g} away from the image of --data; it must be within the file's eps {eps:.4g}"
    return ""
