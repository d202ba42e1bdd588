"""A folder of one's own as the dataset: its classes, its splits, the size and the channels of its images."""

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from generators import generate, train
from generators.datasets import described, image_shape, read_split


def write(path: Path, shape: tuple[int, ...], seed: int = 0) -> NDArray[np.uint8]:
    """Write an image of this shape without loss and return it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)
    Image.fromarray(pixels).save(path)
    return pixels


def test_any_number_of_class_folders_and_any_size(tmp_path: Path) -> None:
    images = [write(tmp_path / "shapes" / name / "0.png", (5, 9, 3), i) for i, name in enumerate("bac")]
    found = read_split("shapes", tmp_path, "test")
    assert found.labels.tolist() == [0, 1, 2]
    assert found.shape == image_shape("shapes", tmp_path, None) == (5, 9)
    assert found.channels == 3
    np.testing.assert_array_equal(found.images[:], np.stack([images[i] for i in (1, 0, 2)]))
    assert read_split("shapes", tmp_path, "test", image_size=4).images[:].shape == (3, 4, 4, 3)
    assert image_shape("shapes", tmp_path, 4) == (4, 4)
    with pytest.raises(ValueError, match="does not mark images for training"):
        read_split("shapes", tmp_path, "train")


def test_classes_are_numbered_over_all_splits(tmp_path: Path) -> None:
    """So that a class that one split lacks does not move the others."""
    for place in ("train/ant", "train/bee", "test/bee", "test/cat", "test/.hidden", "other/dog"):
        write(tmp_path / "animals" / place / "0.png", (4, 4, 3))
    (tmp_path / "animals/test/empty").mkdir()
    assert described("animals", tmp_path).classes == ("ant", "bee", "cat")
    assert read_split("animals", tmp_path, "train").labels.tolist() == [0, 1]
    assert read_split("animals", tmp_path, "test").labels.tolist() == [1, 2]


def test_split_that_a_folder_lacks_is_refused(tmp_path: Path) -> None:
    write(tmp_path / "animals/train/ant/0.png", (4, 4, 3))
    with pytest.raises(ValueError, match="animals has no images for the test split"):
        read_split("animals", tmp_path, "test")


def test_labels_may_leave_out_the_last_classes(tmp_path: Path) -> None:
    """Some images of ImageNet, say: a network of 1000 classes fits them, one of 8 does not."""
    write(tmp_path / "some/x.png", (4, 4, 3))
    (tmp_path / "some/labels.csv").write_text("file,class_index\nx.png,8\n", encoding="utf-8")
    found = described("some", tmp_path)
    assert found.fits(1000)
    assert found.fits(9)
    assert not found.fits(8)
    assert read_split("some", tmp_path, "test").labels.tolist() == [8]
    write(tmp_path / "folders/a/x.png", (4, 4, 3))
    assert not described("folders", tmp_path).fits(1000)


def test_images_are_gray_if_all_are(tmp_path: Path) -> None:
    gray = write(tmp_path / "scans/a/0.png", (4, 4))
    found = read_split("scans", tmp_path, "test")
    assert found.channels == 1
    np.testing.assert_array_equal(found.images[:], gray[None])
    write(tmp_path / "mixed/a/0.png", (4, 4))
    write(tmp_path / "mixed/b/0.png", (4, 4, 3))
    mixed = read_split("mixed", tmp_path, "test").images[:]
    assert mixed.shape == (2, 4, 4, 3)
    np.testing.assert_array_equal(mixed[0], np.dstack([gray] * 3))


@pytest.mark.parametrize(
    ("shape", "reason"),
    [
        ((9, 8, 3), "are 3 x 8 x 8 (channels, height, width) for training and 3 x 9 x 8 for testing"),
        ((8, 8), "are 3 x 8 x 8 (channels, height, width) for training and 1 x 8 x 8 for testing"),
    ],
)
def test_splits_that_differ_are_refused_before_training(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], shape: tuple[int, ...], reason: str
) -> None:
    write(tmp_path / "unlike/train/a/0.png", (8, 8, 3))
    write(tmp_path / "unlike/test/a/0.png", shape)
    words = [
        "--dataset",
        "unlike",
        "--data",
        str(tmp_path),
        "--model",
        "small_resnet",
        "--training",
        "natural",
    ]
    settings = ["--batch-size", "1", "--eps", "0.1", "--steps", "1", "--step-size", "0.1"]
    assert train.main([*words, *settings, "--out", str(tmp_path / "a.pt")]) == 2
    assert reason in capsys.readouterr().err
    assert not list(tmp_path.glob("a.pt*"))


def test_size_is_asked_for_where_images_differ(tmp_path: Path) -> None:
    write(tmp_path / "photos/a/0.png", (4, 4, 3))
    write(tmp_path / "photos/a/1.png", (6, 5, 3))
    with pytest.raises(ValueError, match=r"2 sizes, such as 4x4 .* and 6x5 .*1.png\); give --image-size"):
        read_split("photos", tmp_path, "test")
    assert read_split("photos", tmp_path, "test", image_size=3).images[:].shape == (2, 3, 3, 3)


def test_more_than_eight_bits_are_refused(tmp_path: Path) -> None:
    (tmp_path / "deep/a").mkdir(parents=True)
    Image.fromarray(np.full((4, 4), 40000, np.uint16)).save(tmp_path / "deep/a/0.png")
    with pytest.raises(ValueError, match=r"0.png has more than 8 bits per channel; save it with 8"):
        read_split("deep", tmp_path, "test")


def test_folder_without_classes_is_refused(tmp_path: Path) -> None:
    (tmp_path / "empty/a").mkdir(parents=True)
    with pytest.raises(FileNotFoundError, match=r"empty is no dataset: expected labels.csv .* per class"):
        read_split("empty", tmp_path, "test")


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (("--dataset", "fashion_mist"), "'fashion_mist' is no name; did you mean fashion_mnist"),
        (("--dataset", "fashion_mist"), "for your own give a folder, in that of --data, which has"),
        (("--dataset", "here", "--data", "there"), f"there is no folder {Path('there/here')}"),
        (("--dataset", "mnist"), "--data must be given: the folder with mnist"),
        (("--dataset", "generators", "--download"), "--download has no effect with --dataset generators"),
    ],
)
def test_dataset_that_is_none_is_refused(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], words: tuple[str, ...], reason: str
) -> None:
    monkeypatch.chdir(Path(__file__).parents[1])
    required = ("--model", "small_cnn", "--checkpoint", "a.pt", "--explanation", "gradient")
    assert generate.main([*words, *required, "--attack", "topk", "--out", "a.h5"]) == 2
    assert reason in capsys.readouterr().err
