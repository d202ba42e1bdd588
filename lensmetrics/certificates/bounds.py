"""The bounds of uniform smoothing, as functions of numbers and arrays.

The smoothed map of an input x is h(x), the mean of g(x + z) over z uniform in the l2 ball of a radius. The
balls around x and x' share all but a fraction rho of their volume, and g is at most `bound` long, so h(x) and
h(x') differ by at most 2 bound rho, or by sqrt(2) bound rho where no element of g is negative. This limits
the angle between them.
"""

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from scipy.special import betainc, betaincc, betaincinv

Floats = npt.NDArray[np.float64]

# By how much a norm may exceed the bound, relatively: the error of averaging thousands of float32 maps.
TOLERANCE = 1e-5


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
    The share is 1 - rho with rho = I((eps / 2 radius)²; 1/2, (dim + 1) / 2), where I is the regularized
    incomplete beta function: the two caps beyond the plane between the centers. The certificates use rho
    itself, which keeps all its digits where the balls nearly coincide.

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
    eps_, radius_, dim_ = _distance(eps), _above_0("radius", radius), _dimensions(dim)
    return _plain(np.asarray(betaincc(0.5, (dim_ + 1) / 2, _square(eps_, radius_))))


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
    smoothed = _Smoothed.of(norm, radius, dim, bound, nonnegative)
    return _plain(smoothed.cosine(_distance(eps)))


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
    smoothed = _Smoothed.of(norm, radius, dim, bound, nonnegative)
    wanted = _cosine(cosine)
    eps = 2 * smoothed.radius * _half_distance(smoothed.unshared_for(wanted), smoothed.dim)
    always = smoothed.nonnegative & (wanted == 0) & (smoothed.norm > 0)
    return _plain(np.where(always, np.inf, eps))


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
    smoothed = _Smoothed.of(norm, 1.0, dim, bound, nonnegative)
    wanted, distance = _cosine(cosine), _distance(eps)
    with np.errstate(divide="ignore", invalid="ignore"):
        radius = distance / (2 * _half_distance(smoothed.unshared_for(wanted), smoothed.dim))
    known = (smoothed.norm > 0) & ~np.isnan(distance)
    always = known & ((distance == 0) | (smoothed.nonnegative & (wanted == 0)))
    return _plain(np.where(always, 0.0, radius))


def certified_cosine_published(
    norm: npt.ArrayLike,
    *,
    eps: npt.ArrayLike,
    radius: npt.ArrayLike,
    dim: npt.ArrayLike,
    bound: npt.ArrayLike = 1.0,
) -> Any:
    """Return the value that summaries of the paper print as a bound on the cosine, and that is none.

    It is here to compare with published numbers. Use :func:`certified_cosine` to certify.

    Parameters
    ----------
    norm, eps, radius, dim, bound
        As for :func:`certified_cosine`.

    Returns
    -------
    float or ndarray
        norm / sqrt(norm² + (bound V_U / V_S)²) with V_U / V_S = 2 rho, in [0, 1]. NaN where `norm` is 0 or
        NaN.

    Raises
    ------
    ValueError
        If an argument is out of its range.

    Notes
    -----
    V_S is the volume of a ball. No source at hand says what V_U is: here, the volume of all points that
    belong to one of both balls only. The formula puts the difference of the two maps at a right angle to
    the first, but other directions turn a map further. So it is **not sound**:

    * Signed maps: with rho = 0.2 and bound 1.25, h(x) = (1, 0) and h(x') = (0.75, 0.433) are possible. Their
      cosine is 0.866, the formula gives 0.894. If V_U is half of that, it gives even more.
    * Nonnegative maps: with rho = 0.6 and bound 1, h(x) = (0.6, 0) and h(x') = (0, 0.6) are possible. Their
      cosine is 0, the formula gives 0.447. Where bound rho <= norm / 2, it is below the sound bound.

    Source: summaries of Wang and Kong 2024, arXiv:2405.06361; the paper itself was not at hand.

    Examples
    --------
    On a line, two balls of radius 1 at distance 0.4 have rho = 0.2.

    >>> import lensmetrics as lm
    >>> round(lm.certified_cosine_published(1, eps=0.4, radius=1, dim=1, bound=1.25), 3)
    0.894
    >>> round(lm.certified_cosine(1, eps=0.4, radius=1, dim=1, bound=1.25), 3)
    0.866
    """
    smoothed = _Smoothed.of(norm, radius, dim, bound, nonnegative=False)
    difference = smoothed.bound * 2 * _unshared(_distance(eps), smoothed.radius, smoothed.dim)
    with np.errstate(invalid="ignore"):
        cosine = smoothed.norm / np.hypot(smoothed.norm, difference)
    return _plain(np.where(smoothed.norm > 0, cosine, np.nan))


class _Smoothed(NamedTuple):
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
    ) -> "_Smoothed":
        norm_ = _numbers("norm", norm)
        _refuse("norm", norm_, norm_ < 0, "0 or more")
        bound_ = _above_0("bound", bound)
        too_long, longest = np.broadcast_arrays(norm_ > bound_ * (1 + TOLERANCE), bound_)
        if too_long.any():
            found = np.broadcast_to(norm_, too_long.shape)[too_long][0]
            raise ValueError(
                f"norm {found:.9g} is above bound {longest[too_long][0]:.9g}: a mean cannot be longer than "
                "the longest of the averaged maps, so bound is wrong and the certificate would be false"
            )
        given = np.asarray(nonnegative)
        if given.dtype.kind != "b":
            raise ValueError(f"nonnegative must be True or False, got {nonnegative!r}")
        return cls(np.minimum(norm_, bound_), _above_0("radius", radius), _dimensions(dim), bound_, given)

    @property
    def _farthest(self) -> Floats:
        """How far apart two smoothed maps can be at most, for rho = 1."""
        return np.where(self.nonnegative, np.sqrt(2.0), 2.0) * self.bound

    def cosine(self, eps: Floats) -> Floats:
        """Return the certified cosine at distance `eps`."""
        with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
            sine = self._farthest * _unshared(eps, self.radius, self.dim) / self.norm
            cosine = np.sqrt(1 - sine * sine)
        nothing = (sine >= 1) & (self.norm > 0)
        proved = np.where(nothing, np.where(self.nonnegative, 0.0, np.nan), cosine)
        return np.where(self.norm > 0, proved, np.nan)

    def unshared_for(self, cosine: Floats) -> Floats:
        """Return the largest rho at which the cosine is certified, NaN if the norm is 0."""
        rho = self.norm * np.sqrt((1 - cosine) * (1 + cosine)) / self._farthest
        return np.where(self.norm > 0, rho, np.nan)


def _unshared(eps: Floats, radius: Floats, dim: Floats) -> Floats:
    """Return rho, the share of a ball that the other one does not cover."""
    return np.asarray(betainc(0.5, (dim + 1) / 2, _square(eps, radius)), dtype=np.float64)


def _square(eps: Floats, radius: Floats) -> Floats:
    """Return the square of half the distance of two balls of radius 1; they are apart from 1 on."""
    with np.errstate(over="ignore", under="ignore"):
        return np.minimum(eps / radius / 2, 1.0) ** 2


def _half_distance(rho: Floats, dim: Floats) -> Floats:
    """Return half the distance of two balls of radius 1 that do not share `rho`; inf where it is 1."""
    half = np.sqrt(betaincinv(0.5, (dim + 1) / 2, np.minimum(rho, 1.0)))
    return np.where(rho >= 1, np.inf, half)


def _distance(eps: npt.ArrayLike) -> Floats:
    found = _numbers("eps", eps)
    _refuse("eps", found, found < 0, "an l2 norm, 0 or more")
    return found


def _above_0(name: str, value: npt.ArrayLike) -> Floats:
    found = _numbers(name, value)
    _refuse(name, found, ~((found > 0) & np.isfinite(found)), "a finite number above 0")
    return found


def _dimensions(dim: npt.ArrayLike) -> Floats:
    found = _numbers("dim", dim)
    wrong = ~((found >= 1) & np.isfinite(found) & (found == np.floor(found)))
    _refuse("dim", found, wrong, "a whole number from 1 on, C H W for images")
    return found


def _cosine(cosine: npt.ArrayLike) -> Floats:
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


def _plain(found: Floats) -> Any:
    """Return an array without axes as a number."""
    return found if np.ndim(found) else float(found)
