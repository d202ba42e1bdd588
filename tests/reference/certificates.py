"""Slow, obvious twins of the certificates, with 50 digits.

With t = eps / 2 radius, the part of a ball that another one does not cover is the share
rho = I(t²; 1/2, (d + 1) / 2) of it. The twin sums the series of the incomplete beta function, all of whose
terms are positive.
"""

import functools
import math
from decimal import Decimal, localcontext
from fractions import Fraction

_DIGITS = 50
_PI = Decimal("3.14159265358979323846264338327950288419716939937510582097494459")


def unshared(eps: float, radius: float, dim: int) -> float:
    """Return the share of a ball of that radius that a ball at distance `eps` does not cover."""
    half = Fraction(eps) / (2 * Fraction(radius))
    if half >= 1:
        return 1.0
    if half > 0.96:
        raise ValueError("the series would need too many terms")
    with localcontext() as context:
        context.prec = _DIGITS
        t = Decimal(half.numerator) / Decimal(half.denominator)
        x = t * t
        total = term = Decimal(1)
        n = 0
        while term > total * Decimal(10) ** -_DIGITS:
            term *= x * (Decimal(dim) / 2 + 1 + n) / (Decimal(3) / 2 + n)
            total += term
            n += 1
        return float(2 * t * (1 - x) ** (Decimal(dim + 1) / 2) * total / _beta(dim))


@functools.cache
def _beta(dim: int) -> Decimal:
    """Return the beta function of 1/2 and (dim + 1) / 2, by its closed form for integers and for halves."""
    m = (dim + 1) // 2
    # The central binomial coefficient over 4^m, with 60 digits.
    central = Decimal(math.comb(2 * m, m) * 10**60 // 4**m) / Decimal(10) ** 60
    return 1 / (m * central) if dim % 2 else _PI * central


def cosine_bound(norm: float, rho: float, bound: float, *, nonnegative: bool) -> float:
    """Return the smallest cosine of two smoothed maps of which one has this norm, NaN if there is none."""
    if not norm > 0:
        return math.nan
    farthest = (math.sqrt(2) if nonnegative else 2) * bound * rho  # the other map is at most so far away
    if farthest >= norm:
        return 0.0 if nonnegative else math.nan
    return math.cos(math.asin(farthest / norm))
