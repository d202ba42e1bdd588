"""Similarity of images: against the twins, scikit-image, and where there are none."""

import math
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from skimage import metrics

import lensmetrics as lm
from tests import reference
from tests.pairfiles import flip_byte, write_file

Images = npt.NDArray[Any]
NAMES = list(reference.TWINS_OF_IMAGES)
SHAPES = [(8, 9), (1, 8, 9), (3, 7, 10)]


def images_of(*shape: int, seed: int = 0) -> tuple[Images, Images]:
    """Return a uint8 image, and the same with noise as float32 in [0, 1]."""
    rng = np.random.default_rng(seed)
    image = rng.integers(0, 256, shape, dtype=np.uint8)
    noisy = np.clip(image / 255 + rng.normal(0, 0.1, shape), 0, 1)
    return image, noisy.astype(np.float32)


def pair_of(image: Images | None, perturbed: Images | None) -> lm.MapPair:
    maps = np.random.default_rng(1).random((2, 4, 5))
    return lm.MapPair(*maps, image=image, image_perturbed=perturbed)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("name", NAMES)
def test_metrics_of_images_equal_their_twins(name: str, shape: tuple[int, ...]) -> None:
    image, perturbed = images_of(*shape)
    pair = pair_of(image, perturbed)
    expected = reference.TWINS_OF_IMAGES[name](image, perturbed)
    assert getattr(lm, name)(pair) == pytest.approx(expected, rel=1e-9)
    assert getattr(lm, name)(pair_of(perturbed, image)) == pytest.approx(expected, rel=1e-9)
    best = {"image_mse": 0}.get(name, 1)
    assert getattr(lm, name)(pair_of(image, image)) == pytest.approx(best, abs=1e-12)
    assert pair.status == "ok"


@pytest.mark.parametrize("dtype", [np.uint8, np.float16, np.float32, np.float64])
def test_an_unchanged_image_is_equal_in_any_stored_precision(dtype: type) -> None:
    image = np.arange(256, dtype=np.uint8).reshape(16, 16)
    same = image if dtype == np.uint8 else (image / 255).astype(dtype)
    pair = pair_of(image, same)
    assert [getattr(lm, name)(pair) for name in ("image_mse", "image_pearson", "image_ssim")] == [0, 1, 1]
    changed = same.copy()
    changed[0, 0] = same[15, 15]
    assert lm.image_mse(pair_of(image, changed)) > 1e-7


def test_ssim_of_images_agrees_with_scikit_image() -> None:
    image, perturbed = images_of(3, 16, 17)
    expected = metrics.structural_similarity(  # type: ignore[no-untyped-call]
        image / 255, perturbed.astype(np.float64), data_range=1, channel_axis=0
    )
    assert lm.image_ssim(pair_of(image, perturbed)) == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("name", NAMES)
def test_without_two_images_in_range_there_is_no_value(name: str) -> None:
    image, perturbed = images_of(8, 9)
    for images in (
        (image, None),
        (None, None),
        (image, perturbed + 1),
        (image, np.full(image.shape, np.nan)),
        (image, perturbed[:, 1:]),
    ):
        pair = pair_of(*images)
        assert math.isnan(getattr(lm, name)(pair))
        assert pair.status == "no_image"


def test_constant_and_small_images() -> None:
    pair = pair_of(np.zeros((8, 9)), np.ones((8, 9)))
    assert lm.image_mse(pair) == 1
    assert math.isnan(lm.image_pearson(pair))
    assert pair.status == "no_image"
    pair = pair_of(*images_of(6, 9))
    assert math.isnan(lm.image_ssim(pair))
    assert pair.status == "too_small"


def test_of_maps_that_are_not_finite_every_metric_is_nan() -> None:
    image = np.zeros((8, 9))
    pair = lm.MapPair(np.full((2, 2), np.inf), np.eye(2), image=image, image_perturbed=image)
    assert all(math.isnan(getattr(lm, name)(pair)) for name in NAMES)
    assert pair.status == "nan_map"


@pytest.mark.parametrize("against", ["unperturbed", "target"])
def test_files_are_scored_by_their_images(tmp_path: Path, against: str) -> None:
    images = [images_of(3, 8, 9, seed=i) for i in range(6)]
    columns: dict[str, Any] = {
        "image": [image for image, _ in images],
        "image_perturbed": [noisy for _, noisy in images],
    }
    write_file(tmp_path / "a.h5", target=np.zeros((6, 6, 7), np.float32), **columns)
    scores = lm.evaluate(tmp_path / "a.h5", NAMES, against=against)
    for i, pair in enumerate(lm.PairStore(tmp_path / "a.h5")):
        for name in NAMES:
            assert scores[name][i] == getattr(lm, name)(pair) == getattr(lm, name)(pair_of(*images[i]))
    flip_byte(tmp_path / "a.h5", "image", 3 * 8 * 9 * 2)
    store = lm.PairStore(tmp_path / "a.h5")
    assert [pair.image is None for pair in store] == [i == 2 for i in range(6)]
    for i, pair in enumerate(store):
        np.testing.assert_array_equal(pair.image_perturbed, store[i].image_perturbed)
    damaged = lm.evaluate(tmp_path / "a.h5", [*NAMES, "mse"])
    assert damaged["status"].tolist() == ["ok", "ok", "checksum", "ok", "ok", "ok"]
    assert set(lm.evaluate(tmp_path / "a.h5", "mse")["status"]) == {"ok"}


@pytest.mark.parametrize("stored", [{}, {"image": np.zeros((6, 3, 8, 9), np.uint8)}])
def test_files_without_images_say_so(tmp_path: Path, stored: dict[str, Any]) -> None:
    write_file(tmp_path / "a.h5", **stored)
    scores = lm.evaluate(tmp_path / "a.h5", ["image_mse", "mse"])
    assert scores["status"].tolist() == ["no_image"] * 6
    assert scores["mse"].notna().all()
    summary = lm.summarize(scores)
    of_images = summary[summary["metric"] == "image_mse"].iloc[0]
    assert of_images[["n", "n_undefined", "n_no_image"]].tolist() == [0, 6, 6]
