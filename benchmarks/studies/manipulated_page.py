"""The page of a study of manipulated explanations: sentences and tables from the table of its samples."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from lensmetrics.tables.labels import number_text

from .manipulated_claims import (
    CONFIRMED,
    CONTRADICTED,
    NOT_DECIDED,
    Claim,
    Condition,
    Mean,
    Test,
    claims,
    mean_of,
    own_maps,
    read_conditions,
    smoothed,
)
from .manipulated_figure import figure_of

Study = Mapping[str, Any]
# Fewer samples than this have unreliable intervals, as in summaries.
_RELIABLE = 10


def write_page(study: Study, table: pd.DataFrame, base: Path) -> str:
    """Write the page and its figure beside `base`, and return the text of the page."""
    conditions = read_conditions(table)
    text = "\n".join(_lines(study, table, conditions)) + f"\n\n![Similarity to the target]({base.name}.png)\n"
    figure_of(conditions).savefig(base.with_suffix(".png"), dpi=110)
    base.with_suffix(".md").write_text(text, encoding="utf-8")
    return text


def _lines(study: Study, table: pd.DataFrame, conditions: Sequence[Condition]) -> Iterator[str]:
    made = table["made"].dropna()
    yield f"# {study['title']}"
    yield ""
    yield f"{made.iloc[-1] if len(made) else 'Nothing was run'}."
    yield ""
    yield from study["notes"].strip().splitlines()
    yield ""
    yield from _not_made(conditions)
    yield from _few(conditions)
    tested = [claim for claim in claims(study, conditions) if claim.tests]
    yield from _claims(tested)
    yield from _maps(conditions)
    yield from _changes(study, conditions)
    yield from _again(conditions)
    yield from _later(conditions)
    yield from _other_settings(conditions)


def _not_made(conditions: Sequence[Condition]) -> Iterator[str]:
    missing: dict[str, list[str]] = {}
    for one in conditions:
        if not one.n:
            missing.setdefault(one.network, []).append(one.name)
    if missing:
        names = " ".join(f"{network}: {'; '.join(found)}." for network, found in missing.items())
        n = sum(map(len, missing.values()))
        yield f"**Not finished:** {n} of {len(conditions)} files were not made. {names}"
        yield ""


def _few(conditions: Sequence[Condition]) -> Iterator[str]:
    few = {one.network: one.n for one in conditions if 0 < one.n < _RELIABLE}
    if few:
        names = ", ".join(f"{network}, with {n}" for network, n in few.items())
        yield f"Intervals of fewer than {_RELIABLE} samples are unreliable: those of {names}."
        yield ""


def _claims(tested: Sequence[Claim]) -> Iterator[str]:
    yield "## Claims"
    yield ""
    yield (
        "Each claim is tested in each condition, a network and an explanation, by the mean over samples "
        "and its 95 % bootstrap interval: confirmed if the interval is on the claimed side, contradicted "
        "if it is on the other, else not decided. Intervals are not adjusted for their number. Differences "
        "are paired by sample."
    )
    yield ""
    verdicts = (CONFIRMED, CONTRADICTED, NOT_DECIDED)
    yield f"| claim | rule | conditions | {' | '.join(verdicts)} | least mean | largest mean |"
    yield "|---|---|--:|--:|--:|--:|--:|--:|"
    for claim in tested:
        counts = map(claim.count, verdicts)
        means = [test.mean.value for test in claim.tests]
        cells = [str(len(claim.tests)), *map(str, counts), number_text(min(means)), number_text(max(means))]
        yield f"| {claim.text} | {claim.rule} | " + " | ".join(cells) + " |"
    yield ""
    for claim in tested:
        for verdict in sorted(verdicts, key=claim.count)[:-1]:
            if found := [test for test in claim.tests if test.verdict == verdict]:
                places = "; ".join(map(_place, found))
                yield f"* {claim.text} {verdict.capitalize()}: {places}."
    yield ""


def _place(test: Test) -> str:
    text = f"{test.condition.network}: {test.condition.name} {_interval(test.mean)}"
    if test.beside is None:
        return text
    change, other = (number_text(one.image_rms) for one in (test.condition, test.beside))
    return f"{text}, where images changed by an RMS of {change}, unsmoothed by {other}"


def _maps(conditions: Sequence[Condition]) -> Iterator[str]:
    yield "## Maps and their targets"
    yield ""
    yield (
        "`before` is the unperturbed map beside the target, which is what two maps have in common without an "
        "attack; `after` the perturbed map beside it. `map before` is the perturbed map beside the "
        "unperturbed one. SSIM and MSE are of maps that sum to one. `unchanged` counts samples of which no "
        "image had a map nearer to the target, not_attacked those of which none kept the label; both count "
        "with two equal maps."
    )
    yield ""
    yield (
        "| network | explanation | n | unchanged | not_attacked | PCC before | PCC after | gain "
        "| PCC with map before | SSIM before | SSIM after | MSE before | MSE after |"
    )
    yield "|---|---|" + "--:|" * 11
    for one in own_maps(conditions):
        yield _row(one.network, one.explanation, cells=_of_maps(one))
    yield ""


def _of_maps(one: Condition) -> list[str]:
    rows = one.rows
    if not one.n:
        return ["not run", *[""] * 10]
    numbers = [rows["pearson before"], rows["pearson"], one.gain, rows["pearson kept"]]
    means = ["ssim_normalized before", "ssim_normalized", "mse_normalized before", "mse_normalized"]
    return [
        str(one.n),
        str(one.n_unchanged),
        str(int(rows["not_attacked"].sum())),
        *(_interval(mean_of(values)) for values in numbers),
        *(number_text(float(rows[name].mean())) for name in means),
    ]


def _changes(study: Study, conditions: Sequence[Condition]) -> Iterator[str]:
    yield "## Images and outputs"
    yield ""
    yield (
        f"An image hardly changes if its mean SSIM is above {study['image_ssim']:g}, an output if the "
        f"largest change of a probability is on average below {study['softmax']:g}; both limits were set "
        "for this study. `RMS` is the root of the mean squared change, of values in [0, 1]; `logit` the "
        "mean of the largest change of a logit."
    )
    yield ""
    yield (
        "| network | explanation | SSIM | PCC | RMS | image | logit | probability | largest | labels kept "
        "| output |"
    )
    yield "|---|---|--:|--:|--:|---|--:|--:|--:|--:|---|"
    for one in (condition for condition in own_maps(conditions) if condition.n):
        rows = one.rows
        image, output = mean_of(rows["image_ssim"]), mean_of(rows["softmax"])
        cells = [
            _interval(image),
            number_text(float(rows["image_pearson"].mean())),
            number_text(one.image_rms),
            image.above(study["image_ssim"]),
            number_text(float(rows["logits"].mean())),
            _interval(output),
            number_text(float(rows["softmax"].max())),
            f"{one.n - int(rows['label_changed'].sum())} of {one.n}",
            output.below(study["softmax"]),
        ]
        yield _row(one.network, one.explanation, cells=cells)
    yield ""


_AGAINST = (
    "| network | explanation | smoothing | n | unchanged | smoothed map | PCC before | PCC after | gain "
    "| gain minus unsmoothed | | PCC with map before | minus unsmoothed | |"
)


def _again(conditions: Sequence[Condition]) -> Iterator[str]:
    pairs = smoothed(conditions, looked_at=False)
    if pairs:
        yield "## Smoothed explanations, attacked themselves"
        yield ""
        yield (
            "The attack aims at the smoothed map of the target sample. `smoothed map` is the PCC of the "
            "smoothed map with the unsmoothed one, both without an attack: the nearer to 1, the less the "
            "smoothing does. The last two columns say how much the images changed: where they changed more, "
            "the attack had more room."
        )
        yield ""
        yield _AGAINST + " image SSIM | image RMS |"
        yield "|---|---|---|" + "--:|" * 7 + "---|--:|--:|---|--:|--:|"
        for one, plain in pairs:
            change = [one.rows["image_ssim"].mean(), one.image_rms]
            cells = [*_beside(one, plain), *(number_text(float(number)) for number in change)]
            yield _row(one.network, one.explanation, one.view, cells=cells)
        yield ""


def _later(conditions: Sequence[Condition]) -> Iterator[str]:
    pairs = smoothed(conditions, looked_at=True)
    if pairs:
        yield "## Attacked images, seen through smoothed explanations"
        yield ""
        yield (
            "The images are those of the attack on the unsmoothed explanation, and so is the target, to "
            "which a smoothed map cannot come as close. So the last columns are beside the smoothed map of "
            "the target sample."
        )
        yield ""
        yield _AGAINST + " PCC with smoothed target, before | after | gain minus unsmoothed | |"
        yield "|---|---|---|" + "--:|" * 7 + "---|--:|--:|---|--:|--:|--:|---|"
        for one, plain in pairs:
            less = mean_of(one.own_gain - plain.gain)
            means = (float(one.rows[f"pearson own{when}"].mean()) for when in (" before", ""))
            cells = [*_beside(one, plain), *map(number_text, means), _interval(less), less.below(0)]
            yield _row(one.network, one.explanation, one.view, cells=cells)
        yield ""


def _beside(one: Condition, plain: Condition) -> list[str]:
    """Return the cells of a view beside the unsmoothed explanation, of the same samples."""
    less = mean_of(one.gain - plain.gain)
    more = mean_of(one.rows["pearson kept"] - plain.rows["pearson kept"])
    return [
        str(one.n),
        str(one.n_unchanged),
        number_text(float(one.rows["pearson unsmoothed"].mean())),
        number_text(float(one.rows["pearson before"].mean())),
        number_text(float(one.rows["pearson"].mean())),
        number_text(float(one.gain.mean())),
        _interval(less),
        less.below(0),
        number_text(float(one.rows["pearson kept"].mean())),
        _interval(more),
        more.above(0),
    ]


def _other_settings(conditions: Sequence[Condition]) -> Iterator[str]:
    others = [one for one in conditions if one.settings and one.n]
    if others:
        yield "## Other settings of the attack"
        yield ""
        yield (
            "The first row of each explanation is that of the tables above, with which smoothed explanations "
            "are compared. Where another row gains more, a smoothed explanation may resist better than that "
            "comparison says."
        )
        yield ""
        yield (
            "| network | explanation | attack | more gain than above | n | unchanged | not_attacked "
            "| PCC before | PCC after | gain | PCC with map before | SSIM before | SSIM after | MSE before "
            "| MSE after | image SSIM | image RMS | probability |"
        )
        yield "|---|---|---|" + "--:|" * 15
        groups = dict.fromkeys(other[:4] for other in others)
        for one in (one for group in groups for one in conditions if one[:4] == group):
            if one.n:
                change = [
                    one.rows["image_ssim"].mean(),
                    one.image_rms,
                    one.rows["softmax"].mean(),
                ]
                first = next(other for other in conditions if other[:4] == one[:4])
                more = _interval(mean_of(one.gain - first.gain)) if one.settings else ""
                cells = [more, *_of_maps(one), *(number_text(float(number)) for number in change)]
                yield _row(one.network, one.explanation, one.settings or "as above", cells=cells)
        yield ""


def _interval(mean: Mean) -> str:
    ends = [number_text(end, beside=[mean.value]) for end in (mean.low, mean.high)]
    return f"{number_text(mean.value)} [{ends[0]}, {ends[1]}]"


def _row(*words: str, cells: Sequence[str]) -> str:
    return "| " + " | ".join([*words, *cells]) + " |"
