"""The command that makes the map of one image look like that of another one, and its picture."""

import io
import re
import shlex
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import torch
from PIL import Image

import generators
import lensmetrics as lm
from generators import manipulate
from generators.explanations import abs_sum, gradient
from generators.image_folders import read_pictures
from generators.networks.checkpoints import load
from generators.splits import Dataset

NATURAL = Path(generators.__file__).parent / "weights" / "fashion_mnist-small_cnn-natural.pt"
EMBEDDED = Path(lm.__file__).parent / "data" / "fashion_mnist-natural-gradient-random_sign.h5"
STEPS = ("--steps", "40", "--learning-rate", "0.003", "--output-weight", "1e4")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two images of two classes as files, one in colour and larger, and what the command makes of them."""
    folder = tmp_path_factory.mktemp("manipulate")
    with h5py.File(EMBEDDED) as file:
        images, labels = file["image"][:12], file["label"][:12]
    other = int(np.flatnonzero(labels != labels[0])[0])
    Image.fromarray(images[0]).save(folder / "one.png")
    Image.fromarray(images[other].repeat(2, 0).repeat(2, 1)).convert("RGB").save(folder / "other.png")
    (folder / "text.png").write_text("no image")
    Image.fromarray(np.zeros((30, 30), np.uint16)).save(folder / "deep.png")
    with redirect_stdout(io.StringIO()) as printed:
        assert command(folder, "one.png", "other.png", *STEPS, "--out", "made/file.h5") == 0
    (folder / "printed.txt").write_text(printed.getvalue())
    return folder


def command(folder: Path, image: str, target: str, *more: str) -> int:
    """Run the command in the folder."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        words = ["--dataset", "fashion_mnist", "--model", "small_cnn", "--device", "cpu"]
        words += ["--checkpoint", str(NATURAL), "--explanation", "gradient"]
        return manipulate.main([image, target, *words, *more])


def test_the_file_has_everything_that_the_picture_shows(folder: Path) -> None:
    path = folder / "made/file.h5"
    store = lm.PairStore(path)
    assert len(store) == 1
    assert store.name is not None
    assert store.name.tolist() == ["one.png"]
    assert store.attrs["attack"] == "target_map"
    assert store.attrs["target_image"] == "other.png"
    with h5py.File(path) as file:
        arrays: dict[str, Any] = {name: values[()] for name, values in file.items()}
    assert np.array_equal(arrays["image"][0], np.asarray(Image.open(folder / "one.png")))
    network, _ = load(NATURAL, dataset="fashion_mnist", model="small_cnn")
    other = np.asarray(
        Image.open(folder / "other.png").convert("L").resize((28, 28), Image.Resampling.BILINEAR)
    )
    inputs = torch.from_numpy(other[None, None].copy()).float() / 255
    label = network(inputs).argmax(1)
    assert store.attrs["target_label"] == label.item() != arrays["label"][0]
    target = abs_sum(gradient(network, inputs, label)).detach().numpy()
    np.testing.assert_allclose(arrays["target"], target, rtol=1e-3, atol=1e-6)
    outputs = network(torch.from_numpy(arrays["image_perturbed"])[:, None]).detach().numpy()
    np.testing.assert_allclose(arrays["output_perturbed"], outputs, rtol=1e-3, atol=1e-4)
    assert arrays["prediction_perturbed"] == arrays["prediction"] == arrays["label"]


def test_the_map_comes_closer_to_the_target(folder: Path) -> None:
    path = folder / "made/file.h5"
    names = ["pearson", "ssim_normalized", "mse_normalized"]
    (after,) = lm.evaluate(path, names, against="target")[names].to_numpy()
    store = lm.PairStore(path)
    aimed = store.pair(0, against="target")
    before = [getattr(lm, name)(lm.MapPair(aimed.unperturbed, store[0].unperturbed)) for name in names]
    assert after[0] > before[0] + 0.05
    assert after[1] > before[1]
    assert after[2] < before[2]
    assert lm.image_ssim(store[0]) > 0.5


def test_the_picture_and_its_sentences(folder: Path) -> None:
    with Image.open(folder / "made/file.png") as picture:
        width, height = picture.size
    assert 3 < width / height < 5
    out = (folder / "printed.txt").read_text()
    (after,) = lm.evaluate(folder / "made/file.h5", ["pearson"], against="target")["pearson"]
    assert f"after PCC {after:.3f}, SSIM " in out
    assert "image: mean change " in out
    assert out.endswith("made/file.png: the picture\n")


def test_an_unchanged_image_is_reported_without_change(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Although it is stored once as bytes and once in float32."""
    words = ("--steps", "1", "--map-weight", "0", "--output-weight", "0", "--out", "still.h5")
    assert command(folder, "one.png", "other.png", *words) == 0
    assert "image: mean change 0, largest 0, PCC 1.000, SSIM 1.000, MSE 0\n" in capsys.readouterr().out


def test_errors_have_digits_enough_to_tell_them_apart(folder: Path) -> None:
    path = folder / "made/file.h5"
    (error,) = lm.evaluate(path, ["mse_normalized"], against="target")["mse_normalized"]
    (change,) = lm.evaluate(path, ["image_mse"])["image_mse"]
    out = (folder / "printed.txt").read_text()
    assert f"MSE {error:.4g}\n" in out
    assert f"MSE {change:.4g}\n" in out


def test_an_interrupted_command_says_that_it_begins_anew(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupted(*given: Any, **more: Any) -> Any:
        raise KeyboardInterrupt

    words = (*STEPS, "--out", "again.h5")
    with monkeypatch.context() as patch:
        patch.setattr("generators.work.Work.columns", interrupted)
        assert command(folder, "one.png", "other.png", *words) == 130
    assert capsys.readouterr().err.endswith("interrupted; the same command begins anew\n")
    assert command(folder, "one.png", "other.png", *words) == 0


def test_the_recorded_command_makes_the_file_again(folder: Path) -> None:
    words = shlex.split(str(lm.PairStore(folder / "made/file.h5").attrs["command"]))
    assert words[:5] == ["python", "-m", "generators.manipulate", "one.png", "other.png"]
    asked = manipulate.Manipulation.parse(words[3:])
    assert asked.request.plan().settings["steps"] == 40
    assert asked.request.out == Path("made/file.h5")


@pytest.mark.parametrize(
    ("image", "target", "more", "message"),
    [
        ("none.png", "other.png", (), r"none\.png cannot be read as an image: .*No such file"),
        ("one.png", "text.png", (), r"text\.png cannot be read as an image"),
        ("one.png", "deep.png", (), r"deep\.png has more than 8 bits per channel; save it with 8"),
        ("one.png", "one.png", (), r"one\.png and one\.png are the same image to the network"),
        ("one.png", "other.png", ("--target-label", "10"), "the network has the classes 0 to 9"),
        ("one.png", "other.png", ("--out", "a.png"), r"--out a\.png must end in \.h5"),
        ("one.png", "other.png", ("--out", "made/file.h5"), r"made/file\.h5 exists already: delete it"),
        ("one.png", "other.png", ("--eps", "0.1"), "unrecognized arguments: --eps 0.1"),
        (
            "one.png",
            "other.png",
            ("--explanation", "lrp", "--n-points", "5"),
            "--n-points has no effect with",
        ),
        ("one.png", "other.png", ("--explanation", "captum:LayerGradCam"), "needs a gradient"),
    ],
)
def test_wrong_input_is_refused_in_one_sentence(
    folder: Path,
    image: str,
    target: str,
    more: tuple[str, ...],
    message: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    before = sorted(folder.rglob("*"))
    out = () if "--out" in more else ("--out", "new.h5")
    assert command(folder, image, target, *more, *out) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert re.search(message, error)
    assert sorted(folder.rglob("*")) == before


def test_an_image_is_shown_upright(folder: Path) -> None:
    image = Image.open(folder / "one.png")
    exif = Image.Exif()
    exif[0x0112] = 3  # of a camera held upside down
    image.rotate(180).save(folder / "down.png", exif=exif)
    words = ("--steps", "1", "--out", "turned.h5")
    assert command(folder, "down.png", "other.png", *words) == 0
    with h5py.File(folder / "turned.h5") as file:
        assert np.array_equal(file["image"][0], np.asarray(image))


def test_the_size_of_images_is_that_of_them_upright(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    image = Image.fromarray(np.arange(12, dtype=np.uint8).reshape(3, 4))
    image.save(tmp_path / "a.png", exif=exif)
    split, notes = read_pictures([tmp_path / "a.png"], Dataset(10), 0)
    assert split.shape == (4, 3)
    assert np.array_equal(split.images[:1][0], np.rot90(np.asarray(image), -1))
    assert notes == []


@pytest.mark.parametrize(
    ("name", "mode", "channels", "is_gray"),
    [("a.png", "RGBA", 1, True), ("a.png", "LA", 0, True), ("a.webp", "RGBA", 0, False)],
)
def test_pixels_that_are_not_opaque_are_put_on_white(
    tmp_path: Path, name: str, mode: str, channels: int, is_gray: bool
) -> None:
    image = Image.new(mode, (4, 4), "black")
    image.putalpha(Image.fromarray(np.array([[255, 128, 0, 0]] * 4, np.uint8)))
    image.save(tmp_path / name, lossless=True)
    split, notes = read_pictures([tmp_path / name], Dataset(10, channels), 4)
    shown = split.images[:1][0]
    assert shown.ndim == (2 if is_gray else 3)
    assert shown[0].reshape(4, -1)[:, 0].tolist() == [0, 127, 255, 255]
    assert notes == [f"{tmp_path / name} has pixels that are not opaque; they are put on white"]


def test_a_palette_may_have_a_transparent_colour(tmp_path: Path) -> None:
    image = Image.new("P", (2, 1))
    image.putpalette([10, 20, 30, 200, 0, 0])
    image.putpixel((1, 0), 1)
    image.save(tmp_path / "a.png", transparency=1)
    split, notes = read_pictures([tmp_path / "a.png"], Dataset(10, 3), 0)
    assert split.images[:1][0].tolist() == [[[10, 20, 30], [255, 255, 255]]]
    assert len(notes) == 1


def test_opaque_images_with_an_alpha_channel_stay_as_they_are(tmp_path: Path) -> None:
    Image.new("LA", (2, 2), (7, 255)).save(tmp_path / "a.png")
    split, notes = read_pictures([tmp_path / "a.png"], Dataset(10), 0)
    assert split.images[:1].tolist() == [[[7, 7], [7, 7]]]
    assert notes == []


def test_of_an_animation_the_first_frame_is_taken(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    frames = [Image.open(folder / "one.png"), Image.new("L", (28, 28))]
    frames[0].save(folder / "moving.gif", save_all=True, append_images=frames[1:])
    words = ("--steps", "1", "--out", "moving.h5")
    assert command(folder, "moving.gif", "other.png", *words) == 0
    assert capsys.readouterr().err.startswith("moving.gif has 2 frames; the first one is taken\n")
    with h5py.File(folder / "moving.h5") as file:
        assert np.array_equal(file["image"][0], np.asarray(frames[0]))


def test_another_class_of_the_same_image_can_be_the_target(folder: Path) -> None:
    label = lm.PairStore(folder / "made/file.h5").attrs["target_label"]
    words = ("--target-label", str(label), "--steps", "2", "--out", "same.h5")
    assert command(folder, "one.png", "one.png", *words) == 0
    assert lm.PairStore(folder / "same.h5").attrs["target_label"] == label
