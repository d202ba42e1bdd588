"""The bounds of uniform smoothing, as functions of numbers and arrays.

The smoothed map of an input x is h(x), the mean of g(x + z) over z uniform in the l2 ball of a radius. The
balls around x and x' share all but a fraction rho of their volume, and g is at most `bound` long, so h(x) and
h(x') differ by at most 2 bound rho, or by sqrt(2) bound rho where no element of g is negative. This limits
the angle between them.
"""

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from .arguments import Floats, above_0, as_distance, as_norm, checked_cosine, dimensions, plain
from .balls import half_distance, unshared

# By how much a norm may exceed the bound, relatively: the error of averaging thousands of float32 maps.
TOLERANCE = 1e-5


def certified_cosine(
    norm: npt.ArrayLike,
    *,
    eps: npt.ArrayLike,
    radius: npt.ArrayLike,
    dim: npt.ArrayLike,
    bound: npt.ArrayLike = 1.0,
    nonnegative: bool = False,
) -> Any:
    """Bound the cosine of two smoothed maps whose inputs differ by at most `eps`.

    Parameters
    ----------
    norm
        l2 norm of the smoothed map of one input, from 0 to `bound`. NaN gives NaN. It must be that of the
        true mean: subtract the Monte-Carlo error from the norm of an estimate.
    eps
        Largest l2 norm of the perturbation, 0 or more. NaN gives NaN.
    radius
        Radius of the l2 ball of the smoothing, above 0, in the unit of the input.
    dim
        Number of elements of the input, C H W for images.
    bound
        Largest l2 norm of the maps that are averaged, above 0: 1 if each is scaled to norm 1.
    nonnegative
        Whether no element of an averaged map can be negative, which allows a better bound.

    Returns
    -------
    float or ndarray
        For each element of the arguments, which broadcast, the largest c for which it is proved that the
        cosine of both smoothed maps is at least c, in [0, 1]. NaN where nothing is proved: where `norm` is
        0, and for signed maps where 2 bound rho >= norm. For nonnegative maps it is 0 there, because
        their cosine is never negative.

    Raises
    ------
    ValueError
        If an argument is out of its range. A norm above `bound` contradicts the assumption on which the
        bound rests.

    Notes
    -----
    With rho = 1 - ball_overlap(eps, radius, dim), the bound is sqrt(1 - (2 bound rho / norm)²) for signed
    maps, and sqrt(1 - 2 (bound rho / norm)²) for nonnegative ones.

    Maps must be reduced to one value per pixel, scaled and made nonnegative before they are averaged, each
    on its own. For a smoothing whose points are moved into the range of images, nothing is proved.

    Source: uniform smoothing of Wang and Kong 2024, arXiv:2405.06361. The formula that summaries of the paper
    print is :func:`certified_cosine_published`, which is not sound.

    Examples
    --------
    >>> import lensmetrics as lm
    >>> round(lm.certified_cosine(0.6, eps=0.01, radius=1, dim=784), 3)
    0.929
    >>> round(lm.certified_cosine(0.6, eps=0.01, radius=1, dim=784, nonnegative=True), 3)
    0.965
    >>> lm.certified_cosine([0.6, 0.2, 0.6], eps=[0.01, 0.01, 0.1], radius=1, dim=784).round(3)
    array([0.929,   nan,   nan])
    """
    smoothed = Smoothed.of(norm, radius, dim, bound, nonnegative)
    return plain(smoothed.cosine(as_distance(eps)))


def certified_eps(
    norm: npt.ArrayLike,
    *,
    cosine: npt.ArrayLike,
    radius: npt.ArrayLike,
    dim: npt.ArrayLike,
    bound: npt.ArrayLike = 1.0,
    nonnegative: bool = False,
) -> Any:
    """Return the largest perturbation under which the cosine of smoothed maps is certified.

    Parameters
    ----------
    norm, radius, dim, bound, nonnegative
        As for :func:`certified_cosine`.
    cosine
        The wanted cosine, from 0 to 1. Maps at an angle above 90 degrees cannot be certified: for a lower
        cosine, what holds for 0 holds too.

    Returns
    -------
    float or ndarray
        For each element of the arguments, which broadcast, the largest l2 norm for which
        :func:`certified_cosine` is at least `cosine`: at least 0, and 0 for `cosine` 1. It is infinite where
        the cosine is certified for every perturbation: of nonnegative maps it is never below 0. NaN where
        `norm` is 0 or NaN. For signed maps and `cosine` 0, the bound holds below the result, not at it.

    Raises
    ------
    ValueError
        If an argument is out of its range.

    Notes
    -----
    eps = 2 radius sqrt(I⁻¹(rho; 1/2, (dim + 1) / 2)), where I⁻¹ is the inverse of the regularized incomplete
    beta function in its first argument and rho = norm sqrt(1 - cosine²) / (2 bound), or / (sqrt(2) bound) for
    nonnegative maps. Infinite where rho >= 1, which no norm up to `bound` reaches.

    Source: as for :func:`certified_cosine`.

    Examples
    --------
    >>> import lensmetrics as lm
    >>> eps = lm.certified_eps(0.6, cosine=0.9, radius=1, dim=784)
    >>> round(eps, 4)
    0.0118
    >>> round(lm.certified_cosine(0.6, eps=eps, radius=1, dim=784), 6)
    0.9
    """
    smoothed = Smoothed.of(norm, radius, dim, bound, nonnegative)
    wanted = checked_cosine(cosine)
    eps = 2 * smoothed.radius * half_distance(smoothed.unshared_for(wanted), smoothed.dim)
    always = smoothed.nonnegative & (wanted == 0) & (smoothed.norm > 0)
    return plain(np.where(always, np.inf, eps))


def smallest_radius(
    norm: npt.ArrayLike,
    *,
    cosine: npt.ArrayLike,
    eps: npt.ArrayLike,
    dim: npt.ArrayLike,
    bound: npt.ArrayLike = 1.0,
    nonnegative: bool = False,
) -> Any:
    """Return the smallest radius at which smoothed maps of this norm have the cosine certified.

    The norm changes with the radius, so this is an estimate that maps made with it must confirm.

    Parameters
    ----------
    norm, dim, bound, nonnegative, cosine, eps
        As for :func:`certified_cosine` and :func:`certified_eps`.

    Returns
    -------
    float or ndarray
        The radius, 0 where `eps` is 0 or the cosine is certified anyway; infinite for `cosine` 1.

    Examples
    --------
    >>> round(smallest_radius(0.6, cosine=0.9, eps=0.0118, dim=784), 2)
    1.0
    """
    smoothed = Smoothed.of(norm, 1.0, dim, bound, nonnegative)
    wanted, distance = checked_cosine(cosine), as_distance(eps)
    with np.errstate(divide="ignore", invalid="ignore"):
        radius = distance / (2 * half_distance(smoothed.unshared_for(wanted), smoothed.dim))
    known = (smoothed.norm > 0) & ~np.isnan(distance)
    always = known & ((distance == 0) | (smoothed.nonnegative & (wanted == 0)))
    return plain(np.where(always, 0.0, radius))


class Smoothed(NamedTuple):
    """Smoothed maps and how they were smoothed, checked."""

    norm: Floats
    radius: Floats
    dim: Floats
    bound: Floats
    nonnegative: npt.NDArray[np.bool_]

    @classmethod
    def of(
        cls,
        norm: npt.ArrayLike,
        radius: npt.ArrayLike,
        dim: npt.ArrayLike,
        bound: npt.ArrayLike,
        nonnegative: npt.ArrayLike,
    ) -> "Smoothed":
        norm_ = as_norm(norm)
        bound_ = above_0("bound", bound)
        too_long, longest = np.broadcast_arrays(norm_ > bound_ * (1 + TOLERANCE), bound_)
        if too_long.any():
            found = np.broadcast_to(norm_, too_long.shape)[too_long][0]
            raise ValueError(
                f"norm {found:.9g} is above bound {longest[too_long][0]:.9g}: a mean cannot be longer than "
                "the longest of the averaged maps, so bound is wrong and the certificate would be false"
            )
        given = np.asarray(nonnegative)
        if given.dtype.kind not in "biu" or not np.isin(given, (0, 1)).all():
            raise ValueError(f"nonnegative must be True or False, got {nonnegative!r}")
        return cls(np.minimum(norm_, bound_), above_0("radius", radius), dimensions(dim), bound_, given == 1)

    @property
    def _farthest(self) -> Floats:
        """How far apart two smoothed maps can be at most, for rho = 1."""
        return np.where(self.nonnegative, np.sqrt(2.0), 2.0) * self.bound

    def cosine(self, eps: Floats) -> Floats:
        """Return the certified cosine at distance `eps`."""
        with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
            sine = self._farthest * unshared(eps, self.radius, self.dim) / self.norm
            cosine = np.sqrt(1 - sine * sine)
        nothing = (sine >= 1) & (self.norm > 0)
        proved = np.where(nothing, np.where(self.nonnegative, 0.0, np.nan), cosine)
        return np.where(self.norm > 0, proved, np.nan)

    def unshared_for(self, cosine: Floats) -> Floats:
        """Return the largest rho at which the cosine is certified, NaN if the norm is 0."""
        rho = self.norm * np.sqrt((1 - cosine) * (1 + cosine)) / self._farthest
        return np.where(self.norm > 0, rho, np.nan)
