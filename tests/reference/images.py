"""Similarity of images: the twins, which take the two images in place of the maps."""

import math

import numpy as np

from tests.reference.maps import NAN, Map, Twin, values


def _scaled(image: Map) -> Map:
    """Return an image (channel, height, width) in [0, 1]."""
    scaled = image / 255 if image.dtype == np.uint8 else image.astype(np.float64)
    return scaled[None] if scaled.ndim == 2 else scaled


def image_mse(image: Map, perturbed: Map) -> float:
    x, y = _scaled(image).ravel().tolist(), _scaled(perturbed).ravel().tolist()
    return math.fsum((a - b) ** 2 for a, b in zip(x, y, strict=True)) / len(x)


def image_pearson(image: Map, perturbed: Map) -> float:
    x, y = _scaled(image).ravel().tolist(), _scaled(perturbed).ravel().tolist()
    mean_x, mean_y = math.fsum(x) / len(x), math.fsum(y) / len(y)
    variance_x = math.fsum((a - mean_x) ** 2 for a in x)
    variance_y = math.fsum((b - mean_y) ** 2 for b in y)
    if variance_x == 0 or variance_y == 0:
        return NAN
    covariance = math.fsum((a - mean_x) * (b - mean_y) for a, b in zip(x, y, strict=True))
    return covariance / math.sqrt(variance_x * variance_y)


def image_ssim(image: Map, perturbed: Map) -> float:
    """Follow scikit-image with a data range of 1, for each channel by itself."""
    c1, c2 = 0.01**2, 0.03**2
    scores = []
    for u, p in zip(_scaled(image), _scaled(perturbed), strict=True):
        for top in range(u.shape[0] - 6):
            for left in range(u.shape[1] - 6):
                x = values(u[top : top + 7, left : left + 7])
                y = values(p[top : top + 7, left : left + 7])
                mean_x, mean_y = math.fsum(x) / 49, math.fsum(y) / 49
                variance_x = math.fsum((a - mean_x) ** 2 for a in x) / 48
                variance_y = math.fsum((b - mean_y) ** 2 for b in y) / 48
                covariance = math.fsum((a - mean_x) * (b - mean_y) for a, b in zip(x, y, strict=True)) / 48
                luminance = (2 * mean_x * mean_y + c1) / (mean_x**2 + mean_y**2 + c1)
                scores.append(luminance * (2 * covariance + c2) / (variance_x + variance_y + c2))
    return math.fsum(scores) / len(scores) if scores else NAN


TWINS_OF_IMAGES: dict[str, Twin] = {twin.__name__: twin for twin in (image_mse, image_pearson, image_ssim)}
