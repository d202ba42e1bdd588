"""Similarity of the two images that the maps explain: how far an attack has changed its input.

Images are (height, width) or (channel, height, width), in [0, 1] or uint8, which is divided by 255. NaN
where the pair does not have both images in that range (``no_image``), or where a map is not finite
(``nan_map``), as all metrics are.
"""

import math

import numpy as np
import numpy.typing as npt

from ..pairs.mappair import MapPair
from .correlation import linear_correlation
from .distance import SSIM_SIDE, mean_similarity
from .registry import built_in

_Images = tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]


@built_in
def image_mse(pair: MapPair) -> float:
    """Mean squared difference of the two images over all pixels and channels.

    Returns
    -------
    float
        In [0, 1], for images in [0, 1]; 0 for equal images. NaN where the pair does not have both images
        (``no_image``) or a map is not finite (``nan_map``).

    References
    ----------
    .. [1] A.-K. Dombrowski et al., "Explanations can be manipulated and geometry is to blame",
       NeurIPS 2019, compare images by MSE, PCC and SSIM too; the range of their images is not stated.

    Examples
    --------
    >>> import lensmetrics as lm
    >>> import numpy as np
    >>> image, changed = np.array([[0, 255]], np.uint8), np.array([[0.5, 1.0]])
    >>> lm.image_mse(lm.MapPair([[1, 2]], [[2, 1]], image=image, image_perturbed=changed))
    0.125
    """
    images = _images(pair)
    return math.nan if images is None else float(np.square(images[0] - images[1]).mean())


@built_in
def image_pearson(pair: MapPair) -> float:
    """Pearson's linear correlation of the two images over all pixels and channels.

    Returns
    -------
    float
        In [-1, 1]; 1 for equal images. NaN where the pair does not have both images or one has a single
        value everywhere (``no_image``), or a map is not finite (``nan_map``).

    Examples
    --------
    >>> import lensmetrics as lm
    >>> import numpy as np
    >>> image, changed = np.array([[0, 255]], np.uint8), np.array([[0.5, 1.0]])
    >>> lm.image_pearson(lm.MapPair([[1, 2]], [[2, 1]], image=image, image_perturbed=changed))
    1.0
    """
    images = _images(pair)
    if images is None:
        return math.nan
    if any(np.ptp(image) == 0 for image in images):
        pair.add_status("no_image")
        return math.nan
    return linear_correlation(*images)


@built_in
def image_ssim(pair: MapPair) -> float:
    """Mean structural similarity of the two images.

    Computes what ``skimage.metrics.structural_similarity`` does with a data range of 1 for each channel, and
    the mean over channels; the window is that of :func:`ssim`.

    Returns
    -------
    float
        In [-1, 1]; 1 for equal images. NaN where a side is shorter than 7 pixels (``too_small``), the pair
        does not have both images (``no_image``), or a map is not finite (``nan_map``).

    Notes
    -----
    The data range is that of images, not the joint range of the two, as :func:`ssim` takes for maps, which
    have no range of their own.

    Examples
    --------
    >>> import lensmetrics as lm
    >>> import numpy as np
    >>> pair = lm.MapPair(np.eye(7), np.eye(7), image=np.eye(7), image_perturbed=0.5 * np.eye(7))
    >>> round(lm.image_ssim(pair), 3)
    0.642
    """
    images = _images(pair)
    if images is None:
        return math.nan
    if min(images[0].shape[1:]) < SSIM_SIDE:
        pair.add_status("too_small")
        return math.nan
    channels = zip(*images, strict=True)
    return math.fsum(mean_similarity(u, p, 1.0) for u, p in channels) / len(images[0])


def _images(pair: MapPair) -> _Images | None:
    """Return both images (channel, height, width) in [0, 1], or None where there are none to compare."""
    if not pair.finite:
        return None
    if pair.image is not None and pair.image_perturbed is not None:
        stored = [np.asarray(values) for values in (pair.image, pair.image_perturbed)]
        image, perturbed = (v.astype(np.float64) / (255 if v.dtype == np.uint8 else 1) for v in stored)
        if stored[0].dtype == np.uint8 and stored[1].dtype.kind == "f" and image.shape == perturbed.shape:
            # A quotient that was stored in less precision is not a change.
            perturbed = np.where(image.astype(stored[1].dtype) == stored[1], image, perturbed)
        in_range = all(((values >= 0) & (values <= 1)).all() for values in (image, perturbed))
        if in_range and image.shape == perturbed.shape and image.ndim in (2, 3) and image.size:
            shape = image.shape if image.ndim == 3 else (1, *image.shape)
            return image.reshape(shape), perturbed.reshape(shape)
    pair.add_status("no_image")
    return None
