"""Paired comparisons of conditions, beside loops and scipy."""

import itertools
import math
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import pytest
import scipy.stats

import lensmetrics as lm
from lensmetrics.tables.permutation import EXACT_SAMPLES, holm, sign_flip_p
from tests.scores import make_scores, named_scores

NUMBERS = [
    *("n", "mean_first", "mean_second", "difference", "ci_low", "ci_high", "p", "p_holm"),
    *("higher", "equal", "lower", "n_only_first", "n_only_second"),
]
COLUMNS = ["metric", "first", "second", *NUMBERS]


def paired_table(first: npt.ArrayLike, second: npt.ArrayLike, **columns: Any) -> pd.DataFrame:
    """Return a table with the scores of the same samples under two trainings."""
    first, second = np.asarray(first, dtype=float), np.asarray(second, dtype=float)
    training = ["natural"] * len(first) + ["pgd"] * len(second)
    sample = [*range(len(first)), *range(len(second))]
    return make_scores(np.concatenate([first, second]), sample, training=training, **columns)


def twin(scores: pd.DataFrame, on: str, first: object, second: object, metric: str) -> dict[str, float]:
    """Compare two conditions, one sample at a time; all combinations of signs are tried."""
    sides: list[dict[object, list[float]]] = [{}, {}]
    for _, row in scores.iterrows():
        for side, value in zip(sides, (first, second), strict=True):
            if row[on] == value and math.isfinite(row[metric]):
                side.setdefault((row.get("dataset"), row["sample"]), []).append(row[metric])
    means = [{key: sum(values) / len(values) for key, values in side.items()} for side in sides]
    common = [key for key in means[0] if key in means[1]]
    differences = [means[1][key] - means[0][key] for key in common]
    n = len(common)
    found: dict[str, float] = {"n": n}
    found["n_only_first"], found["n_only_second"] = (len(side) - n for side in means)
    if not n:
        return found
    found["mean_first"], found["mean_second"] = (sum(side[key] for key in common) / n for side in means)
    found["difference"] = sum(differences) / n
    found["higher"] = sum(d > 0 for d in differences) / n
    found["equal"] = sum(d == 0 for d in differences) / n
    found["lower"] = sum(d < 0 for d in differences) / n
    if n <= EXACT_SAMPLES:
        observed = abs(sum(differences))
        sums = [
            abs(sum(sign * d for sign, d in zip(signs, differences, strict=True)))
            for signs in itertools.product((-1, 1), repeat=n)
        ]
        found["p"] = sum(value >= observed - 1e-9 * sum(map(abs, differences)) for value in sums) / len(sums)
    return found


@pytest.mark.parametrize("seed", range(12))
def test_comparison_is_its_twin(seed: int) -> None:
    rng = np.random.default_rng(seed)
    n = 36
    table = make_scores(
        rng.integers(0, 4, n) / 4,  # many ties
        rng.integers(0, 9, n).tolist(),  # repeated samples
        training=rng.choice(["a", "b", "c"], n),
        dataset=rng.choice(["x", "y"], n),
    )
    table["mse"] = rng.choice([0.1, 0.2, 0.3, np.nan, np.inf], n)
    found = lm.compare(table, by=[])
    assert found.columns.tolist() == COLUMNS
    pairs = [("a", "b"), ("a", "c"), ("b", "c")]
    assert list(zip(found["first"], found["second"], strict=True)) == [pair for pair in pairs for _ in "km"]
    for row in found.to_dict("records"):
        expected = twin(table, "training", row["first"], row["second"], row["metric"])
        for name, value in expected.items():
            assert row[name] == pytest.approx(value, rel=1e-12, abs=1e-12), name


@pytest.mark.parametrize("n", [1, 2, 5, 12, 13, 60])
def test_comparison_agrees_with_scipy(n: int) -> None:
    rng = np.random.default_rng(n)
    first = rng.beta(4, 2, n)
    second = first + rng.normal(0.03, 0.1, n)
    row = lm.compare(paired_table(first, second)).iloc[0]

    def mean_difference(x: Any, y: Any, axis: int) -> Any:
        return np.mean(y - x, axis=axis)

    expected = (
        scipy.stats.permutation_test(
            (first, second),
            mean_difference,
            permutation_type="samples",
            n_resamples=10_000,
            rng=np.random.default_rng(0),
            vectorized=True,
        )
        if n > 1
        else None
    )
    p = 1.0 if expected is None else float(expected.pvalue)
    assert row["p"] == pytest.approx(p, abs=1e-12 if n <= EXACT_SAMPLES else 0.02)
    if n < 2:
        assert math.isnan(row["ci_low"])
        return
    interval = scipy.stats.bootstrap(
        (first, second),
        mean_difference,
        paired=True,
        n_resamples=10_000,
        method="percentile",
        rng=np.random.default_rng(0),
    ).confidence_interval
    width = interval.high - interval.low
    assert abs(row["ci_low"] - interval.low) < 0.07 * width + 1e-12
    assert abs(row["ci_high"] - interval.high) < 0.07 * width + 1e-12


def test_random_signs_agree_with_all_signs() -> None:
    rng = np.random.default_rng(4)
    for n in (14, 16):
        differences = rng.integers(-4, 7, (n, 3)) / 8
        signs = 1 - 2 * ((np.arange(2**n)[:, None] >> np.arange(n)) & 1)
        exact = (np.abs(signs @ differences) >= np.abs(differences.sum(axis=0)) - 1e-9).mean(axis=0)
        np.testing.assert_allclose(sign_flip_p(differences, 1, 0), exact, atol=0.012)


def test_p_of_many_tests_has_enough_random_signs() -> None:
    differences = np.random.default_rng(0).normal(1, 0.1, (30, 2))
    np.testing.assert_allclose(sign_flip_p(differences, 50, 0), 1 / 10_001)
    np.testing.assert_allclose(sign_flip_p(differences, 60, 0), 1 / 12_001)


def test_holm_is_the_step_down_rule() -> None:
    rng = np.random.default_rng(0)
    for n in (0, 1, 2, 7, 40):
        p = np.round(rng.random(n) ** 3, 2)
        p[rng.random(n) < 0.2] = np.nan
        family = sorted(p[~np.isnan(p)].tolist())
        for value, adjusted in zip(p.tolist(), holm(p).tolist(), strict=True):
            if math.isnan(value):
                assert math.isnan(adjusted)
                continue
            # The largest of the smaller ones, each times the number of those not yet rejected.
            smaller = [(len(family) - i) * q for i, q in enumerate(family) if q <= value]
            assert adjusted == pytest.approx(min(1.0, max(smaller)))
    np.testing.assert_allclose(holm(np.array([0.01, 0.04, 0.03, 0.005])), [0.03, 0.06, 0.06, 0.02])


def test_p_is_adjusted_for_groups_and_pairs_of_a_metric() -> None:
    rng = np.random.default_rng(0)
    n = 240
    table = make_scores(
        rng.random(n),
        np.tile(np.arange(40), 6).tolist(),
        training=np.repeat(["a", "b", "c"], 80),
        attack=np.tile(np.repeat(["x", "y"], 40), 3),
    )
    table["mse"] = rng.random(n) + 0.3 * (table["training"] == "b")
    found = lm.compare(table)
    assert found.columns[0] == "attack"
    assert len(found) == 2 * 3 * 2
    for _, family in found.groupby("metric"):
        np.testing.assert_array_equal(holm(family["p"].to_numpy()), family["p_holm"])
    # What else is compared changes nothing of a comparison but its adjusted p.
    alone = lm.compare(table, between=["a", "c"], metrics="mse").drop(columns="p_holm")
    same = found[(found["first"] == "a") & (found["second"] == "c") & (found["metric"] == "mse")]
    np.testing.assert_allclose(alone[NUMBERS[:7]], same[NUMBERS[:7]], rtol=1e-9)


@pytest.mark.parametrize("n", [9, 50])
def test_laws_of_a_comparison(n: int) -> None:
    rng = np.random.default_rng(n)
    first, second = rng.integers(0, 8, n) / 8, rng.integers(1, 9, n) / 8
    table = paired_table(first, second, attack=["x"] * 2 * n)
    forth = lm.compare(table, between=["natural", "pgd"])
    back = lm.compare(table, between=["pgd", "natural"])
    for here, there, sign in (
        *(("mean_first", "mean_second", 1), ("difference", "difference", -1), ("ci_low", "ci_high", -1)),
        *(("p", "p", 1), ("p_holm", "p_holm", 1), ("higher", "lower", 1), ("equal", "equal", 1)),
        ("n_only_first", "n_only_second", 1),
    ):
        np.testing.assert_allclose(forth[here], sign * back[there], atol=1e-12, err_msg=here)
    mixed = lm.compare(table.sample(frac=1, random_state=1))
    pd.testing.assert_frame_equal(mixed, forth)
    shifted = lm.compare(table.assign(kendall=table["kendall"] + 7.3))
    changed = ["mean_first", "mean_second"]
    pd.testing.assert_frame_equal(shifted.drop(columns=changed), forth.drop(columns=changed), atol=1e-12)
    twice = lm.compare(pd.concat([table, table], ignore_index=True))
    pd.testing.assert_frame_equal(twice, forth)


@pytest.mark.parametrize("n", [1, 2, 8, 30])
def test_equal_scores_are_no_difference(n: int) -> None:
    values = np.random.default_rng(n).random(n)
    row = lm.compare(paired_table(values, values)).iloc[0]
    assert (row["p"], row["p_holm"], row["difference"], row["equal"]) == (1, 1, 0, 1)
    assert math.isnan(row["ci_low"]) if n == 1 else (row["ci_low"], row["ci_high"]) == (0, 0)
    # Averages of several rows differ by rounding.
    table = paired_table(values, values)
    several = pd.concat([table.assign(kendall=table["kendall"] * factor) for factor in (0.1, 0.2, 0.3)])
    backwards = several[several["training"] == "pgd"].iloc[::-1]
    row = lm.compare(pd.concat([several[several["training"] == "natural"], backwards])).iloc[0]
    assert (row["p"], row["equal"]) == (1, 1)


def test_differences_that_cancel_are_no_difference() -> None:
    first, second = [0.1, 0.2, 0.3, 0.7], [0.2, 0.7, 0.1, 0.3]
    assert np.subtract(second, first).sum() != 0
    assert lm.compare(paired_table(first, second))["difference"].tolist() == [0]


def test_p_is_uniform_without_a_difference() -> None:
    rng = np.random.default_rng(0)
    n, n_tables = 20, 300
    table = pd.DataFrame(
        {"training": np.repeat(["a", "b"], n), "sample": np.tile(np.arange(n), 2), "status": "ok"}
    )
    shared = rng.normal(size=(n, n_tables))
    scores = np.concatenate([shared, shared]) + rng.gamma(1, size=(2 * n, n_tables))
    names = [f"pearson(i={i})" for i in range(n_tables)]
    found = lm.compare(table.join(pd.DataFrame(scores, columns=names)))
    assert scipy.stats.kstest(found["p"], "uniform").pvalue > 0.01
    assert 0.02 < (found["p"] <= 0.05).mean() < 0.08
    covered = (found["ci_low"] <= 0) & (found["ci_high"] >= 0)
    assert 0.89 < covered.mean() < 0.98


def test_samples_without_a_partner_are_counted() -> None:
    table = make_scores(
        [1, 2, 3, 4, np.nan, 6, 7, np.inf],
        [0, 1, 2, 3, 0, 1, 5, 6],
        training=["natural"] * 4 + ["pgd"] * 4,
        name="mse",
    )
    row = lm.compare(table).iloc[0]
    assert (row["n"], row["n_only_first"], row["n_only_second"]) == (1, 3, 1)
    assert (row["mean_first"], row["mean_second"], row["difference"], row["p"]) == (2, 6, 4, 1)


def test_huge_and_tiny_scores_are_compared() -> None:
    first, second = [1e308, -1e308, 1e308, 1e308], [-1e308, 1e308, -1e308, -1e308]
    for factor in (1, 1e-300, 0):
        table = paired_table(np.multiply(first, factor), np.multiply(second, factor), name="mse")
        row = lm.compare(table).iloc[0]
        assert row["p"] == (0.625 if factor else 1)
        assert np.isfinite(row[["ci_low", "ci_high"]].to_numpy(float)).all()


def test_metrics_without_common_scores_are_undefined() -> None:
    table = paired_table([0.1, 0.2, 0.4], [0.3, 0.2, 0.9])
    table["mse"] = [1, 2, 3, np.nan, np.nan, np.nan]
    kendall, mse = (row for _, row in lm.compare(table).iterrows())
    assert mse[["n", "n_only_first", "n_only_second"]].tolist() == [0, 3, 0]
    assert mse[NUMBERS[1:-2]].isna().all()
    assert kendall["n"] == 3


def test_groups_with_one_side_are_kept() -> None:
    table = pd.concat(
        [
            paired_table([0.1, 0.2], [0.3, 0.3], attack=["x"] * 4),
            paired_table([0.5, 0.6, 0.7], [0.5, 0.6, 0.8], attack=["y"] * 6).head(3),
        ],
        ignore_index=True,
    )
    found = lm.compare(table)
    assert found["attack"].tolist() == ["x", "y"]
    assert found["n"].tolist() == [2, 0]
    assert found["n_only_first"].tolist() == [0, 3]
    assert found["p_holm"].tolist()[0] == found["p"].tolist()[0]


def test_default_groups_leave_out_what_the_compared_column_decides() -> None:
    rng = np.random.default_rng(0)
    table = make_scores(
        rng.random(40),
        np.tile(np.arange(10), 4).tolist(),
        training=np.repeat(["natural", "pgd"], 20),
        attack=np.tile(np.repeat(["x", "y"], 10), 2),
        eps=np.repeat([0.1, 0.2], 20),
    )
    assert lm.compare(table).columns[:2].tolist() == ["attack", "metric"]
    assert lm.compare(table, on="attack").columns[:2].tolist() == ["training", "metric"]
    with pytest.raises(ValueError, match="no group has both natural and pgd"):
        lm.compare(table, by=["eps"])
    assert lm.compare(table, by="attack", between=["pgd", "natural"])["first"].tolist() == ["pgd", "pgd"]
    assert len(lm.compare(table, by=[])) == 1


def test_values_are_compared_in_natural_order_or_as_named() -> None:
    layers = [layer for layer in ("conv10", "conv2", "conv1", None) for _ in range(2)]
    table = make_scores(np.arange(8) / 8, [0, 1] * 4, layer=layers)
    found = lm.compare(table, on="layer")
    assert found["first"].tolist() == ["conv1", "conv1", "conv1", "conv2", "conv2", "conv10"]
    assert found["second"].iloc[:3].tolist()[:2] == ["conv2", "conv10"]
    assert found["second"].isna().tolist() == [False, False, True, False, True, True]
    named = lm.compare(table, on="layer", between=[None, "conv10"])
    assert named["first"].isna().all()
    assert named["second"].tolist() == ["conv10"]
    eps = make_scores(np.arange(6) / 8, [0, 1] * 3, eps=np.repeat([8 / 255, 2 / 255, 16 / 255], 2))
    assert lm.compare(eps, on="eps")["first"].tolist() == [2 / 255, 2 / 255, 8 / 255]
    single = lm.compare(eps, on="eps", between=[np.float32(8 / 255), 2 / 255])
    assert single["first"].tolist() == [8 / 255]
    assert lm.compare(table, on="layer", between=[pd.NA, "conv2"])["second"].tolist() == ["conv2"]


def test_samples_are_matched_by_dataset_and_name() -> None:
    names = ["x", "y", "z", "z", "y", "x"]
    table = named_scores([1, 2, 3, 3, 2, 1], names, training=np.repeat(["a", "b"], 3), dataset=["d"] * 6)
    assert lm.compare(table)["equal"].tolist() == [1]
    apart = table.assign(dataset=pd.Categorical(["d"] * 3 + ["e"] * 3))
    with pytest.raises(ValueError, match=r"no sample is common: a has 3 samples \(x, y, z\) of d and b has"):
        lm.compare(apart)
    half = table.assign(name=table["name"].where(table["training"] == "a"))
    with pytest.raises(ValueError, match="some samples of d have names and others have only numbers"):
        lm.compare(half)


def test_samples_are_left_out_by_status() -> None:
    table = paired_table([0.1, 0.2, 0.3], [0.4, 0.4, 0.4])
    table["status"] = ["ok", "not_attacked;identical", "ok", "ok", "ok", "not_attacked"]
    row = lm.compare(table, exclude="not_attacked").iloc[0]
    assert (row["n"], row["n_only_first"], row["n_only_second"]) == (1, 1, 1)
    with pytest.raises(ValueError, match="cannot exclude 'saturated': it is a status of a metric"):
        lm.compare(table, exclude=["saturated"])


def test_files_and_columns_of_the_user_can_be_compared() -> None:
    table = paired_table([0.1, 0.2, 0.3], [0.4, 0.4, 0.4]).drop(columns="training")
    table["file"] = np.repeat(["a.h5", "b.h5"], 3)
    assert lm.compare(table, on="file")["n"].tolist() == [3]
    table["family"] = np.repeat(["cnn", "vit"], 3)
    assert lm.compare(table.drop(columns="file"), on="family")["second"].tolist() == ["vit"]


@pytest.mark.parametrize("suffix", ["parquet", "csv"])
def test_comparison_of_a_stored_table(tmp_path: Any, suffix: str) -> None:
    rng = np.random.default_rng(0)
    table = paired_table(rng.random(20), rng.random(20), eps=[8 / 255] * 40)
    lm.write_scores(table, tmp_path / f"s.{suffix}")
    pd.testing.assert_frame_equal(lm.compare(lm.read_scores(tmp_path / f"s.{suffix}")), lm.compare(table))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"on": "model"}, "cannot compare on 'model': the table has training, sample, status"),
        ({"on": "kendall"}, "cannot compare on 'kendall'"),
        ({"on": "sample"}, "cannot compare on 'sample', which says which sample"),
        ({"on": "status"}, "cannot compare on 'status': its only value is ok"),
        ({"between": ["natural", "trades"]}, "no row has training=trades; it has: natural, pgd"),
        ({"between": ["natural"]}, "at least two values of 'training'; it has: natural, pgd"),
        ({"between": "natural"}, "at least two values"),
        ({"between": ["pgd", "pgd"]}, "pgd is named twice"),
        ({"by": ["nope"]}, "cannot group by 'nope': the table has"),
        ({"by": ["training"]}, "leave it out of by"),
        ({"metrics": ["mse"]}, "no scores of mse; it has: kendall"),
        ({"metrics": []}, "name at least one metric; the table has: kendall"),
        ({"metrics": ["?"]}, "cannot read the metric"),
    ],
)
def test_mistakes_in_a_comparison(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        lm.compare(paired_table([0.1, 0.2], [0.3, 0.4]), **options)


def test_nothing_in_common_is_refused() -> None:
    table = paired_table([0.1] * 4, [0.2] * 5)
    table["sample"] = range(9)
    message = (
        r"no sample is common: natural has 4 samples \(number 0, 1, 2, \.\.\.\) and pgd has 5 samples "
        r"\(number 4, 5, 6, \.\.\.\)"
    )
    with pytest.raises(ValueError, match=message):
        lm.compare(table)
    with pytest.raises(ValueError, match="the table has no column 'sample'"):
        lm.compare(table.drop(columns="sample"))
    with pytest.raises(ValueError, match="cannot compare on 'training': it has no rows"):
        lm.compare(table.head(0))
    with pytest.raises(ValueError, match="no row is left"):
        lm.compare(table.assign(status="identical"), exclude="identical")


def test_very_many_comparisons_are_refused() -> None:
    table = make_scores(np.arange(404) / 404, [0, 1] * 202, layer=np.repeat(np.arange(202), 2))
    with pytest.raises(ValueError, match="the 202 values of 'layer' make 20,301 comparisons for each metric"):
        lm.compare(table, on="layer")
    assert len(lm.compare(table, on="layer", between=[0, 5, 201])) == 3
