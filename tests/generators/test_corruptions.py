"""Corruptions against slow twins and known values, and how generate and sweep store them."""

import colorsys
import math
from io import BytesIO
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image
from scipy.stats import norm
from torch import nn

import generators
import lensmetrics as lm
from generators import generate, published, sweep
from generators.attacks import ATTACKS, corruptions
from generators.attacks.corruptions import CORRUPTIONS
from generators.datasets import DATASETS
from generators.explanations import EXPLANATIONS
from generators.request import Request

TABLES = ("imagenet_c", "cifar10_c")
DEMO = Path(lm.__file__).parent / "data" / "fashion_mnist-natural-gradient-topk.h5"
NATURAL = Path(generators.__file__).parent / "weights" / "fashion_mnist-small_cnn-natural.pt"


def random(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


@pytest.fixture(scope="module")
def image() -> NDArray[np.float64]:
    """Smooth colours with a black and a white square, 24x20."""
    rows, columns = np.mgrid[:24, :20]
    waves = np.stack([np.sin(rows / 3), np.cos(columns / 4), np.sin((rows + columns) / 5)], -1)
    pixels = np.rint(127.5 + 100 * waves).astype(np.uint8)
    pixels[:6, :6], pixels[-6:, -6:] = 0, 255
    return pixels / 255


def corrupted(name: str, images: Any, severity: int, table: str = "imagenet_c", seeds: Any = None) -> Any:
    """What the attack finds; `images` are (sample, channel, height, width)."""
    randoms = [random(seed) for seed in seeds or range(len(images))]
    labels = torch.zeros(len(images), dtype=torch.int64)
    (found,) = ATTACKS[name](nn.Identity(), images, labels, randoms, severity=severity, severity_table=table)
    return found


def batch_of(image: NDArray[np.float64], channels: int) -> Any:
    return torch.from_numpy(image[..., :channels].transpose(2, 0, 1))[None]


# Twins: a value or a pixel at a time.


def blurred_twin(image: NDArray[np.float64], sigma: float) -> NDArray[np.float64]:
    """Every pixel as the weighted mean of all within 4 sigma, those outside being the nearest inside."""
    height, width, _ = image.shape
    reach = int(4 * sigma + 0.5)
    found = np.zeros_like(image)
    for row in range(height):
        for column in range(width):
            total = 0.0
            for down in range(-reach, reach + 1):
                for right in range(-reach, reach + 1):
                    weight = math.exp(-(down**2 + right**2) / (2 * sigma**2))
                    total += weight
                    near = min(max(row + down, 0), height - 1), min(max(column + right, 0), width - 1)
                    found[row, column] += weight * image[near]
            found[row, column] /= total
    return found


def mirrored(index: int, size: int) -> int:
    """The index inside that a mirror at the middle of the border pixel shows."""
    while not 0 <= index < size:
        index = -index if index < 0 else 2 * (size - 1) - index
    return index


def defocused_twin(image: NDArray[np.float64], radius: float, sigma: float) -> NDArray[np.float64]:
    """Every pixel as the mean of those in a disk, each of which stands for a small blurred square."""
    height, width, _ = image.shape
    reach, edge = math.ceil(radius), 1 if radius <= 8 else 2
    inside = [
        (down, right)
        for down in range(-reach, reach + 1)
        for right in range(-reach, reach + 1)
        if down**2 + right**2 <= radius**2
    ]
    weights = {
        (a, b): math.exp(-(a**2 + b**2) / (2 * sigma**2))
        for a in range(-edge, edge + 1)
        for b in range(-edge, edge + 1)
    }
    total = sum(weights.values()) * len(inside)
    found = np.zeros_like(image)
    for row in range(height):
        for column in range(width):
            for down, right in inside:
                for (a, b), weight in weights.items():
                    near = mirrored(row + down + a, height), mirrored(column + right + b, width)
                    found[row, column] += weight / total * image[near]
    return found


def brightened_twin(image: NDArray[np.float64], added: float) -> NDArray[np.float64]:
    found = np.empty_like(image)
    for place in np.ndindex(image.shape[:2]):
        hue, saturation, value = colorsys.rgb_to_hsv(*image[place])
        found[place] = colorsys.hsv_to_rgb(hue, saturation, min(value + added, 1))
    return found


def contrasted_twin(image: NDArray[np.float64], factor: float) -> NDArray[np.float64]:
    found = np.empty_like(image)
    for channel in range(image.shape[2]):
        values = image[..., channel].ravel().tolist()
        mean = sum(values) / len(values)
        found[..., channel] = np.reshape([mean + factor * (v - mean) for v in values], image.shape[:2])
    return found


def test_blurs_brightness_and_contrast_equal_their_twins(image: NDArray[np.float64]) -> None:
    small = image[4:12, 3:10]
    twins: list[tuple[Any, Any, Any, Any]] = [
        (corruptions.gaussian_blur, blurred_twin, small, (0.7,)),
        (corruptions.gaussian_blur, blurred_twin, small, (1.5,)),
        (corruptions.defocus_blur, defocused_twin, small, (1.5, 0.1)),
        (corruptions.defocus_blur, defocused_twin, small, (4, 0.5)),
        (corruptions.brightness, brightened_twin, image, (0.3,)),
        (corruptions.contrast, contrasted_twin, image, (0.4,)),
    ]
    for corrupt, twin, given, amounts in twins:
        amount = amounts if len(amounts) > 1 else amounts[0]
        np.testing.assert_allclose(corrupt(given, amount, random()), twin(given, *amounts), atol=1e-12)


@pytest.mark.parametrize(
    ("radius", "total"), [(3, 1), (4, 1), (6, 1), (8, 1.012975), (10, 1.010786), (0.3, 1)]
)
def test_a_disk_keeps_the_brightness_unless_its_edge_is_mirrored(radius: float, total: float) -> None:
    """The totals of the weights that the released code makes."""
    assert corruptions.disk_weights(radius, 0.5).sum() == pytest.approx(total, abs=1e-6)


def test_noise_has_the_distribution_of_its_severity() -> None:
    grey = np.full((200, 200, 3), 0.4)
    n = grey.size
    for sigma in published.SEVERITIES["imagenet_c"]["gaussian_noise"]:
        noise = corruptions.gaussian_noise(grey, sigma, random()) - grey
        assert abs(noise.mean()) < 4 * sigma / math.sqrt(n)
        assert noise.var() == pytest.approx(sigma**2, rel=4 * math.sqrt(2 / n))
    for photons in published.SEVERITIES["imagenet_c"]["shot_noise"]:
        shot = corruptions.shot_noise(grey, photons, random())
        np.testing.assert_allclose(shot * photons, np.rint(shot * photons), atol=1e-9)
        assert shot.mean() == pytest.approx(0.4, abs=4 * math.sqrt(0.4 / photons / n))
        assert shot.var() == pytest.approx(0.4 / photons, rel=0.03)
    for share in published.SEVERITIES["imagenet_c"]["impulse_noise"]:
        hit = corruptions.impulse_noise(grey, share, random())
        for value in (0, 1):
            assert (hit == value).mean() == pytest.approx(share / 2, abs=4 * math.sqrt(share / 2 / n))
        assert (hit == 0.4).mean() == pytest.approx(1 - share, abs=4 * math.sqrt(share / n))


def test_noise_is_cut_off_at_black_and_white() -> None:
    sigma = published.SEVERITIES["imagenet_c"]["gaussian_noise"][4]
    found = corrupted("gaussian_noise", torch.full((1, 3, 200, 200), 0.4).double(), 5).images.numpy()
    assert (found == 0).mean() == pytest.approx(norm.cdf(-0.4 / sigma), abs=0.01)
    assert (found == 1).mean() == pytest.approx(norm.sf(0.6 / sigma), abs=0.01)
    assert found.min() == 0
    assert found.max() == 1


@pytest.mark.parametrize("table", TABLES)
def test_a_plain_image_gets_the_known_value(table: str) -> None:
    """Brighter by what the table says, up to 1; others leave it as it is, JPEG only the grey 128."""
    grey = torch.full((1, 1, 20, 20), 128 / 255, dtype=torch.float64)
    for severity, added in enumerate(published.SEVERITIES[table]["brightness"], 1):
        found = corrupted("brightness", grey, severity, table).images
        torch.testing.assert_close(found, torch.full_like(grey, min(128 / 255 + added, 1)))
        for name in ("contrast", "gaussian_blur", "jpeg_compression"):
            torch.testing.assert_close(corrupted(name, grey, severity, table).images, grey)


def test_a_black_pixel_becomes_grey_and_a_coloured_one_keeps_its_hue() -> None:
    pixels = np.array([[[0, 0, 0], [0.5, 0.25, 0]]])
    np.testing.assert_allclose(
        corruptions.brightness(pixels, 0.3, random()), [[[0.3, 0.3, 0.3], [0.8, 0.4, 0]]]
    )


@pytest.mark.parametrize("channels", [1, 3])
def test_jpeg_is_what_pillow_makes_of_the_pixels(image: NDArray[np.float64], channels: int) -> None:
    pixels = np.rint(255 * image[..., :channels]).astype(np.uint8)
    for quality in published.SEVERITIES["imagenet_c"]["jpeg_compression"]:
        file = BytesIO()
        Image.fromarray(pixels.squeeze(), "RGB" if channels == 3 else "L").save(file, "JPEG", quality=quality)
        expected = np.asarray(Image.open(file)).reshape(pixels.shape)
        found = corruptions.jpeg_compression(pixels / 255, quality, random())
        assert (found * 255 == expected).all()
        # In float32, pixels of uint8 are not rounded to others.
        single = (pixels / np.float32(255)).astype(np.float64)
        assert (corruptions.jpeg_compression(single, quality, random()) == found).all()


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("name", CORRUPTIONS)
def test_a_higher_severity_is_further_from_the_image(
    image: NDArray[np.float64], name: str, channels: int
) -> None:
    """PSNR falls in both tables, at every severity; shapes and range stay."""
    images = batch_of(np.tile(image, (2, 2, 1)), channels)
    for table in TABLES:
        psnr = []
        for severity in range(1, 6):
            found = corrupted(name, images, severity, table).images
            assert found.shape == images.shape
            assert found.dtype == images.dtype
            assert 0 <= float(found.min()) <= float(found.max()) <= 1
            psnr.append(-10 * math.log10(float(((found - images) ** 2).mean())))
        assert (np.diff(psnr) < 0).all()


@pytest.mark.parametrize("name", CORRUPTIONS)
def test_a_sample_is_corrupted_alone_as_in_any_batch(image: NDArray[np.float64], name: str) -> None:
    one = batch_of(image, 3)
    images = torch.cat([one, one.flip(2), one.flip(3)])
    together = corrupted(name, images, 3).images
    again = corrupted(name, images.clone(), 3).images
    alone = corrupted(name, images[1:2], 3, seeds=[1]).images
    assert (together == again).all()
    assert (together[1:2] == alone).all()
    other = corrupted(name, images[1:2], 3, seeds=[2]).images
    assert (name.endswith("_noise")) == bool((other != alone).any())


def test_an_image_that_stays_as_it_is_was_not_perturbed() -> None:
    black = torch.zeros((2, 1, 8, 8)).double()
    black[1] += 0.5
    found = corrupted("shot_noise", black, 3)
    assert (found.images[0] == 0).all()
    assert found.n_accepted.tolist() == found.best_step.tolist() == [0, 1]


def test_tables_have_five_severities_of_every_corruption() -> None:
    assert tuple(published.SEVERITIES) == TABLES
    for table in published.SEVERITIES.values():
        assert set(table) == set(CORRUPTIONS)
        assert {len(amounts) for amounts in table.values()} == {5}


def test_the_table_is_that_of_the_nearest_size() -> None:
    """As a ratio, of the datasets' images to 224 and 32 pixels."""
    for name, dataset in DATASETS.items():
        ratios = {"imagenet_c": dataset.image_size / 224, "cifar10_c": dataset.image_size / 32}
        nearest = min(ratios, key=lambda table: abs(math.log(ratios[table])))
        assert ATTACKS["contrast"].published(name, "", "", None) == {"severity_table": nearest}
    assert ATTACKS["contrast"].published("of my own", "", "", None) == {}


# The commands, on the embedded images and network.


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("corruptions")
    with h5py.File(DEMO) as file:
        arrays = {"x_test": file["image"][:12], "y_test": file["label"][:12].astype(np.uint8)}
    np.savez(folder / "fashion_mnist.npz", allow_pickle=False, **arrays)
    return folder


def run(data: Path, out: Path, *more: str) -> int:
    return generate.main(
        [
            *("--dataset", "fashion_mnist", "--data", str(data), "--model", "small_cnn", "--device", "cpu"),
            *("--checkpoint", str(NATURAL), "--explanation", "gradient", "--samples", "8"),
            *("--out", str(out), *more),
        ]
    )


def test_the_perturbed_map_is_stored_whatever_the_label(data: Path, tmp_path: Path) -> None:
    out = tmp_path / "noise.h5"
    more = ("--attack", "gaussian_noise", "--severity", "5", "--severity-table", "imagenet_c")
    assert run(data, out, *more, "--store-images", "all", "--batch-size", "3") == 0
    with h5py.File(out) as file:
        arrays = {name: dataset[()] for name, dataset in file.items()}
        attrs = dict(file.attrs)
    changed = arrays["prediction"] != arrays["prediction_perturbed"]
    assert 0 < changed.sum() < 8
    assert (arrays["n_accepted"] == 1).all()
    for i, sample in enumerate(arrays["sample"].tolist()):
        assert not np.array_equal(arrays["unperturbed"][i], arrays["perturbed"][i])
        pixels = torch.from_numpy(arrays["image"][i, None, None]) / 255
        (expected,) = corrupted_with(pixels, [0, sample])
        np.testing.assert_allclose(arrays["image_perturbed"][i], expected[0], atol=1e-6)
    assert (attrs["attack"], attrs["severity"], attrs["severity_table"]) == (
        "gaussian_noise",
        5,
        "imagenet_c",
    )
    assert np.isnan(attrs["eps"])
    assert "--severity 5 --severity-table imagenet_c" in attrs["command"]
    status = lm.evaluate(out, "kendall")["status"]
    assert ["label_changed" in tokens for tokens in status] == changed.tolist()


def corrupted_with(images: Any, seed: list[int]) -> Any:
    """Gaussian noise of severity 5 by the random generator that `seed` seeds."""
    return corrupted("gaussian_noise", images, 5, seeds=[seed]).images


@pytest.mark.parametrize("explanation", EXPLANATIONS)
def test_any_explanation_takes_a_corruption(explanation: str) -> None:
    found = Request.parse(
        [
            *("--dataset", "imagenet", "--data", "nowhere", "--model", "resnet18", "--checkpoint", "a.pt"),
            *("--explanation", explanation, "--attack", "contrast", "--severity", "2", "--out", "a.h5"),
        ]
    ).plan()
    assert found.settings == {"severity": 2, "severity_table": "imagenet_c"}


@pytest.mark.parametrize(
    ("more", "sentence"),
    [
        ((), "--severity must be given for contrast"),
        (("--severity", "6"), "--severity must be an integer from 1 to 5, got 6"),
        (("--severity", "2.5"), "argument --severity: must be an integer >= 1, got 2.5"),
        (
            ("--severity", "1", "--severity-table", "mine"),
            "argument --severity-table: invalid choice: 'mine'",
        ),
        (("--severity", "1", "--eps", "0.1"), "--eps has no effect with --explanation gradient and --attack"),
        (("--severity", "1", "--strong"), "--strong has no effect with --explanation gradient and --attack"),
    ],
)
def test_bad_severities_get_one_sentence(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], more: tuple[str, ...], sentence: str
) -> None:
    assert run(data, tmp_path / "bad.h5", "--attack", "contrast", *more) == 2
    error = capsys.readouterr().err
    assert error.startswith(f"error: {sentence}")
    assert error.count("\n") == 1


def test_severity_is_a_grid_in_experiments_and_a_condition_in_tables(data: Path, tmp_path: Path) -> None:
    path = tmp_path / "experiment.toml"
    path.write_text(
        f"""
        [common]
        dataset = "fashion_mnist"
        model = "small_cnn"
        device = "cpu"

        [[generate]]
        training = "natural"
        checkpoint = "{NATURAL}"
        explanation = "gradient"
        attack = ["contrast", "random_sign"]
        severity = [1, 3, 5]
        eps = 0.1
        samples = 8
        """,
        encoding="utf-8",
    )
    assert sweep.main([str(path), "--data", str(data), "--out", str(tmp_path)]) == 0
    files = [tmp_path / f"natural-gradient-contrast-{severity}.h5" for severity in (1, 3, 5)]
    assert set(tmp_path.glob("*.h5")) == {*files, tmp_path / "natural-gradient-random_sign-0.1.h5"}
    scores = lm.evaluate(files, "kendall")
    summary = lm.summarize(scores)
    assert list(summary.columns[:2]) == ["severity", "metric"]
    assert summary["severity"].tolist() == [1, 3, 5]
    compared = lm.compare(scores, on="severity")
    assert compared[["first", "second"]].to_numpy().tolist() == [[1, 3], [1, 5], [3, 5]]
