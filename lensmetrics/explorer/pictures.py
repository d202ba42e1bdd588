"""Images and differences in the form in which a page draws them."""

import numpy as np
import numpy.typing as npt

from ..pairs.mappair import MapPair
from ..pairs.picture import as_picture, grey_range
from .reading import Sample

Picture = npt.NDArray[np.uint8]


def pictures(sample: Sample) -> tuple[Picture | None, Picture | None]:
    """Return both images, (height, width) or (height, width, 3), on one scale; None if not stored."""
    image, perturbed = sample.image, sample.image_perturbed
    if image is not None and perturbed is not None and image.shape == perturbed.shape:
        both = _bytes(as_picture(np.concatenate([image, perturbed], axis=-2)))
        return both[: len(both) // 2], both[len(both) // 2 :]
    one, other = (None if one is None else _bytes(as_picture(one)) for one in (image, perturbed))
    return one, other


def _bytes(picture: npt.NDArray[np.float64]) -> Picture:
    return np.rint(255 * picture).astype(np.uint8)


def shown_range(pair: MapPair) -> tuple[float, float]:
    """Return the values that both maps show lightest and darkest."""
    maps = [values.astype(np.float64) for values in (pair.unperturbed, pair.perturbed)]
    # Divide by the largest value first, because the range of a map can exceed its type.
    largest = max(float(np.abs(values[np.isfinite(values)]).max(initial=0)) for values in maps) or 1.0
    low, high = grey_range(*(values / largest for values in maps))
    return low * largest, high * largest


def strongest_difference(pair: MapPair) -> float:
    """Return the difference that is drawn in the strongest colour: the 99.5 % quantile of its size."""
    with np.errstate(over="ignore", invalid="ignore"):
        sizes = np.abs(pair.perturbed.astype(np.float64) - pair.unperturbed.astype(np.float64))
    _, high = grey_range(sizes)
    return high
