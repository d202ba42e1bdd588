"""Intervals of means: the bootstrap over source samples, and the formula for many of them."""

import math

import numpy as np
import numpy.typing as npt
import pandas as pd
import pytest
import scipy.stats

import lensmetrics as lm
from tests.scores import METRICS, make_scores, named_scores


def bootstrap(
    values: npt.NDArray[np.float64], sample: npt.NDArray[np.int64], n: int = 4000
) -> tuple[float, float]:
    """The percentile interval of the mean, one source sample at a time."""
    rng = np.random.default_rng(99)
    sources = [values[sample == number] for number in np.unique(sample)]
    means = []
    for _ in range(n):
        drawn = np.concatenate([sources[i] for i in rng.integers(0, len(sources), len(sources))])
        if not np.isnan(drawn).all():
            means.append(np.nanmean(drawn))
    low, high = np.percentile(means, [2.5, 97.5])
    return float(low), float(high)


@pytest.mark.parametrize("case", ["plain", "shared", "uneven", "undefined"])
def test_interval_is_the_bootstrap_over_source_samples(case: str) -> None:
    rng = np.random.default_rng(5)
    sample = np.arange(40)
    if case in ("shared", "undefined"):
        sample = np.repeat(np.arange(25), 4)
    if case == "uneven":
        sample = np.repeat(np.arange(25), rng.integers(1, 9, 25))
    values = rng.gamma(1.0, size=40)[sample] + 0.1 * rng.normal(size=len(sample))
    if case == "undefined":
        values[rng.random(len(values)) < 0.3] = np.nan
    order = rng.permutation(len(values))
    found = lm.summarize(make_scores(values[order], sample[order].tolist())).iloc[0]
    low, high = bootstrap(values, sample)
    width = high - low
    assert abs(found["ci_low"] - low) < 0.08 * width
    assert abs(found["ci_high"] - high) < 0.08 * width
    if case == "shared":  # rows as if they were independent: half the width
        rows = lm.summarize(make_scores(values)).iloc[0]
        assert rows["ci_high"] - rows["ci_low"] < 0.65 * width


def test_interval_is_the_same_for_two_copies_of_a_condition() -> None:
    rng = np.random.default_rng(0)
    values, sample = rng.normal(size=30), rng.permutation(30)
    once = lm.summarize(make_scores(values, sample.tolist())).iloc[0]
    twice = lm.summarize(make_scores(np.tile(values, 2), np.tile(sample, 2).tolist())).iloc[0]
    assert twice["n"] == 60
    np.testing.assert_allclose(
        twice[["mean", "ci_low", "ci_high"]].to_numpy(float),
        once[["mean", "ci_low", "ci_high"]].to_numpy(float),
    )


def test_samples_of_different_datasets_are_different() -> None:
    rng = np.random.default_rng(0)
    values = np.repeat(rng.normal(size=30), 2)
    sample = np.repeat(np.arange(30), 2).tolist()
    shared = lm.summarize(make_scores(values, sample, dataset=["a"] * 60), by=[]).iloc[0]
    apart = lm.summarize(make_scores(values, sample, dataset=["a", "b"] * 30), by=[]).iloc[0]
    unknown = lm.summarize(make_scores(values, sample, dataset=["a", None] * 30), by=[]).iloc[0]
    widths = [found["ci_high"] - found["ci_low"] for found in (shared, apart, unknown)]
    assert widths[1] < 0.85 * widths[0]
    assert widths[2] == widths[1]


def test_rows_without_sample_number_are_independent() -> None:
    values = np.random.default_rng(0).normal(size=30)
    table = make_scores(values)
    pd.testing.assert_frame_equal(lm.summarize(table.drop(columns="sample")), lm.summarize(table))


def test_interval_is_seeded_and_independent_of_the_order_of_rows(scores: pd.DataFrame) -> None:
    values = np.random.default_rng(0).normal(size=50)
    table = make_scores(values)
    first = lm.summarize(table)
    pd.testing.assert_frame_equal(lm.summarize(table), first, check_exact=True)
    pd.testing.assert_frame_equal(lm.summarize(table, seed=0), first, check_exact=True)
    ends = [lm.summarize(table, seed=seed)["ci_low"][0] for seed in range(12)]
    assert len(set(ends)) > 1
    # That seeds matter little is what many resamples are for.
    assert np.std(ends) < 0.035 * (first["ci_high"][0] - first["ci_low"][0])
    pd.testing.assert_frame_equal(lm.summarize(table.sample(frac=1, random_state=3)), first)
    shifted = lm.summarize(make_scores(values + 5)).iloc[0]
    np.testing.assert_allclose(shifted["ci_low"] - 5, first["ci_low"][0], rtol=1e-12)
    # One metric's interval does not depend on which others stand beside it.
    alone = lm.summarize(scores.drop(columns=[str(metric) for metric in METRICS if metric.name != "kendall"]))
    beside = lm.summarize(scores)
    beside = beside[beside["metric"] == "kendall"].reset_index(drop=True)
    np.testing.assert_allclose(alone["ci_low"], beside["ci_low"], rtol=1e-12)


def test_interval_has_its_nominal_coverage() -> None:
    rng = np.random.default_rng(1)
    covered = 0
    for seed in range(100):
        found = lm.summarize(make_scores(rng.normal(size=40)), seed=seed).iloc[0]
        covered += found["ci_low"] <= 0 <= found["ci_high"]
    assert 86 <= covered <= 99


def test_source_samples_are_identified_by_name() -> None:
    rng = np.random.default_rng(0)
    values = np.repeat(rng.normal(size=30), 2)
    names = [f"{i // 2}.png" for i in range(60)]
    # Their numbers differ between two files: the names say which samples are the same.
    by_name = lm.summarize(named_scores(values, names, dataset=["a"] * 60)).iloc[0]
    by_number = lm.summarize(make_scores(values, np.repeat(np.arange(30), 2).tolist())).iloc[0]
    apart = lm.summarize(make_scores(values)).iloc[0]
    assert (by_name["ci_low"], by_name["ci_high"]) != (apart["ci_low"], apart["ci_high"])
    width = by_number["ci_high"] - by_number["ci_low"]
    assert abs(by_name["ci_high"] - by_name["ci_low"] - width) < 0.08 * width
    other = lm.summarize(named_scores(values, names, dataset=["a", "b"] * 30), by=[]).iloc[0]
    assert other["ci_high"] - other["ci_low"] < 0.85 * width


def test_named_and_unnamed_samples_of_one_dataset_are_not_pooled() -> None:
    table = named_scores([1, 2, 3, 4], ["x", "y", None, None], dataset=["a"] * 4, file=["f", "f", "g", "g"])
    with pytest.raises(ValueError, match="one group pools samples of a with names and samples without"):
        lm.summarize(table, by=[])
    assert lm.summarize(table, by="file")["n"].tolist() == [2, 2]
    apart = table.assign(dataset=pd.Categorical(["a", "a", "b", "b"]))
    assert lm.summarize(apart, by=[])["n"].tolist() == [4]
    unfinished = named_scores([1, 2, math.nan], ["x", "y", None], status=["ok", "ok", "incomplete"])
    assert lm.summarize(unfinished)["n"].tolist() == [2]


@pytest.mark.parametrize("pooled", [1, 3])
@pytest.mark.parametrize("undefined", [0, 0.3])
def test_interval_of_many_samples_agrees_with_the_bootstrap(
    monkeypatch: pytest.MonkeyPatch, pooled: int, undefined: float
) -> None:
    rng = np.random.default_rng(0)
    n = 30_000
    shared = np.repeat(rng.beta(4, 2, n), pooled) + 0.05 * rng.normal(size=n * pooled)
    shared[rng.random(n * pooled) < undefined] = np.nan
    table = make_scores(shared, np.repeat(np.arange(n), pooled).tolist()).sample(frac=1, random_state=1)
    found = lm.summarize(table).iloc[0]
    totals = table.groupby("sample")["kendall"].agg(["sum", "count"])
    excess = totals["sum"] - found["mean"] * totals["count"]
    half = 1.96 * math.sqrt((excess**2).sum()) / totals["count"].sum()
    np.testing.assert_allclose(found["ci_high"] - found["mean"], half, rtol=1e-9)
    np.testing.assert_allclose(found["mean"] - found["ci_low"], half, rtol=1e-9)
    monkeypatch.setattr("lensmetrics.tables.moments.MANY_SAMPLES", n + 1)
    drawn = lm.summarize(table).iloc[0]
    # Of 2000 resamples an end has a standard error of some 3 % of the width.
    assert abs(drawn["ci_low"] - found["ci_low"]) < 0.1 * half
    assert abs(drawn["ci_high"] - found["ci_high"]) < 0.1 * half


def test_skewed_totals_keep_the_bootstrap(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lensmetrics.tables.bootstrap.N_RESAMPLES", 400)
    rng = np.random.default_rng(0)
    values = rng.exponential(size=40_000) ** 4
    found = lm.summarize(make_scores(values)).iloc[0]
    above, below = found["ci_high"] - found["mean"], found["mean"] - found["ci_low"]
    assert above != pytest.approx(below, rel=1e-6)
    half = 1.96 * values.std() / math.sqrt(len(values))
    assert above == pytest.approx(half, rel=0.2)
    assert below == pytest.approx(half, rel=0.2)


def test_interval_is_nearly_independent_of_the_blocks_of_source_samples(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    values = np.random.default_rng(0).gamma(1.0, size=3000)
    whole = lm.summarize(make_scores(values)).iloc[0]
    monkeypatch.setattr("lensmetrics.tables.bootstrap.BLOCK_SAMPLES", 700)
    blocks = lm.summarize(make_scores(values)).iloc[0]
    width = whole["ci_high"] - whole["ci_low"]
    for end in ("ci_low", "ci_high"):
        assert blocks[end] != whole[end]
        assert abs(blocks[end] - whole[end]) < 0.05 * width


@pytest.mark.parametrize("kind", ["normal", "gamma"])
def test_interval_agrees_with_scipy(kind: str) -> None:
    rng = np.random.default_rng(3)
    values = rng.normal(size=200) if kind == "normal" else rng.gamma(0.7, size=200)
    found = lm.summarize(make_scores(values)).iloc[0]
    expected = scipy.stats.bootstrap(
        (values,), np.mean, n_resamples=20_000, method="percentile", rng=np.random.default_rng(0)
    ).confidence_interval
    # An end at 2.5 % of 2000 resamples has a standard error of 3.4 % of a normal interval's half-width, ours
    # and a third of that scipy's: three of these, in the longer tail a little more.
    half = (expected.high - expected.low) / 2
    assert abs(found["ci_low"] - expected.low) < 0.12 * half
    assert abs(found["ci_high"] - expected.high) < 0.12 * half


@pytest.mark.parametrize("undefined", [0, 0.3])
def test_interval_of_shared_samples_agrees_with_scipy(undefined: float) -> None:
    """Resampling the totals and counts of source samples in pairs is the cluster bootstrap."""
    rng = np.random.default_rng(7)
    sample = np.repeat(np.arange(150), rng.integers(1, 6, 150))
    values = rng.gamma(1.0, size=150)[sample] + 0.2 * rng.normal(size=len(sample))
    values[rng.random(len(values)) < undefined] = np.nan
    found = lm.summarize(make_scores(values, sample.tolist())).iloc[0]
    totals = np.bincount(sample, np.nan_to_num(values))
    counts = np.bincount(sample, np.isfinite(values))
    expected = scipy.stats.bootstrap(
        (totals, counts),
        lambda total, count, axis: total.sum(axis=axis) / count.sum(axis=axis),
        paired=True,
        n_resamples=20_000,
        method="percentile",
        rng=np.random.default_rng(0),
    ).confidence_interval
    half = (expected.high - expected.low) / 2
    assert abs(found["ci_low"] - expected.low) < 0.12 * half
    assert abs(found["ci_high"] - expected.high) < 0.12 * half
