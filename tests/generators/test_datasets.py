"""Datasets: every layout, resizing, and messages for what cannot be read."""

import csv
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image

from generators.datasets import DATASETS, inputs_of, read_split

torchvision = pytest.importorskip("torchvision")
functional = pytest.importorskip("torchvision.transforms.v2").functional


def pixels(seed: int, *shape: int) -> NDArray[np.uint8]:
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


def write_images(folder: Path, names: list[str], size: tuple[int, int] = (8, 8)) -> list[NDArray[np.uint8]]:
    """Write lossless images of height and width `size` and return their pixels."""
    folder.mkdir(parents=True, exist_ok=True)
    arrays = [pixels(len(name) + index, *size, 3) for index, name in enumerate(names)]
    for name, array in zip(names, arrays, strict=True):
        Image.fromarray(array).save(folder / name)
    return arrays


def write_csv(folder: Path, header: str, *rows: str) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "labels.csv").write_text("\n".join((header, *rows)), encoding="utf-8")


def expected_images(arrays: list[NDArray[np.uint8]], size: int) -> NDArray[np.uint8]:
    """Torchvision's own resizing and cropping of the same images."""
    resized = [functional.resize(Image.fromarray(array), [size]) for array in arrays]
    return np.stack([np.asarray(functional.center_crop(image, [size, size])) for image in resized])


@pytest.mark.parametrize(
    ("name", "file", "shape"),
    [
        ("mnist", "mnist.npz", (28, 28)),
        ("cifar10", "cifar10.npz", (32, 32, 3)),
        ("gtsrb", "gtsrb32_subset.npz", (32, 32, 3)),
        ("imagenet", "imagenet.npz", (5, 7, 3)),
    ],
)
def test_arrays_keep_their_size_and_order(
    tmp_path: Path, name: str, file: str, shape: tuple[int, ...]
) -> None:
    arrays = {"x_train": pixels(0, 4, *shape), "x_test": pixels(1, 6, *shape)}
    labels: dict[str, NDArray[Any]] = {"y_train": np.arange(4, dtype=np.uint8), "y_test": np.arange(6)[::-1]}
    np.savez(tmp_path / file, allow_pickle=False, **{**arrays, **labels, "other": np.zeros(3)})
    for split in ("train", "test"):
        found = read_split(name, tmp_path, split)
        np.testing.assert_array_equal(found.images[:], arrays[f"x_{split}"])
        np.testing.assert_array_equal(found.images[np.array([2, 0])], arrays[f"x_{split}"][[2, 0]])
        np.testing.assert_array_equal(found.labels, labels[f"y_{split}"])
        assert found.labels.dtype == np.int64
        assert found.shape == shape[:2]


def test_arrays_are_resized_on_request(tmp_path: Path) -> None:
    gray = pixels(0, 3, 28, 28)
    np.savez(tmp_path / "mnist.npz", allow_pickle=False, x_test=gray, y_test=np.zeros(3, int))
    found = read_split("mnist", tmp_path, "test", image_size=40)
    assert found.shape == (40, 40)
    np.testing.assert_array_equal(found.images[:], expected_images(list(gray), 40))
    same = read_split("mnist", tmp_path, "test", image_size=28)
    np.testing.assert_array_equal(same.images[:], gray)


@pytest.mark.parametrize(
    ("arrays", "sentence"),
    [
        ({"x_test": np.zeros((2, 28, 28), np.uint8)}, "y_test"),
        ({"x_test": np.zeros((2, 28, 28)), "y_test": np.zeros(2, int)}, "float64 (2, 28, 28)"),
        ({"x_test": np.zeros((2, 28, 28), np.uint8), "y_test": np.zeros(3, int)}, "and (3,)"),
        (
            {"x_test": np.zeros((2, 28, 28, 3), np.uint8), "y_test": np.zeros(2, int)},
            "got uint8 (2, 28, 28, 3)",
        ),
        ({"x_test": np.zeros((2, 28, 28), np.uint8), "y_test": np.array([0, 10])}, "from 0 to 9"),
        ({"x_test": np.zeros((2, 28, 28), np.uint8), "y_test": np.array([-1, 1])}, "from 0 to 9"),
        ({"x_test": np.zeros((2, 28, 28), np.uint8), "y_test": np.array([0.5, 1])}, "integers"),
        (b"PK\x03\x04 cut off", "cannot be read"),
        (b"", "cannot be read"),
    ],
)
def test_damaged_arrays_are_refused(
    tmp_path: Path, arrays: dict[str, NDArray[Any]] | bytes, sentence: str
) -> None:
    path = tmp_path / "mnist.npz"
    if isinstance(arrays, bytes):
        path.write_bytes(arrays)
    else:
        np.savez(path, allow_pickle=False, **arrays)
    with pytest.raises(ValueError, match=re.escape(sentence)):
        read_split("mnist", tmp_path, "test")


def test_inputs_are_channels_first_in_the_unit_interval() -> None:
    colour = pixels(0, 2, 4, 5, 3)
    found = inputs_of(colour, torch.float64, torch.device("cpu"))
    assert found.shape == (2, 3, 4, 5)
    np.testing.assert_allclose(found.numpy(), colour.transpose(0, 3, 1, 2) / 255, rtol=1e-15)
    gray = inputs_of(colour[..., 0], torch.float32, torch.device("cpu"))
    assert gray.shape == (2, 1, 4, 5)
    assert gray.dtype == torch.float32


@pytest.mark.parametrize("inner", ["imagenet", "imagenet_val", "."])
def test_folder_with_labels_is_for_testing(tmp_path: Path, inner: str) -> None:
    arrays = write_images(tmp_path / inner, ["b.png", "a.png"])
    write_csv(tmp_path / inner, "file,class_index,wnid", "b.png,7,n1", "a.png,999,n2")
    found = read_split("imagenet", tmp_path, "test", image_size=8)
    assert found.labels.tolist() == [7, 999]
    assert found.shape == (8, 8)
    np.testing.assert_array_equal(found.images[:], np.stack(arrays))
    np.testing.assert_array_equal(found.images[np.array([1])], arrays[1][None])
    assert found.images[2:].shape == (0, 8, 8, 3)
    with pytest.raises(ValueError, match="does not mark images for training"):
        read_split("imagenet", tmp_path, "train")


@pytest.mark.parametrize("column", ["split", "repo_split"])
def test_column_marks_the_split(tmp_path: Path, column: str) -> None:
    arrays = write_images(tmp_path / "flower17", ["1.png", "2.png", "3.png"])
    write_csv(
        tmp_path / "flower17", f"file,class_index,{column}", "1.png,4,test", "2.png,5,train", "3.png,6,test"
    )
    for split, rows, labels in (("test", [0, 2], [4, 6]), ("train", [1], [5])):
        found = read_split("flower17", tmp_path, split, image_size=8)
        np.testing.assert_array_equal(found.images[:], np.stack(arrays)[rows])
        assert found.labels.tolist() == labels


def test_column_without_the_split_is_refused(tmp_path: Path) -> None:
    write_csv(tmp_path, "file,class_index,split", "1.png,4,train")
    assert read_split("flower17", tmp_path, "train").labels.tolist() == [4]
    with pytest.raises(ValueError, match="no row has test or val in column split"):
        read_split("flower17", tmp_path, "test")


def test_class_folders_count_from_zero_in_the_order_of_names(tmp_path: Path) -> None:
    images = [write_images(tmp_path / f"cifar10/c{label}", ["x.png"])[0] for label in range(10)]
    (tmp_path / "cifar10/c3/notes.txt").write_text("no image")
    more = write_images(tmp_path / "cifar10/c3", ["y.JPG.png"])[0]
    found = read_split("cifar10", tmp_path, "test", image_size=8)
    assert found.labels.tolist() == [0, 1, 2, 3, 3, 4, 5, 6, 7, 8, 9]
    np.testing.assert_array_equal(found.images[:], np.stack([*images[:4], more, *images[4:]]))
    with pytest.raises(ValueError, match="does not mark images for training"):
        read_split("cifar10", tmp_path, "train")


@pytest.mark.parametrize("test_name", ["test", "val"])
def test_split_folders(tmp_path: Path, test_name: str) -> None:
    for label in range(10):
        write_images(tmp_path / f"train/c{label}", ["x.png", "y.png"])
    write_images(tmp_path / test_name, ["z.png"])
    write_csv(tmp_path / test_name, "file,class_index", "z.png,3")
    assert read_split("cifar10", tmp_path, "train").labels.tolist() == sorted([*range(10)] * 2)
    assert read_split("cifar10", tmp_path, "test").labels.tolist() == [3]


def test_missing_class_folder_is_refused(tmp_path: Path) -> None:
    for label in range(16):
        write_images(tmp_path / f"flower17/c{label}", ["x.png"])
    with pytest.raises(FileNotFoundError, match="17 class folders"):
        read_split("flower17", tmp_path, "test")


@pytest.mark.parametrize("shape", [(8, 8), (9, 30), (31, 12), (64, 50), (15, 16)])
def test_resizing_is_that_of_torchvision(tmp_path: Path, shape: tuple[int, int]) -> None:
    arrays = write_images(tmp_path, ["a.png"], shape)
    write_csv(tmp_path, "file,class_index", "a.png,0")
    found = read_split("imagenet", tmp_path, "test", image_size=15)
    np.testing.assert_array_equal(found.images[:], expected_images(arrays, 15))


def test_gray_and_transparent_images_get_the_channels_of_the_dataset(tmp_path: Path) -> None:
    gray = pixels(0, 8, 8)
    Image.fromarray(gray).save(tmp_path / "gray.png")
    Image.fromarray(np.dstack([gray] * 4)).save(tmp_path / "clear.png")
    write_csv(tmp_path, "file,class_index", "gray.png,0", "clear.png,1")
    colour = read_split("cifar10", tmp_path, "test", image_size=8).images[:]
    np.testing.assert_array_equal(colour, np.stack([np.dstack([gray] * 3)] * 2))
    assert read_split("mnist", tmp_path, "test").images[:].shape == (2, 28, 28)


def test_sizes_of_the_papers() -> None:
    sizes = {name: dataset.image_size for name, dataset in DATASETS.items()}
    assert sizes == {
        "fashion_mnist": 28,
        "mnist": 28,
        "gtsrb": 32,
        "cifar10": 32,
        "flower17": 128,
        "imagenet": 227,
    }


def test_damaged_image_is_named_when_it_is_read(tmp_path: Path) -> None:
    write_images(tmp_path, ["good.png", "cut.png"], (64, 64))
    (tmp_path / "cut.png").write_bytes((tmp_path / "cut.png").read_bytes()[:3000])
    (tmp_path / "text.png").write_text("no image")
    write_csv(tmp_path, "file,class_index", "good.png,0", "cut.png,1", "text.png,2", "none.png,3")
    split = read_split("imagenet", tmp_path, "test", image_size=64)
    assert split.images[:1].shape == (1, 64, 64, 3)
    for row, name in ((1, "cut.png"), (2, "text.png"), (3, "none.png")):
        with pytest.raises(ValueError, match=f"{name} cannot be read as an image"):
            split.images[row : row + 1]


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (b"file,label\na.png,0", "must have the columns file and class_index"),
        (b"file,class_index", "and at least one row"),
        (b"file,class_index\na.png,one", "every row must have"),
        (b"file,class_index\na.png", "every row must have"),
        (b"file,class_index\na.png,1000", "from 0 to 999"),
        (b"file,class_index\n\xff\xfe,1", "UTF-8"),
    ],
)
def test_bad_table_is_refused(tmp_path: Path, content: bytes, sentence: str) -> None:
    (tmp_path / "labels.csv").write_bytes(content)
    with pytest.raises(ValueError, match=sentence):
        read_split("imagenet", tmp_path, "test")


def write_idx(path: Path, array: NDArray[np.uint8]) -> None:
    sizes = b"".join(size.to_bytes(4, "big") for size in array.shape)
    path.write_bytes(bytes([0, 0, 8, array.ndim]) + sizes + array.tobytes())


@pytest.mark.parametrize(("name", "inner"), [("mnist", "MNIST"), ("fashion_mnist", "FashionMNIST")])
def test_idx_files_of_torchvision(tmp_path: Path, name: str, inner: str) -> None:
    raw = tmp_path / inner / "raw"
    raw.mkdir(parents=True)
    images = {"train": pixels(0, 5, 28, 28), "t10k": pixels(1, 3, 28, 28)}
    labels = {"train": np.arange(5, dtype=np.uint8), "t10k": np.arange(7, 10, dtype=np.uint8)}
    for part in images:
        write_idx(raw / f"{part}-images-idx3-ubyte", images[part])
        write_idx(raw / f"{part}-labels-idx1-ubyte", labels[part])
    for split, part in (("train", "train"), ("test", "t10k")):
        found = read_split(name, tmp_path, split)
        np.testing.assert_array_equal(found.images[:], images[part])
        assert found.labels.tolist() == labels[part].tolist()
        assert found.shape == (28, 28)
    (raw / "t10k-images-idx3-ubyte").write_bytes(b"\0\0\x08\x03")
    with pytest.raises(ValueError, match=f"cannot read {name}"):
        read_split(name, tmp_path, "test")


def test_gtsrb_of_torchvision(tmp_path: Path) -> None:
    base = tmp_path / "gtsrb"
    train = [write_images(base / f"GTSRB/Training/{label:05}", ["a.ppm"], (40, 36))[0] for label in (0, 12)]
    test = write_images(base / "GTSRB/Final_Test/Images", ["00000.ppm", "00001.ppm"], (20, 28))
    with (base / "GT-final_test.csv").open("w", newline="") as file:
        writer = csv.writer(file, delimiter=";")
        writer.writerows([["Filename", "ClassId"], ["00000.ppm", 42], ["00001.ppm", 3]])
    found = read_split("gtsrb", tmp_path, "test")
    assert found.labels.tolist() == [42, 3]
    np.testing.assert_array_equal(found.images[:], expected_images(test, 32))
    found = read_split("gtsrb", tmp_path, "train", image_size=16)
    np.testing.assert_array_equal(found.images[:], expected_images(train, 16))


def test_datasets_are_downloaded_only_on_request(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    images = pixels(0, 4, 32, 32, 3)

    class CIFAR10:
        def __init__(self, root: Path, *, train: bool, download: bool) -> None:
            if not download:
                raise RuntimeError("Dataset not found. You can use download=True to download it")
            self.rows = images[:3] if train else images[3:]

        def __len__(self) -> int:
            return len(self.rows)

        def __getitem__(self, index: int) -> tuple[Any, int]:
            return Image.fromarray(self.rows[index]), index

    monkeypatch.setattr(torchvision.datasets, "CIFAR10", CIFAR10)
    with pytest.raises(FileNotFoundError, match=r"expected cifar10\.npz .* or add --download"):
        read_split("cifar10", tmp_path, "test")
    found = read_split("cifar10", tmp_path, "train", download=True)
    np.testing.assert_array_equal(found.images[:], images[:3])
    assert found.labels.tolist() == [0, 1, 2]
    assert len(read_split("cifar10", tmp_path, "test", download=True).labels) == 1


@pytest.mark.parametrize("name", list(DATASETS))
def test_missing_dataset_gives_one_sentence(tmp_path: Path, name: str) -> None:
    with pytest.raises(FileNotFoundError, match=f"has no {name}: expected {name}.npz") as error:
        read_split(name, tmp_path, "test")
    assert ("--download" in str(error.value)) == (name not in ("imagenet", "flower17"))
    with pytest.raises(FileNotFoundError, match="has no"):
        read_split(name, tmp_path / "none", "test")
