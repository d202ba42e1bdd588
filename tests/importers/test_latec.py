"""Arrays of LATEC, of which one explanation becomes a pair file."""

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from lensmetrics.importers import import_maps
from lensmetrics.pairfile.store import PairStore
from tests.importers.test_importers import refused, some_maps, stored


def latec(path: Path, seed: int) -> list[NDArray[np.float32]]:
    """One .npz of `explain`: for each of three models (observation, explanation, channel, height, width)."""
    models = [some_maps(4, 6, 3, 8, 8, seed=seed + model) for model in range(3)]
    np.savez(path, models[0], models[1], models[2])
    return models


@pytest.mark.parametrize("spelling", ["names", "addresses"])
def test_latec_gives_a_pair_file_per_model_and_explanation(tmp_path: Path, spelling: str) -> None:
    clean = latec(tmp_path / "explain_imagenet_6_methods_clean.npz", 0)
    noisy = latec(tmp_path / "explain_imagenet_6_methods_adv.npz", 10)
    first, second = (str(path) for path in sorted(tmp_path.iterdir(), reverse=True))
    out = tmp_path / "out.h5"
    if spelling == "names":
        import_maps(first, second, out, names=("arr_1", "arr_1"), method=5)
    else:
        import_maps(f"{first}:arr_1", f"{second}:arr_1", out, method=5)
    np.testing.assert_array_equal(stored(out), [clean[1][:, 5], noisy[1][:, 5]])
    assert PairStore(out).n_channels == 3
    assert len(list(tmp_path.iterdir())) == 3


@pytest.mark.parametrize(
    ("name", "method", "message"),
    [
        (None, 5, r"has no array 'unperturbed'; it has 3: arr_0, arr_1, arr_2; name one"),
        ("arr_0", None, r"is \(4, 6, 3, 8, 8\); LATEC stores \(N, explanation, .*; shap's \(N, height, width"
         r", channel, class\) is axes='NHWCK' .* method=0 to method=5, got None"),
        ("arr_0", 6, r"method=0 to method=5, got 6"),
        ("arr_0", -1, r"method=0 to method=5, got -1"),
    ],
)  # fmt: skip
def test_latec_mistakes(tmp_path: Path, name: str | None, method: int | None, message: str) -> None:
    latec(tmp_path / "a.npz", 0)
    a = tmp_path / "a.npz"
    refused(tmp_path, a, a, message, ValueError, names=(name, name), method=method)


def test_latec_volumes_and_point_clouds_are_not_images(tmp_path: Path) -> None:
    for shape, message in [
        ((4, 6, 1, 5, 5, 5), r"is \(4, 6, 1, 5, 5, 5\); method=1 is for"),
        ((4, 6, 3, 9), r"is \(4, 6, 3, 9\); method=1 is for LATEC's \(N, explanation, channel, height, w"),
    ]:
        np.savez(tmp_path / "a.npz", some_maps(*shape))
        refused(tmp_path, tmp_path / "a.npz", tmp_path / "a.npz", message, ValueError, method=1)
