"""A page over a few small files, as most tests of the explorer need it."""

from collections.abc import Iterator
from pathlib import Path

import pytest

import lensmetrics as lm
from tests.pairfiles import flip_byte, write_file

pytest.importorskip("starlette")
pytest.importorskip("uvicorn")

from lensmetrics.explorer.serving import Server

NAMES = ("natural", "pgd")
METRICS = ["lens_recall(k=5,w=1)", "topk_intersection(k=5)", "kendall"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two conditions of the same six samples, with a damaged sample, a damaged image and a missing sample."""
    folder = tmp_path_factory.mktemp("maps")
    for i, name in enumerate(NAMES):
        attrs = {"dataset": "toy", "training": name, "attack": "<b>top & k</b>", "eps": 8 / 255}
        write_file(
            folder / f"{name}.h5", seed=i, attrs=attrs, labels=True, missing=[4] if i else [], image=IMAGES
        )
    flip_byte(folder / "natural.h5", "perturbed", 2 * 6 * 7 * 4 + 3)
    flip_byte(folder / "natural.h5", "image", 5 * 6 * 7 * 4 + 2)
    return folder


IMAGES = [[[[float(i)] * 7] * 6] for i in range(6)]


@pytest.fixture(scope="module")
def paths(folder: Path) -> list[Path]:
    return [folder / f"{name}.h5" for name in NAMES]


@pytest.fixture(scope="module")
def server(paths: list[Path]) -> Iterator[Server]:
    """A page over both files with their scores."""
    scores = lm.evaluate(paths, METRICS)
    with Server(paths, scores) as server:
        yield server
