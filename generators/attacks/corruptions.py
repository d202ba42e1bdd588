"""Corruptions of images as ImageNet-C defines them, at severities 1 to 5.

A corruption takes an image (height, width, channel) in [0, 1] as float64, what its severity means (see
``published.SEVERITIES``) and the sample's random generator. What it returns is cut off at 0 and 1. One or
three channels are the same to it.

ImageNet-C then stores its images as uint8, rounded down, and those of 224x224 as JPEG of quality 85. Here
only jpeg_compression rounds, to the nearest multiple of 1/255 before it and as JPEG does after it.

References
----------
Hendrycks, Dietterich, "Benchmarking Neural Network Robustness to Common Corruptions and Perturbations", ICLR
2019, and the released code, make_imagenet_c.py and make_cifar_c.py.
"""

from collections.abc import Callable
from io import BytesIO
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy import ndimage

from .. import published
from ..options import Option, positive_integer
from .batch import Batch, on_device
from .best import Found
from .record import Attack

_Image = NDArray[np.float64]
_Corrupt = Callable[[_Image, Any, np.random.Generator], _Image]
_SEVERITIES = 5


def gaussian_noise(image: _Image, sigma: float, random: np.random.Generator) -> _Image:
    """Add normal noise."""
    return image + random.normal(scale=sigma, size=image.shape)


def shot_noise(image: _Image, photons: float, random: np.random.Generator) -> _Image:
    """Count the photons of each value, of which a white one has this many on average."""
    return random.poisson(image * photons) / photons


def impulse_noise(image: _Image, share: float, random: np.random.Generator) -> _Image:
    """Replace a share of the values by 0 or 1, each with probability 1/2."""
    is_replaced = random.random(image.shape) < share
    is_white = random.random(image.shape) < 0.5
    return np.where(is_replaced, is_white, image)


def gaussian_blur(image: _Image, sigma: float, random: np.random.Generator) -> _Image:
    """Average with normal weights up to 4 sigma; the border continues beyond the image."""
    blurred: _Image = ndimage.gaussian_filter(image, (sigma, sigma, 0), mode="nearest")
    return blurred


def defocus_blur(image: _Image, disk: tuple[float, float], random: np.random.Generator) -> _Image:
    """Average over a disk of a radius, its edge blurred by a sigma; the image is mirrored at its border."""
    blurred: _Image = ndimage.correlate(image, disk_weights(*disk)[..., None], mode="mirror")
    return blurred


def disk_weights(radius: float, sigma: float) -> _Image:
    """Return the weights of a disk whose edge is blurred over 1 pixel, or 2 if the radius is above 8.

    They sum to 1, but to 1.013 and 1.011 for radii of 8 and 10: there the disk touches the border of
    ImageNet-C's weights, and its blurred edge is mirrored.
    """
    reach = max(8, int(radius))
    at = np.arange(-reach, reach + 1)
    is_inside = at[:, None] ** 2 + at**2 <= radius**2
    disk: _Image = is_inside / is_inside.sum()
    around = np.arange(-1, 2) if radius <= 8 else np.arange(-2, 3)
    edge = np.exp(-(around**2) / (2 * sigma**2))
    for axis in (0, 1):
        disk = ndimage.correlate1d(disk, edge / edge.sum(), axis, mode="mirror")
    return disk


def brightness(image: _Image, added: float, random: np.random.Generator) -> _Image:
    """Add to the value in HSV, the largest of the channels, up to 1; hue and saturation stay."""
    value = image.max(-1, keepdims=True)
    wanted = np.minimum(value + added, 1)
    is_black = value == 0  # and so has neither hue nor saturation
    brightened: _Image = np.where(is_black, wanted, image / np.where(is_black, 1, value) * wanted)
    return brightened


def contrast(image: _Image, factor: float, random: np.random.Generator) -> _Image:
    """Multiply the distances from the mean of each channel."""
    mean: _Image = image.mean((0, 1), keepdims=True)
    return mean + factor * (image - mean)


def jpeg_compression(image: _Image, quality: int, random: np.random.Generator) -> _Image:
    """Write and read the image as JPEG, with Pillow; images of uint8 are not rounded before it."""
    pixels = np.rint(255 * image).astype(np.uint8)
    file = BytesIO()
    Image.fromarray(pixels[..., 0] if pixels.shape[-1] == 1 else pixels).save(file, "JPEG", quality=quality)
    with Image.open(file) as read:
        return np.asarray(read).reshape(image.shape) / 255


def _attack(corrupt: _Corrupt) -> Attack:
    """Return the attack that corrupts every image, whatever label the model then gives it."""

    def perturb(batch: Batch, *, severity: int, severity_table: str) -> tuple[Found, ...]:
        amount = published.SEVERITIES[severity_table][corrupt.__name__][severity - 1]
        images = batch.images.double().permute(0, 2, 3, 1).cpu().numpy()
        corrupted = [
            np.clip(corrupt(image, amount, random), 0, 1).transpose(2, 0, 1)
            for image, random in zip(images, batch.randoms, strict=True)
        ]
        found = on_device(np.stack(corrupted), batch.images)
        counts = batch.is_perturbed(found).cpu().numpy().astype(np.int32)  # black stays black without noise
        return (Found(found, counts, counts),)

    perturb.__doc__ = corrupt.__doc__
    return Attack(
        perturb, _OPTIONS, published=published.severity_table, needs_map=False, needs_gradient=False
    )


def _check_severity(severity: int) -> None:
    if severity not in range(1, _SEVERITIES + 1):
        raise ValueError(f"--severity must be an integer from 1 to {_SEVERITIES}, got {severity}")


_OPTIONS = (
    Option(
        "severity",
        f"how strong a corruption is, from 1 to {_SEVERITIES} as in ImageNet-C",
        positive_integer,
        check=_check_severity,
    ),
    Option(
        "severity_table",
        "what a severity means: imagenet_c, for images of about 224x224, or cifar10_c, for 32x32; default: "
        "that for the size of the dataset's images",
        None,
        arguments=(("choices", tuple(published.SEVERITIES)),),
    ),
)

CORRUPTIONS: dict[str, Attack] = {
    corrupt.__name__: _attack(corrupt)
    for corrupt in (
        gaussian_noise,
        shot_noise,
        impulse_noise,
        gaussian_blur,
        defocus_blur,
        brightness,
        contrast,
        jpeg_compression,
    )
}
