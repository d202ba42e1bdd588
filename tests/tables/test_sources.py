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
