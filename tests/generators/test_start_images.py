"""The stored images from which attacks start: rounded to float32, perhaps damaged, perhaps not perturbed."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

import lensmetrics as lm
from generators.start_images import start_images

# Pixels of a data set, as a network gets them, and the same one step of .01 brighter.
IMAGES: Any = torch.arange(2 * 16, dtype=torch.float64).reshape(2, 1, 4, 4) * 7 / 255
NEAR = (IMAGES + 0.01).numpy()[:, 0]
SAMPLES = [11, 17]


def stored(path: Path, images: NDArray[Any], norm: str = "linf", **columns: Any) -> Path:
    """A file of two samples with these perturbed images, found at eps .01."""
    maps = np.ones((2, 4, 4), np.float32)
    attrs = {"eps": 0.01, "eps_norm": norm}
    with lm.PairWriter(path, n_samples=2, shape=(4, 4), attrs=attrs) as writer:
        writer.write(slice(2), maps, maps, sample=SAMPLES, image_perturbed=images, **columns)
    return path


def changed(value: float) -> NDArray[Any]:
    """The images, of which one pixel of the second has this value."""
    images: NDArray[Any] = NEAR.astype(np.float32)
    images[1, 2, 3] = value
    return images


@pytest.mark.parametrize("n_channels", [1, 3])
@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_images_are_those_of_the_file_in_the_type_of_the_attack(
    tmp_path: Path, norm: str, n_channels: int
) -> None:
    """On the border of the ball, where rounding to float32 may lead out of it."""
    images = IMAGES.expand(-1, n_channels, -1, -1)
    step = 0.01 if norm == "linf" else 0.01 / np.sqrt(16 * n_channels)
    perturbed = (images + step).numpy().astype(np.float32)
    path = stored(tmp_path / "a.h5", perturbed if n_channels > 1 else perturbed[:, 0], norm)
    found = start_images(path, np.array([1, 0]), images.flip(0))
    assert found.dtype == torch.float64
    assert (found.flip(0).numpy() == perturbed).all()


@pytest.mark.parametrize(
    "recorded",
    [
        {"n_accepted": [0, 2]},
        {"n_accepted": [3, 2], "perturbation_linf": [0, 0.01]},  # images kept the label, none was better
        {"perturbation_l2": [0, 0.01]},
    ],
)
def test_an_image_that_was_not_perturbed_is_the_image_itself(
    tmp_path: Path, recorded: dict[str, Any]
) -> None:
    """Not the stored one: its rounding to float32 would be taken as a perturbation in float64."""
    images = np.concatenate([IMAGES[:1, 0], NEAR[1:]]).astype(np.float32)
    found = start_images(stored(tmp_path / "a.h5", images, **recorded), np.arange(2), IMAGES)
    assert (torch.from_numpy(images[0]) != IMAGES[0, 0]).any()
    assert (found[0] == IMAGES[0]).all()
    assert (found[1, 0].numpy() == images[1]).all()


@pytest.mark.parametrize(
    ("images", "norm", "problem"),
    [
        (changed(np.nan), "linf", "has pixels that are no numbers"),
        (changed(np.inf), "linf", "has pixels that are no numbers"),
        (changed(1.5), "linf", r"has pixels from 0.4492 to 1.5; they must be in \[0, 1\]"),
        (changed(-0.25), "linf", r"has pixels from -0.25 to 0.861; they must be in \[0, 1\]"),
        (changed(float(NEAR[1, 2, 3]) + 1e-5), "linf", "is 0.01001 away from the image of --data"),
        (NEAR.astype(np.float32), "l2", "is 0.04 away from the image of --data; it must be within the"),
        (NEAR[:, :3].astype(np.float32), "linf", r"is float32 \(3, 4\); it must be float32 \(4, 4\)"),
        ((NEAR * 255).astype(np.uint8), "linf", r"is uint8 \(4, 4\); it must be float32 \(4, 4\)"),
    ],
)
def test_a_damaged_image_is_refused_with_its_sample(
    tmp_path: Path, images: Any, norm: str, problem: str
) -> None:
    path = stored(tmp_path / "a.h5", images, norm)
    with pytest.raises(ValueError, match=problem) as caught:
        start_images(path, np.array([1]), IMAGES[1:])
    assert str(caught.value).startswith(f"--start: the perturbed image of sample 17 in {path} ")
    assert str(caught.value).endswith("; make the file again, or remove --start")
