"""Experiments: what they expand to, what they keep and refuse, and minute-sized versions of the studies."""

import os
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from PIL import Image

torch = pytest.importorskip("torch")
pytest.importorskip("torchvision")

import lensmetrics as lm  # noqa: E402
from generators import sweep  # noqa: E402
from generators.datasets import inputs_of  # noqa: E402
from generators.networks.models import build, prepare  # noqa: E402

STUDIES = Path(sweep.__file__).parents[1] / "benchmarks" / "studies"
EXPERIMENT = """
out = "{folder}/maps"

[common]
dataset = "fashion_mnist"
data = "{folder}"
model = "small_cnn"
device = "cpu"

[[train]]
training = ["natural", "pgd"]
epochs = 1
batch_size = 10
learning_rate = 0.005

[[generate]]
training = ["natural", "pgd"]
explanation = ["gradient", "integrated_gradients"]
attack = ["random_sign", "topk"]
eps = "8/255"
steps = 3
n_points = 3
samples = 5
"""


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Ten classes, each bright in a row of its own."""
    folder = tmp_path_factory.mktemp("data")
    random = np.random.default_rng(0)
    arrays: dict[str, Any] = {}
    for split, n in (("train", 200), ("test", 60)):
        labels = np.arange(n) % 10
        images = random.integers(0, 60, (n, 28, 28))
        for image, label in zip(images, labels, strict=True):
            image[2 * label + 4 : 2 * label + 6] += 190
        arrays |= {f"x_{split}": images.astype(np.uint8), f"y_{split}": labels.astype(np.uint8)}
    np.savez(folder / "fashion_mnist.npz", allow_pickle=False, **arrays)
    return folder


def experiment(folder: Path, text: str = EXPERIMENT) -> Path:
    path = folder / "experiment.toml"
    path.write_text(text.format(folder=folder), encoding="utf-8")
    return path


@pytest.fixture
def folder(data: Path, tmp_path: Path) -> Path:
    shutil.copy(data / "fashion_mnist.npz", tmp_path)
    return tmp_path


def test_lists_span_a_grid_and_parameters_go_where_they_mean_something(folder: Path) -> None:
    items = sweep.read(experiment(folder))
    assert [item.command for item in items] == ["train"] * 2 + ["generate"] * 8
    assert [item.out.name for item in items[:2]] == [
        "fashion_mnist-small_cnn-natural.pt",
        "fashion_mnist-small_cnn-pgd.pt",
    ]
    by_name = {item.out.stem: item.arguments for item in items[2:]}
    assert by_name.keys() == {
        f"{training}-{explanation}-{attack}-8_255"
        for training in ("natural", "pgd")
        for explanation in ("gradient", "integrated_gradients")
        for attack in ("random_sign", "topk")
    }
    for name, arguments in by_name.items():
        assert ("--steps" in arguments) == ("topk" in name)
        assert ("--n-points" in arguments) == ("integrated" in name)
        checkpoint = arguments[arguments.index("--checkpoint") + 1]
        assert checkpoint == str(folder / f"maps/checkpoints/fashion_mnist-small_cnn-{name.split('-')[0]}.pt")


def test_a_sweep_makes_what_is_missing_and_only_that(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = experiment(folder)
    assert sweep.main([str(path)]) == 0
    files = sorted((folder / "maps").glob("**/*.*"))
    assert len(files) == 10
    before = {file: file.stat().st_mtime_ns for file in files}
    lost = folder / "maps/pgd-gradient-topk-8_255.h5"
    lost.unlink()
    capsys.readouterr()
    assert sweep.main([str(path), "--dry-run"]) == 0
    assert capsys.readouterr().out.count("missing") == 1
    assert not lost.exists()
    assert sweep.main([str(path)]) == 0
    assert "9 of 10 files are there" in capsys.readouterr().err
    after = {file: file.stat().st_mtime_ns for file in files}
    assert {file for file in files if after[file] != before[file]} == {lost}
    scores = lm.evaluate(sorted((folder / "maps").glob("*.h5")), ["kendall"])
    assert scores.groupby(["training", "explanation", "attack"], observed=True).size().tolist() == [5] * 8


def test_files_of_another_command_are_refused_before_any_work(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    text = EXPERIMENT.replace('"integrated_gradients"', '"input_x_gradient"').replace("n_points = 3\n", "")
    assert sweep.main([str(experiment(folder, text))]) == 0
    (folder / "maps/natural-gradient-random_sign-8_255.h5").unlink()
    changed = text.replace("steps = 3", "steps = 4")
    capsys.readouterr()
    assert sweep.main([str(experiment(folder, changed))]) == 2
    error = capsys.readouterr().err
    assert "natural-gradient-topk-8_255.h5 was made by another command" in error
    assert "--steps 3" in error
    assert "--steps 4" in error
    assert not (folder / "maps/natural-gradient-random_sign-8_255.h5").exists()


def test_files_of_other_weights_are_refused(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text = EXPERIMENT.replace('["integrated_gradients"]', '["gradient"]').replace(
        '"natural", "pgd"', '"natural"'
    )
    assert sweep.main([str(experiment(folder, text))]) == 0
    checkpoint = folder / "maps/checkpoints/fashion_mnist-small_cnn-natural.pt"
    checkpoint.unlink()
    capsys.readouterr()
    assert sweep.main([str(experiment(folder, text.replace("epochs = 1", "epochs = 2")))]) == 2
    assert f"was made from other weights than {checkpoint} holds now" in capsys.readouterr().err
    assert not checkpoint.exists()


def test_region_is_one_value(folder: Path) -> None:
    text = EXPERIMENT.replace('"random_sign", "topk"', '"target_region"').replace(
        "samples = 5", "samples = 5\nregion = [2, 3, 10, 11]"
    )
    items = sweep.read(experiment(folder, text))
    assert len(items) == 2 + 4
    assert all("--region 2 3 10 11" in " ".join(item.arguments) for item in items[2:])


def test_one_failure_does_not_stop_the_others(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Five correct samples of the network exist, sixty do not."""
    text = EXPERIMENT.replace("samples = 5", "samples = [5, 61]").replace(
        'explanation = ["gradient", "integrated_gradients"]', 'explanation = "gradient"'
    )
    text = text.replace("n_points = 3\n", "").replace('attack = ["random_sign", "topk"]', 'attack = "topk"')
    assert sweep.main([str(experiment(folder, text)), "--jobs", "2"]) == 1
    error = capsys.readouterr().err
    assert error.count("failed: ") == 2
    assert "samples=61" in error
    made = {path.name for path in (folder / "maps").glob("*.h5")}
    assert made == {f"{t}-gradient-topk-8_255-samples=5.h5" for t in ("natural", "pgd")}


@pytest.mark.parametrize("jobs", [1, 2])
def test_interrupted_sweep_goes_on(folder: Path, jobs: int) -> None:
    """What is in work when it is stopped keeps its .part; nothing else is begun."""
    path = experiment(folder, EXPERIMENT.replace("samples = 5", "samples = [5, 6, 7]"))
    arguments = [sys.executable, "-m", "generators.sweep", str(path), "--jobs", str(jobs)]
    with subprocess.Popen(arguments, cwd=STUDIES.parents[1], stderr=subprocess.DEVNULL) as run:
        while not list((folder / "maps").glob("*.h5")):
            assert run.poll() is None, "the sweep ended before it could be stopped"
            time.sleep(0.01)
        run.terminate()
        n_made = len(list((folder / "maps").glob("*.h5")))
    assert run.returncode == 130
    assert len(list((folder / "maps").glob("*.h5"))) <= n_made + jobs < 24
    assert sweep.main([str(path)]) == 0
    assert len(list((folder / "maps").glob("*.h5"))) == 24
    assert not list((folder / "maps").glob("**/*.part"))


@pytest.mark.parametrize(
    ("old", "new", "sentence"),
    [
        ("[common]", "[common", "is not TOML"),
        ("[common]", "[all]", "unknown entry 'all'"),
        ('out = "{folder}/maps"', "", "must say where the files go"),
        ("[[generate]]", "[[generate]]\nsigma = 0.1", "sigma means nothing for any combination"),
        ('"topk"', '"topq"', "attack is 'topq'"),
        ("[[train]]", "[train]", "'train' must look as in --help"),
        ("[common]", "[[common]]", "'common' must look as in --help"),
        ("samples = 5", "sample = 5", "'sample' is no option of [[generate]]"),
        ("samples = 5", "out = 5", "'out' is no option of [[generate]]"),
        ("samples = 5", "samples = []", "samples is an empty list"),
        ("samples = 5", 'samples = "five"', "argument --samples: must be a whole number from 1 on, got five"),
        ('data = "{folder}"', 'data = "nowhere"', "nowhere, the data folder of"),
        (
            'training = ["natural", "pgd"]\nexplanation',
            'training = "art"\nexplanation',
            "no [[train]] makes it",
        ),
        ("steps = 3", "step_size = -1", "--step-size must be above 0"),
        ('explanation = ["gradient"', 'explanation = ["gradient", "gradient"', "would both be written to"),
    ],
)
def test_bad_experiments_are_refused_before_any_work(
    folder: Path, capsys: pytest.CaptureFixture[str], old: str, new: str, sentence: str
) -> None:
    assert old in EXPERIMENT
    assert sweep.main([str(experiment(folder, EXPERIMENT.replace(old, new)))]) == 2
    assert sentence in capsys.readouterr().err
    assert not (folder / "maps").exists()


# --- the studies, minute-sized


def smaller(study: str, **values: int) -> str:
    """The text of a study with these values wherever it sets them, but for those of training."""
    text = (STUDIES / study).read_text(encoding="utf-8")
    for name, value in values.items():
        text, n = re.subn(rf"^{name} = \d+$", f"{name} = {value}", text, flags=re.MULTILINE)
        assert n, f"{study} does not set {name}"
    return text


def run_study(path: Path, *more: str) -> None:
    command = [sys.executable, "-m", "benchmarks.studies.run", str(path), *more]
    subprocess.run(command, check=True, capture_output=True, cwd=STUDIES.parents[1])


def test_minute_of_the_fashion_mnist_study(data: Path, tmp_path: Path) -> None:
    text = smaller(
        "fashion_mnist.toml", samples=4, steps=2, n_points=3, inner_n_points=2, attack_n_points=2,
        accuracy_samples=20,
    )  # fmt: skip
    text = re.sub(r"(training = .*\nepochs = 1\nsamples = )4", r"\g<1>200", text).replace("0.001", "0.005")
    path = tmp_path / "minute.toml"
    path.write_text(text, encoding="utf-8")
    run_study(path, "--data", str(data), "--out", str(tmp_path / "maps"), "--results", str(tmp_path))
    table = pd.read_csv(tmp_path / "minute.csv")
    assert len(table) == 4 * 2 * 4
    assert set(table["training"]) == {"natural", "pgd", "ig_sum_norm", "art"}
    assert (table["n"] == 4).all()
    assert table["topk_intersection(k=100)"].between(0, 1).all()
    assert (tmp_path / "minute.md").read_text(encoding="utf-8").count("\n| ") == 1 + 32


def test_jobs_share_the_cores_that_this_process_may_use(monkeypatch: pytest.MonkeyPatch) -> None:
    class Recorded(Exception):
        pass

    def pool(jobs: int, *, initargs: tuple[int], **_: object) -> None:
        raise Recorded(jobs, *initargs)

    monkeypatch.setattr(sweep, "ProcessPoolExecutor", pool)
    monkeypatch.setattr(os, "cpu_count", lambda: 64)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(4)), raising=False)
    items = [sweep.Item("train", (), Path(name)) for name in "ab"]
    with pytest.raises(Recorded) as caught:
        list(sweep._made(items, 2))
    assert caught.value.args == (2, 2)


def test_minute_of_the_imagenet_study(tmp_path: Path) -> None:
    """Random weights and images; the labels are what the network says, so that all samples are correct."""
    folder = tmp_path / "imagenet_val"
    folder.mkdir()
    torch.manual_seed(0)
    network = build("squeezenet1_1", 1000)
    images = np.random.default_rng(0).integers(0, 256, (3, 64, 64, 3), dtype=np.uint8)
    predictions = prepare(network)(inputs_of(images, torch.float32, torch.device("cpu"))).argmax(1).tolist()
    rows = ["file,class_index"]
    for i, image in enumerate(images):
        Image.fromarray(image).save(folder / f"{i}.png")
        rows.append(f"{i}.png,{predictions[i]}")
    (folder / "labels.csv").write_text("\n".join(rows) + "\n", encoding="utf-8")
    weights = {name.removeprefix("network."): w.numpy() for name, w in network.state_dict().items()}
    np.savez(
        tmp_path / "weights.npz",
        allow_pickle=False,
        **{n: w for n, w in weights.items() if "normalize" not in n},
    )
    text = smaller("imagenet.toml", samples=2, steps=2, n_points=3, attack_n_points=2, k=100)
    text = text.replace("data/squeezenet1_1_imagenet.npz", str(tmp_path / "weights.npz"))
    text = text.replace("[common]", "[common]\nimage_size = 64")
    path = tmp_path / "minute.toml"
    path.write_text(text, encoding="utf-8")
    run_study(path, "--data", str(folder), "--out", str(tmp_path / "maps"), "--results", str(tmp_path))
    table = pd.read_csv(tmp_path / "minute.csv")
    assert len(table) == 2 * 3 * 4
    assert sorted(set((table["eps"] * 255).round(3))) == [1, 2, 4, 8]
    assert table["kendall"].between(-1, 1).all()
    assert (tmp_path / "minute.png").stat().st_size > 10_000
