"""What a study of manipulated explanations claims, each claim tested by an interval in each condition.

A condition is a file: an explanation of a network that was attacked, or one that looks at images which were
attacked through another explanation. PCC is the correlation of two maps; its gain is that with the target
after the attack minus that before.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd

from lensmetrics.tables.bootstrap import mean_intervals
from lensmetrics.tables.labels import condition_text

CONFIRMED, CONTRADICTED, NOT_DECIDED = "confirmed", "contradicted", "not decided"
NAMES = {"smooth_grad": "SmoothGrad", "lrp": "LRP"}
# What tells the files of one network apart, apart from settings of the attack.
VIEW = ("explanation", "base", "beta", "sigma", "attacked_explanation")
SETTINGS = ("steps", "learning_rate", "map_weight", "softening")


class Mean(NamedTuple):
    """A mean over samples and its 95 % interval."""

    value: float
    low: float
    high: float

    def above(self, limit: float) -> str:
        """Return whether it is confirmed that the mean is above a limit."""
        if math.isnan(self.low):
            return NOT_DECIDED
        return CONFIRMED if self.low > limit else CONTRADICTED if self.high < limit else NOT_DECIDED

    def below(self, limit: float) -> str:
        """Return whether it is confirmed that the mean is below a limit."""
        return Mean(-self.value, -self.high, -self.low).above(-limit)


class Condition(NamedTuple):
    """The rows of a file and what they are of."""

    network: str
    explanation: str  # what was attacked, or what it smooths
    view: str  # the smoothing, empty for the explanation of the network itself
    looked_at: (
        bool  # whether the images were attacked through the unsmoothed explanation, and are seen smoothed
    )
    settings: str  # of the attack, where another file of the same view comes before
    rows: pd.DataFrame  # by sample; empty if the file was not made

    @property
    def name(self) -> str:
        """What tells the condition from others of its network."""
        if self.looked_at:
            return f"{self.explanation} seen through {self.view}"
        name = f"{self.view} of {self.explanation}" if self.view else self.explanation
        return f"{name} ({self.settings})" if self.settings else name

    @property
    def n(self) -> int:
        """The number of samples."""
        return len(self.rows)

    @property
    def n_unchanged(self) -> int:
        """The number of samples of which the attack found no better image."""
        return int((self.rows["image_mse"] == 0).sum())

    @property
    def image_rms(self) -> float:
        """The root of the mean squared change of the images."""
        return math.sqrt(self.rows["image_mse"].mean())

    @property
    def gain(self) -> "pd.Series[float]":
        """The gain of PCC."""
        gain: pd.Series[float] = self.rows["pearson"] - self.rows["pearson before"]
        return gain

    @property
    def own_gain(self) -> "pd.Series[float]":
        """The gain of PCC with the map that the smoothed explanation itself has of the target sample."""
        gain: pd.Series[float] = self.rows["pearson own"] - self.rows["pearson own before"]
        return gain


def mean_of(values: "pd.Series[Any]") -> Mean:
    """Return the mean of the defined values and the interval of the percentile bootstrap over samples."""
    found: npt.NDArray[np.float64] = np.asarray(values, dtype=np.float64)
    defined = found[~np.isnan(found)]
    if not len(defined):
        return Mean(math.nan, math.nan, math.nan)
    ((low, high),) = mean_intervals(defined[:, np.newaxis], 0)
    return Mean(float(defined.mean()), float(low), float(high))


def read_conditions(table: pd.DataFrame) -> list[Condition]:
    """Return the conditions of a table in its order."""
    found: list[Condition] = []
    keys = ["model", "training", *VIEW, *SETTINGS]
    for _, rows in table.groupby(keys, sort=False, dropna=False):
        first = rows.iloc[0]
        made = rows.dropna(subset="sample").set_index("sample")
        own = Condition(_network(first), *_view(first), "", made)
        is_again = any(other[:4] == own[:4] for other in found)
        found.append(own._replace(settings=_settings(first)) if is_again else own)
    return found


def _network(row: Any) -> str:
    return f"{row['model']}, {row['training']}"


def _view(row: Any) -> tuple[str, str, bool]:
    """Return the explanation behind a view, the view, and whether it only looks at the images."""
    attacked = row["attacked_explanation"]
    name, view = row["explanation"], ""
    if name == "beta_smooth":
        name, view = row["base"], f"beta {condition_text('beta', row['beta'])}"
    elif name == "smooth_grad":
        name, view = "gradient", f"SmoothGrad, sigma {condition_text('sigma', row['sigma'])}"
    if pd.isna(attacked):
        return NAMES.get(name, name), view, False
    through = str(attacked).split("(")[0]
    return NAMES.get(through, through), view or name, True


def _settings(row: Any) -> str:
    text = f"{row['steps']:.0f} steps at rate {row['learning_rate']:.3g}, weight {row['map_weight']:.3g}"
    return text if pd.isna(row["softening"]) else f"{text}, softening {row['softening']}"


def own_maps(conditions: Sequence[Condition]) -> list[Condition]:
    """Return the explanations of the networks themselves, at the settings that come first."""
    return [one for one in conditions if not one.view and not one.settings]


def smoothed(conditions: Sequence[Condition], *, looked_at: bool) -> list[tuple[Condition, Condition]]:
    """Return each smoothed view with the explanation that it smooths, of which the files are made."""
    of = {(one.network, one.explanation): one for one in own_maps(conditions)}
    pairs = [
        (one, of[one.network, one.explanation])
        for one in conditions
        if one.view and one.looked_at == looked_at and (one.network, one.explanation) in of
    ]
    return [(one, plain) for one, plain in pairs if one.n and plain.n]


class Test(NamedTuple):
    """A claim in one condition: a mean with its interval, and the verdict."""

    condition: Condition
    mean: Mean
    verdict: str
    beside: Condition | None = None  # the condition that it is compared with, whose images differ


class Claim(NamedTuple):
    """A claim and its tests."""

    text: str
    rule: str
    tests: list[Test]

    def count(self, verdict: str) -> int:
        """Return the number of conditions with this verdict."""
        return sum(test.verdict == verdict for test in self.tests)


def claims(study: Mapping[str, Any], conditions: Sequence[Condition]) -> Iterator[Claim]:
    """Yield the claims, each tested wherever its files are made."""
    own = [one for one in own_maps(conditions) if one.n]
    yield Claim(
        "An attack makes a map look more like a target.",
        "gain of PCC above 0",
        [_above(one, one.gain) for one in own],
    )
    yield Claim(
        "The manipulated map is more like the target than like the map before.",
        "PCC with the target minus PCC with the map before above 0",
        [_above(one, one.rows["pearson"] - one.rows["pearson kept"]) for one in own],
    )
    yield Claim(
        "The image hardly changes.",
        f"SSIM of the images above {study['image_ssim']:g}",
        [_above(one, one.rows["image_ssim"], study["image_ssim"]) for one in own],
    )
    yield Claim(
        "The output hardly changes.",
        f"largest change of a probability below {study['softmax']:g}",
        [_below(one, one.rows["softmax"], study["softmax"]) for one in own],
    )
    again = smoothed(conditions, looked_at=False)
    later = smoothed(conditions, looked_at=True)
    for less, more, pairs in (
        (
            "A smoothed explanation that is attacked itself resists more.",
            "Its map stays more like the map before.",
            again,
        ),
        (
            "Seen through a smoothed explanation, an attack on the unsmoothed one achieves less.",
            "What is seen stays more like what was seen before.",
            later,
        ),
    ):
        yield Claim(
            less,
            "gain of PCC minus that of the unsmoothed explanation below 0",
            [_beside(_below(one, one.gain - plain.gain), plain) for one, plain in pairs],
        )
        kept = "pearson kept"
        yield Claim(
            more,
            "PCC with the map before minus that of the unsmoothed explanation above 0",
            [_beside(_above(one, one.rows[kept] - plain.rows[kept]), plain) for one, plain in pairs],
        )
    yield Claim(
        "So it does beside the smoothed map of the target sample.",
        "gain of PCC with that map minus that of the unsmoothed explanation below 0",
        [_below(one, one.own_gain - plain.gain) for one, plain in later],
    )
    yield Claim(
        "The smaller beta, the more an attacked smoothed explanation resists.",
        "gain of PCC at the smallest beta minus that at the largest below 0",
        [_below(least, least.gain - most.gain) for least, most in _extremes(again)],
    )


def _above(condition: Condition, values: "pd.Series[float]", limit: float = 0) -> Test:
    mean = mean_of(values)
    return Test(condition, mean, mean.above(limit))


def _below(condition: Condition, values: "pd.Series[float]", limit: float = 0) -> Test:
    mean = mean_of(values)
    return Test(condition, mean, mean.below(limit))


def _beside(test: Test, plain: Condition) -> Test:
    return test if test.condition.looked_at else test._replace(beside=plain)


def _extremes(pairs: Sequence[tuple[Condition, Condition]]) -> Iterator[tuple[Condition, Condition]]:
    """Yield the views of the smallest and the largest beta of each explanation that has several."""
    places: dict[tuple[str, str], list[Condition]] = {}
    for one, _ in pairs:
        if one.view.startswith("beta "):
            places.setdefault((one.network, one.explanation), []).append(one)
    for found in places.values():
        if len(found) > 1:
            order = sorted(found, key=lambda one: beta_of(one.view))
            yield order[0], order[-1]


def beta_of(view: str) -> float:
    """Return the beta that a view names."""
    return float(view.removeprefix("beta "))
