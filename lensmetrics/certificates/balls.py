"""Two balls of one size: what they share."""

from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.special import betainc, betaincc, betaincinv

from .arguments import Floats, above_0, as_distance, dimensions, plain


def ball_overlap(eps: npt.ArrayLike, radius: npt.ArrayLike, dim: npt.ArrayLike) -> Any:
    """Return the share of an l2 ball that a second one covers whose center is at distance `eps`.

    Parameters
    ----------
    eps
        Distance of the centers, 0 or more. NaN gives NaN.
    radius
        Radius of both balls, above 0, in the same unit.
    dim
        Number of dimensions, a whole number from 1 on. For images it is C H W, also where maps have one
        channel.

    Returns
    -------
    float or ndarray
        The share, in [0, 1], for each element of the arguments, which broadcast: 1 for `eps` 0, and 0 from
        ``2 * radius`` on.

    Raises
    ------
    ValueError
        If an argument is out of its range.

    Notes
    -----
    The balls share two caps, one on each side of the plane halfway between the centers: 1 - rho of the
    volume, with rho = I((eps / 2 radius)²; 1/2, (dim + 1) / 2), where I is the regularized incomplete beta
    function. The certificates use rho itself, which keeps all its digits where the balls nearly coincide.

    Source: the volume of a cap, S. Li, "Concise formulas for the area and volume of a hyperspherical cap",
    Asian Journal of Mathematics and Statistics 4 (2011).

    Examples
    --------
    On a line, the overlap falls linearly. In many dimensions, most of the volume is near the surface.

    >>> import lensmetrics as lm
    >>> lm.ball_overlap([0, 0.5, 2], radius=1, dim=1)
    array([1.  , 0.75, 0.  ])
    >>> round(lm.ball_overlap(0.01, radius=1, dim=784), 3)
    0.889
    """
    eps_, radius_, dim_ = as_distance(eps), above_0("radius", radius), dimensions(dim)
    return plain(np.asarray(betaincc(0.5, (dim_ + 1) / 2, _square(eps_, radius_))))


def unshared(eps: Floats, radius: Floats, dim: Floats) -> Floats:
    """Return rho, the share of a ball that the other one does not cover."""
    return np.asarray(betainc(0.5, (dim + 1) / 2, _square(eps, radius)), dtype=np.float64)


def _square(eps: Floats, radius: Floats) -> Floats:
    """Return the square of half the distance of two balls of radius 1; they are apart from 1 on."""
    with np.errstate(over="ignore", under="ignore"):
        return np.minimum(eps / radius / 2, 1.0) ** 2


def half_distance(rho: Floats, dim: Floats) -> Floats:
    """Return half the distance of two balls of radius 1 that do not share `rho`; inf where it is 1."""
    half = np.sqrt(betaincinv(0.5, (dim + 1) / 2, np.minimum(rho, 1.0)))
    return np.where(rho >= 1, np.inf, half)
