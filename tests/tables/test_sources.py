"""Source samples: which rows share an image, and which samples conditions share."""

import numpy as np
import pandas as pd
import pytest

from lensmetrics.tables.sources import shared_samples, source_samples
from tests.scores import make_scores, named_scores


@pytest.mark.parametrize("seed", range(20))
def test_shared_samples_are_those_of_all_groups(seed: int) -> None:
    rng = np.random.default_rng(seed)
    n_rows, n_groups = int(rng.integers(0, 60)), int(rng.integers(1, 5))
    source, group = rng.integers(0, 12, n_rows), rng.integers(0, n_groups, n_rows)
    sets = [set(source[group == i].tolist()) for i in range(n_groups)]
    n_shared, n_each = shared_samples(source, group, n_groups)
    assert n_shared == len(set.intersection(*sets))
    assert n_each.tolist() == [len(found) for found in sets]


def test_samples_are_shared_within_a_dataset_alone() -> None:
    table = make_scores(np.arange(6), [1, 2, 3, 2, 3, 4], dataset=["a"] * 6)
    group = np.repeat([0, 1], 3)
    assert shared_samples(source_samples(table, group), group, 2)[0] == 2
    other = table.assign(dataset=pd.Categorical(["a"] * 3 + ["b"] * 3))
    assert shared_samples(source_samples(other, group), group, 2)[0] == 0
    named = named_scores(np.arange(6), ["x", "y", "z", "z", "u", "x"], dataset=["a"] * 6)
    assert shared_samples(source_samples(named, group), group, 2)[0] == 2


@pytest.mark.parametrize("named", [False, True])
def test_rows_of_an_unknown_sample_are_samples_of_their_own(named: bool) -> None:
    table = make_scores([1, 2, np.nan, 4, 5, np.nan], name="mse").drop(columns="sample")
    table["sample"] = pd.array([1, 2, None, 1, 2, None], dtype="Int64")
    if named:
        table["name"] = ["x", "y", None, "x", "y", None]
    source = source_samples(table, np.repeat([0, 1], 3))
    assert (source[0], source[1]) == (source[3], source[4])
    assert len(set(source.tolist())) == 4
    assert shared_samples(source, np.repeat([0, 1], 3), 2)[0] == 2
