"""A table of scores with everything that a table can hold."""

import pandas as pd
import pytest

import lensmetrics as lm
from tests.pairfiles import flip_byte, write_file
from tests.scores import CONDITIONS, METRICS


@pytest.fixture(scope="module")
def scores(tmp_path_factory: pytest.TempPathFactory) -> pd.DataFrame:
    """A table with all there can be: missing conditions and labels, damaged and incomplete samples."""
    folder = tmp_path_factory.mktemp("study")
    paths = [folder / name for name in ("z.h5", "a.h5", "m.h5")]
    write_file(paths[0], 6, seed=1, attrs=CONDITIONS, labels=True)
    write_file(paths[1], 4, seed=2, attrs={**CONDITIONS, "training": "pgd", "eps": 0.1}, missing=[2])
    write_file(paths[2], 5, (8, 8), seed=3, attrs={"dataset": "toy", "attack": "random_sign"})
    flip_byte(paths[2], "unperturbed", 8 * 8 * 4)
    return lm.evaluate(paths, METRICS)
