"""The table of certificates: a row per sample, made from the norms of the smoothed maps in pair files."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd

from ..errors import FormatError
from ..pairfile.store import PairStore
from ..scoring.assembly import file_columns, sample_columns
from ..scoring.failures import Failure, check_name
from ..tables.columns import METRICS
from ..tables.known import CERTIFIED_ALPHA
from .arguments import Floats
from .balls import ball_overlap
from .bounds import TOLERANCE, certified_cosine, certified_eps, smallest_radius
from .draws import draws_needed, norm_error
from .smoothing import Smoothing, smoothing_of

NORM = "smoothed_norm"


@dataclass(frozen=True)
class Wanted:
    """What is to be certified.

    `eps` are l2 norms of perturbations, `cosines` are cosines to be kept, and the certificates of a sample
    are wrong with probability `alpha` at most.
    """

    eps: Sequence[float]
    cosines: Sequence[float]
    alpha: float

    def columns(self) -> list[str]:
        """Return the columns of the table that hold numbers of certificates."""
        return [
            NORM,
            *map(cosine_column, self.eps),
            *map(_eps_column, self.cosines),
            *(_radius_column(cosine, eps) for cosine in self.cosines for eps in self.eps),
        ]


class Certified(NamedTuple):
    """The certificates of one file."""

    store: PairStore
    smoothing: Smoothing
    status: list[str]
    columns: dict[str, Floats]

    def draws_needed(self, eps: float, alpha: float) -> Floats:
        """Return how many draws the samples need for a certificate at `eps`; inf: the radius is too small."""
        norm, (radius, _, dim, bound, nonnegative) = self.columns[NORM], self.smoothing
        # Of signed maps, nothing is proved up to this norm.
        least = 0.0 if nonnegative else 2 * bound * (1 - ball_overlap(eps, radius, dim))
        return draws_needed(norm - least, bound=bound, alpha=alpha)


def cosine_column(eps: float) -> str:
    """Return the column with the certified cosine at `eps`."""
    return f"certified_cosine(eps={_text(eps)})"


def _eps_column(cosine: float) -> str:
    return f"certified_eps(cosine={_text(cosine)})"


def _radius_column(cosine: float, eps: float) -> str:
    return f"certified_radius(cosine={_text(cosine)},eps={_text(eps)})"


def _text(value: float) -> str:
    return repr(float(value)).removesuffix(".0")


def certify(
    paths: Sequence[Path],
    wanted: Wanted,
    open_store: Callable[[Path], PairStore] = PairStore,
) -> tuple[list[Certified], list[Failure]]:
    """Certify the samples of every file that can be read; return also what is wrong with the others.

    Samples that are incomplete or fail their checksum have NaN and a status.
    """
    done, failures = [], []
    for path in paths:
        try:
            check_name(path)
            before = _state(path)
            store = open_store(path)
            smoothing = smoothing_of(store)
            norm, status = _norms(store, smoothing)
            if _state(path) != before:
                raise FormatError(f"{path} was changed or replaced while it was being read: certify it again")
            done.append(_certified(store, smoothing, norm, status, wanted))
        except (FormatError, OSError) as error:
            failures.append(Failure(path, error))
    return done, failures


def certificates_table(files: Sequence[Certified], wanted: Wanted) -> pd.DataFrame:
    """Return the table of scores whose columns of scores are certificates."""
    stores = [file.store for file in files]
    n = sum(map(len, stores))
    table = pd.DataFrame(
        {
            **file_columns(stores),
            CERTIFIED_ALPHA: pd.Categorical([wanted.alpha] * n),
            **sample_columns(stores),
            "status": [status for file in files for status in file.status],
            **{name: np.concatenate([file.columns[name] for file in files]) for name in wanted.columns()},
        }
    )
    table.attrs[METRICS] = wanted.columns()
    return table


def _state(path: Path) -> tuple[int, int, int]:
    found = path.stat()
    return found.st_ino, found.st_size, found.st_mtime_ns


def _norms(store: PairStore, smoothing: Smoothing) -> tuple[Floats, list[str]]:
    """Return the norm of every unperturbed map, NaN if it cannot be read, and what is wrong with it."""
    norms: list[Floats] = []
    status: list[str] = []
    for start, stop in store.blocks():
        maps, _, problems = store.read_block(start, stop)
        maps = maps.reshape(len(maps), -1).astype(np.float64)
        finite = np.isfinite(maps).all(axis=1)
        if smoothing.nonnegative and (maps < 0).any():
            at = int(np.flatnonzero((maps < 0).any(axis=1))[0])
            raise FormatError(
                f"{store.path} has nonnegative=1, but sample {store.sample[start + at]} has a pixel of "
                f"{maps[at].min():g}: correct it with lensmetrics set {store.path} nonnegative=0"
            )
        with np.errstate(over="ignore", invalid="ignore"):
            norm = np.where(finite, np.sqrt(np.einsum("ij,ij->i", maps, maps)), np.nan)
        too_long = norm > smoothing.bound * (1 + TOLERANCE)
        if too_long.any():
            at = int(np.flatnonzero(too_long)[0])
            raise FormatError(
                f"{store.path} has bound={smoothing.bound:g}, but the map of sample "
                f"{store.sample[start + at]} has the norm {norm[at]:.9g}: a mean cannot be longer than the "
                "longest of the averaged maps, so the certificates would be false; bound is wrong, or the "
                "draws were not scaled to it"
            )
        norms.append(norm)
        status += [
            problem or ("ok" if known else "nan_map")
            for problem, known in zip(problems, finite.tolist(), strict=True)
        ]
    return np.concatenate([np.empty(0), *norms]), status


def _certified(
    store: PairStore, smoothing: Smoothing, norm: Floats, status: list[str], wanted: Wanted
) -> Certified:
    """Return the certificates of samples whose smoothed maps are estimated to have these norms."""
    radius, n_draws, dim, bound, nonnegative = smoothing
    least = np.maximum(norm - norm_error(n_draws, bound=bound, alpha=wanted.alpha), 0)
    found: dict[str, Floats] = {}
    for eps in wanted.eps:
        found[cosine_column(eps)] = certified_cosine(
            least, eps=eps, radius=radius, dim=dim, bound=bound, nonnegative=nonnegative
        )
    for cosine in wanted.cosines:
        found[_eps_column(cosine)] = certified_eps(
            least, cosine=cosine, radius=radius, dim=dim, bound=bound, nonnegative=nonnegative
        )
    for cosine in wanted.cosines:
        for eps in wanted.eps:
            found[_radius_column(cosine, eps)] = smallest_radius(
                least, cosine=cosine, eps=eps, dim=dim, bound=bound, nonnegative=nonnegative
            )
    lacking = np.isnan(np.stack(list(found.values()))).any(axis=0)
    for i in np.flatnonzero(lacking).tolist():
        if status[i] == "ok":
            status[i] = "uncertified"
    return Certified(store, smoothing, status, {NORM: norm, **found})
