"""The command sweep: grids, files that are kept or refused, and short versions of the studies."""

import itertools
import os
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image

import lensmetrics as lm
from benchmarks.studies.page import main as write_again
from benchmarks.studies.run import main as study
from generators import jobs, sweep, train
from generators.datasets import inputs_of
from generators.networks import checkpoints
from generators.networks.activations import prepare
from generators.networks.models import build
from generators.request import Request

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
SMALL = EXPERIMENT.replace('["gradient", "integrated_gradients"]', '"gradient"').replace("n_points = 3\n", "")
ONE = SMALL.replace('["natural", "pgd"]', '"natural"').replace('["random_sign", "topk"]', '"topk"')


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Ten classes; the images of each are bright in another row."""
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


@pytest.fixture(scope="module")
def made(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the files of EXPERIMENT, among them those of SMALL and ONE, which no test changes."""
    folder = tmp_path_factory.mktemp("made")
    shutil.copy(data / "fashion_mnist.npz", folder)
    assert sweep.main([str(experiment(folder))]) == 0
    return folder


@pytest.fixture
def copied(made: Path, tmp_path: Path) -> Path:
    """A copy of `made`, with the times of its files."""
    return shutil.copytree(made, tmp_path / "copied")


@pytest.fixture
def trained(made: Path, folder: Path) -> Path:
    """A folder with the checkpoints of EXPERIMENT."""
    shutil.copytree(made / "maps/checkpoints", folder / "maps/checkpoints")
    return folder


def test_lists_span_a_grid_and_parameters_go_where_they_have_an_effect(folder: Path) -> None:
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
    copied: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = experiment(copied)
    files = sorted((copied / "maps").glob("**/*.*"))
    assert len(files) == 10
    before = {file: file.stat().st_mtime_ns for file in files}
    lost = copied / "maps/pgd-gradient-topk-8_255.h5"
    lost.unlink()
    capsys.readouterr()
    assert sweep.main([str(path), "--dry-run"]) == 0
    assert capsys.readouterr().out.count("missing") == 1
    assert not lost.exists()
    assert sweep.main([str(path)]) == 0
    assert "9 of 10 files exist" in capsys.readouterr().err
    after = {file: file.stat().st_mtime_ns for file in files}
    assert {file for file in files if after[file] != before[file]} == {lost}
    scores = lm.evaluate(sorted((copied / "maps").glob("*.h5")), ["kendall"])
    assert scores.groupby(["training", "explanation", "attack"], observed=True).size().tolist() == [5] * 8


def test_files_made_with_other_settings_are_refused_before_any_work(
    copied: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (copied / "maps/natural-gradient-random_sign-8_255.h5").unlink()
    changed = EXPERIMENT.replace("steps = 3", "steps = 4")
    capsys.readouterr()
    assert sweep.main([str(experiment(copied, changed))]) == 2
    error = capsys.readouterr().err
    assert (
        "natural-gradient-topk-8_255.h5 was made with other settings: steps is 3 in the file, 4 given"
        in error
    )
    assert not (copied / "maps/natural-gradient-random_sign-8_255.h5").exists()


def test_files_are_kept_wherever_data_and_folders_move(
    data: Path, copied: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another data folder, another working folder with relative paths, another device option, batch size."""
    trained = {item.out for item in sweep.read(experiment(copied, SMALL)) if item.command == "train"}
    moved = SMALL.replace('data = "{folder}"', f'data = "{data}"').replace(
        "samples = 5", "samples = 5\nbatch_size = 2"
    )
    assert not any(item.missing(trained) for item in sweep.read(experiment(copied, moved)))
    monkeypatch.chdir(copied)
    relative = SMALL.replace("{folder}/maps", "maps").replace('data = "{folder}"', 'data = "."')
    relative = relative.replace('device = "cpu"\n', "")
    items = sweep.read(experiment(copied, relative))
    assert not any(item.missing({item.out for item in items}) for item in items)


WARM = """
out = "{folder}/maps"
[common]
dataset = "fashion_mnist"
data = "{folder}"
model = "small_cnn"
device = "cpu"
samples = 20
accuracy_samples = 4
[[train]]
training = "natural"
training_steps = 1
[[train]]
training = ["pgd", "ig_norm"]
init = "natural"
training_steps = 2
eps_ramp = 2
steps = 1
n_points = 1
inner_n_points = 1
jitter = true
"""


def test_trainings_begin_from_the_weights_of_an_earlier_one(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = experiment(folder, WARM)
    natural, *robust = sweep.read(path)
    assert [item.needs for item in robust] == [(natural.out,)] * 2
    assert ["--jitter" in item.arguments for item in robust] == [False, True]
    assert sweep.main([str(path)]) == 0
    for item in robust:
        assert checkpoints.identity(item.out)["init_sha256"] == checkpoints.sha256(natural.out)
    capsys.readouterr()
    assert sweep.main([str(path), "--dry-run"]) == 0
    assert "missing" not in capsys.readouterr().out
    other = folder / "maps/other.pt"
    natural.out.rename(other)
    assert sweep.main([str(path), "--dry-run"]) == 0  # only the natural one would be made again
    assert capsys.readouterr().out.count("missing") == 1
    torch.save({**torch.load(other, weights_only=True), "seed": 1}, other)
    assert sweep.main([str(experiment(folder, WARM.replace('init = "natural"', f'init = "{other}"')))]) == 2
    assert (
        f"init_sha256 is {checkpoints.identity(robust[0].out)['init_sha256']} in the"
        in capsys.readouterr().err
    )


def test_networks_of_one_regime_are_told_apart_by_what_differs(folder: Path) -> None:
    text = ONE.replace('"natural"\nexplanation', '["pgd-steps=1", "pgd-steps=2"]\nexplanation')
    text = text.replace('"natural"\nepochs = 1', '"pgd"\nsteps = [1, 2]\ntraining_steps = 1')
    path = experiment(folder, text)
    assert sweep.main([str(path)]) == 0
    assert sweep.main([str(path)]) == 0  # the files are the wanted ones
    stores = [lm.PairStore(item.out) for item in sweep.read(path) if item.command == "generate"]
    assert [store.attrs["training"] for store in stores] == ["pgd-steps=1", "pgd-steps=2"]
    assert len({store.attrs["checkpoint_sha256"] for store in stores}) == 2


@pytest.mark.parametrize(
    ("init", "sentence"),
    [
        (
            "ig_norm",
            "cnn-pgd.pt begins from {folder}/maps/checkpoints/fashion_mnist-small_cnn-ig_norm.pt, which",
        ),
        ("pgd", "small_cnn-pgd.pt, which is not made before it; let init name the training of an earlier"),
        ("none.pt", "needs none.pt, which does not exist and which no [[train]] makes"),
    ],
)
def test_trainings_do_not_begin_from_later_ones(
    folder: Path, capsys: pytest.CaptureFixture[str], init: str, sentence: str
) -> None:
    assert sweep.main([str(experiment(folder, WARM.replace('init = "natural"', f'init = "{init}"')))]) == 2
    assert sentence.format(folder=folder) in capsys.readouterr().err
    assert not (folder / "maps").exists()


def test_option_that_a_file_does_not_mention_had_its_default(
    trained: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """As if the option had been added after the file was made, for pair files and for checkpoints."""
    text = SMALL.replace('"topk"]', '"topk_lens"]').replace('["natural", "pgd"]', '"pgd"')
    assert sweep.main([str(experiment(trained, text))]) == 0
    path = trained / "maps/pgd-gradient-topk_lens-8_255.h5"
    checkpoint = trained / "maps/checkpoints/fashion_mnist-small_cnn-pgd.pt"
    content = torch.load(checkpoint, weights_only=True)
    del content["identity"]["learning_rate"], content["identity"]["steps"]
    content["identity"]["command_of_the_future"] = 1
    torch.save(content, checkpoint)
    for file in (trained / "maps").glob("*.h5"):
        with h5py.File(file, "r+") as pairs:
            pairs.attrs["checkpoint_sha256"] = checkpoints.sha256(checkpoint)
            pairs.attrs.pop("attack_w", None)
    plain = text.replace("learning_rate = 0.005\n", "")
    assert sweep.main([str(experiment(trained, plain)), "--dry-run"]) == 0
    assert "missing" not in capsys.readouterr().out
    for changed, sentence in (
        (
            text,
            f"{checkpoint} was made with other settings: learning_rate is 0.0001 in the file, 0.005 given",
        ),
        (
            plain.replace("epochs = 1", "epochs = 1\nsteps = 3"),
            f"{checkpoint} was made with other settings: steps is 20 in the file, 3 given",
        ),
        (
            plain.replace("samples = 5", "samples = 5\nattack_w = 2"),
            f"{path} was made with other settings: attack_w is 1 in the file, 2 given",
        ),
    ):
        assert sweep.main([str(experiment(trained, changed))]) == 2
        assert sentence in capsys.readouterr().err


@pytest.mark.parametrize(
    ("old", "new", "sentence"),
    [
        ("epochs = 1", "epochs = 2", "epochs is 1 in the file, 2 given"),
        ("batch_size = 10", "batch_size = 20", "batch_size is 10 in the file, 20 given"),
        ("epochs = 1", "epochs = 1\nsamples = 100", "samples is not set in the file, 100 given"),
        ("epochs = 1", "epochs = 1\nseed = 3", "seed is 0 in the file, 3 given"),
        ("samples = 5", "samples = 4", "samples is 5 in the file, 4 given"),
        ("samples = 5", "samples = 5\nseed = 3", "seed is 0 in the file, 3 given"),
        ("samples = 5", "samples = 5\nimage_size = 14", "shape is [28, 28] in the file, [14, 14] given"),
        ("samples = 5", "samples = 5\nstep_size = 0.02", "step_size is 0.01 in the file, 0.02 given"),
        ("samples = 5", "samples = 5\nrestarts = 2", "restarts is 1 in the file, 2 given"),
        (
            "samples = 5",
            'samples = 5\nstore_images = "all"',
            "store_images is not set in the file, all given",
        ),
        ("samples = 5", "samples = 5\nattack_k = 9", "attack_k is 100 in the file, 9 given"),
        (
            "samples = 5",
            'samples = 5\nacceptance = "spearman"',
            "acceptance is kendall in the file, s",
        ),
        ("samples = 5", 'samples = 5\ndtype = "float64"', "dtype is float32 in the file, float64 given"),
    ],
)
def test_changed_setting_is_named_with_both_values(
    made: Path, capsys: pytest.CaptureFixture[str], old: str, new: str, sentence: str
) -> None:
    assert old in ONE
    assert sweep.main([str(experiment(made, ONE.replace(old, new)))]) == 2
    assert sentence in capsys.readouterr().err


def test_checkpoint_of_an_early_version_is_recognized(
    copied: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """It has no identity, only the settings and the command that made it."""
    checkpoint = copied / "maps/checkpoints/fashion_mnist-small_cnn-natural.pt"
    content = torch.load(checkpoint, weights_only=True)
    del content["identity"]
    torch.save(content, checkpoint)
    with h5py.File(copied / "maps/natural-gradient-topk-8_255.h5", "r+") as pairs:
        pairs.attrs["checkpoint_sha256"] = checkpoints.sha256(checkpoint)
        pairs.attrs["command"] = "python -m generators.generate --of an --earlier version"
    assert sweep.main([str(experiment(copied, ONE)), "--dry-run"]) == 0
    assert "missing" not in capsys.readouterr().out
    changed = ONE.replace("epochs = 1", "epochs = 1\nsamples = 50")
    assert sweep.main([str(experiment(copied, changed))]) == 2
    assert "samples is not set in the file, 50 given" in capsys.readouterr().err


def test_file_of_another_origin_is_refused(copied: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A pair file and a state dict that only have the names of the files of the experiment."""
    path = copied / "maps/natural-gradient-topk-8_255.h5"
    path.unlink()
    with lm.PairWriter(path, n_samples=5, shape=(28, 28), attrs={"attack": "topk"}) as writer:
        writer.write(slice(0, 5), np.ones((5, 28, 28)), np.ones((5, 28, 28)))
    assert sweep.main([str(experiment(copied, ONE))]) == 2
    assert (
        "was made with other settings: dataset is not set in the file, fashion_mnist"
        in capsys.readouterr().err
    )
    path.unlink()
    checkpoint = copied / "maps/checkpoints/fashion_mnist-small_cnn-natural.pt"
    torch.save(torch.load(checkpoint, weights_only=True)["state_dict"], checkpoint)
    assert sweep.main([str(experiment(copied, ONE))]) == 2
    assert f"{checkpoint} was made with other settings: dataset is not set" in capsys.readouterr().err


def test_files_of_other_weights_are_refused(copied: Path, capsys: pytest.CaptureFixture[str]) -> None:
    checkpoint = copied / "maps/checkpoints/fashion_mnist-small_cnn-natural.pt"
    checkpoint.unlink()
    capsys.readouterr()
    assert sweep.main([str(experiment(copied, ONE.replace("epochs = 1", "epochs = 2")))]) == 2
    assert f"was made from other weights than {checkpoint} holds now" in capsys.readouterr().err
    assert not checkpoint.exists()


def test_region_is_one_value(folder: Path) -> None:
    text = EXPERIMENT.replace('"random_sign", "topk"', '"target_region"').replace(
        "samples = 5", "samples = 5\nregion = [2, 3, 10, 11]"
    )
    items = sweep.read(experiment(folder, text))
    assert len(items) == 2 + 4
    assert all("--region 2 3 10 11" in " ".join(item.arguments) for item in items[2:])


def test_one_failure_does_not_stop_the_others(
    trained: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Five correct samples of the network exist, sixty do not. Each worker imports the explanation."""
    (trained / "only_here.py").write_text("from generators.explanations import gradient\n", encoding="utf-8")
    monkeypatch.syspath_prepend(trained)
    text = ONE.replace("samples = 5", "samples = [61, 62, 5, 6]").replace(
        '"gradient"', '"only_here:gradient"'
    )
    assert sweep.main([str(experiment(trained, text)), "--jobs", "2"]) == 1
    error = capsys.readouterr().err
    assert error.count("failed: ") == 2
    assert "samples=61" in error
    made = {path.name for path in (trained / "maps").glob("*.h5")}
    assert made == {f"natural-only_here_gradient-topk-8_255-samples={n}.h5" for n in (5, 6)}


@pytest.mark.parametrize("n_jobs", [1, 2])
def test_interrupted_sweep_is_continued(trained: Path, n_jobs: int) -> None:
    """Files in progress keep their .part, and no other file is started."""
    samples = list(range(4, 12))
    path = experiment(trained, ONE.replace("samples = 5", f"samples = {samples}"))
    arguments = [sys.executable, "-m", "generators.sweep", str(path), "--jobs", str(n_jobs)]
    with subprocess.Popen(arguments, cwd=STUDIES.parents[1], stderr=subprocess.DEVNULL) as run:
        while not list((trained / "maps").glob("*.h5")):
            assert run.poll() is None, "the sweep ended before it could be stopped"
            time.sleep(0.01)
        run.terminate()
        n_made = len(list((trained / "maps").glob("*.h5")))
    assert run.returncode == 130
    assert len(list((trained / "maps").glob("*.h5"))) <= n_made + n_jobs < len(samples)
    assert sweep.main([str(path)]) == 0
    assert len(list((trained / "maps").glob("*.h5"))) == len(samples)
    assert not list((trained / "maps").glob("**/*.part"))


def test_strong_and_published_blocks_write_different_files(folder: Path) -> None:
    block = ONE[ONE.index("[[generate]]") :]
    items = sweep.read(experiment(folder, f"{ONE}\n{block}\nstrong = true\n"))
    published, strong = (item for item in items if item.command == "generate")
    assert strong.out.name == f"{published.out.stem}-strong.h5"


@pytest.mark.parametrize(
    ("old", "new", "sentence"),
    [
        ("[common]", "[common", "is not TOML"),
        ("[common]", "[all]", "unknown entry 'all'"),
        ('out = "{folder}/maps"', "", "must name the output folder"),
        ("[[generate]]", "[[generate]]\nsigma = 0.1", "sigma has no effect in any combination"),
        ("epochs = 1", "weight = 1.0", "weight has no effect in any combination of this [[train]]"),
        ('"topk"', '"topq"', "attack: 'topq' is no name; did you mean topk"),
        (
            '"pgd"]\nepochs',
            '"pdg"]\nepochs',
            "training: 'pdg' is no name; did you mean pgd? known: natural, pgd",
        ),
        ("[[train]]", "[train]", "'train' must look as in --help"),
        ("[common]", "[[common]]", "'common' must look as in --help"),
        ("samples = 5", "sample = 5", "[[generate]] has no option 'sample'"),
        ("samples = 5", "out = 5", "[[generate]] has no option 'out'"),
        ("samples = 5", "samples = []", "samples in [[generate]] is an empty list"),
        ("samples = 5", "samples = 5\nstrong = 1", "strong must be true or false, got 1"),
        ("samples = 5", "samples = false", "samples must have a value, got false"),
        ("samples = 5", 'samples = "five"', "argument --samples: must be an integer >= 1, got five"),
        ('data = "{folder}"', 'data = "nowhere"', "nowhere, the data folder of"),
        (
            'training = ["natural", "pgd"]\nexplanation',
            'training = "art"\nexplanation',
            "which no [[train]] makes",
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


def smaller(study: str, **values: int) -> str:
    """The text of a study with these values wherever it sets them, but for those of training."""
    text = (STUDIES / study).read_text(encoding="utf-8")
    for name, value in values.items():
        text, n = re.subn(rf"^{name} = \d+$", f"{name} = {value}", text, flags=re.MULTILINE)
        assert n, f"{study} does not set {name}"
    return text


def run_study(path: Path, data: Path) -> None:
    folders = {"--data": data, "--out": path.parent / "maps", "--results": path.parent}
    assert study([str(path), *(str(word) for pair in folders.items() for word in pair)]) == 0


@pytest.mark.parametrize("path", sorted(STUDIES.glob("*.toml")), ids=lambda path: path.stem)
def test_studies_are_valid(path: Path) -> None:
    for item in sweep.read(path):
        if item.command == "train":
            assert train.Request.parse(item.arguments).settings()
        else:
            assert Request.parse(item.arguments).plan()


def test_minute_of_the_fashion_mnist_study(data: Path, tmp_path: Path) -> None:
    text = smaller(
        "fashion_mnist.toml", samples=4, steps=2, n_points=3, inner_n_points=2, attack_n_points=2,
        accuracy_samples=20,
    )  # fmt: skip
    text = re.sub(r"(training = .*\nepochs = 1\nsamples = )4", r"\g<1>200", text).replace("0.001", "0.005")
    text = text.replace("[study]", '[study]\nagainst = ["natural", "pgd"]')
    path = tmp_path / "minute.toml"
    path.write_text(text, encoding="utf-8")
    run_study(path, data)
    table = pd.read_csv(tmp_path / "minute.csv")
    assert len(table) == 4 * 2 * 4
    facts = table.drop_duplicates("training").set_index("training")
    assert (facts["training_steps"] == 4).all()  # an epoch of 200 samples, 50 at a time
    assert facts["attribution_share"].notna().tolist() == [False, False, True, True]
    assert (facts["accuracy_samples"] == 20).all()
    compared = pd.read_csv(tmp_path / "minute-comparisons.csv")
    assert len(compared) == (3 + 2) * 2 * 4 * 6  # metrics
    assert set(table["training"]) == {"natural", "pgd", "ig_sum_norm", "art"}
    assert (table["n"] == 4).all()
    assert table["topk_intersection(k=100)"].between(0, 1).all()
    page = (tmp_path / "minute.md").read_text(encoding="utf-8")
    assert page.split("## Networks")[0].count("\n| ") == 1 + 32
    path.with_suffix(".md").unlink()
    write_again([str(path)])
    assert path.with_suffix(".md").read_text(encoding="utf-8") == page


def test_jobs_share_the_cores_that_this_process_may_use(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Recorded(Exception):
        pass

    def pool(n_jobs: int, *, initargs: tuple[int], **_: object) -> None:
        raise Recorded(n_jobs, *initargs)

    monkeypatch.setattr(jobs, "ProcessPoolExecutor", pool)
    monkeypatch.setattr(os, "cpu_count", lambda: 64)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(4)), raising=False)
    with pytest.raises(Recorded) as caught:
        sweep.main([str(experiment(folder)), "--jobs", "2"])
    assert caught.value.args == (2, 2)
    assert jobs.available_cores() == 4
    monkeypatch.delattr(os, "sched_getaffinity")
    assert jobs.available_cores() == 64


def test_minute_of_the_imagenet_study(tmp_path: Path) -> None:
    """Random weights and images with the predictions as labels, so that all samples are correct."""
    folder = tmp_path / "imagenet_val"
    folder.mkdir()
    torch.manual_seed(0)
    network = build("squeezenet1_1", 1000)
    images = np.random.default_rng(0).integers(0, 256, (3, 32, 32, 3), dtype=np.uint8)
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
    text = smaller("imagenet_strong.toml", samples=2, steps=2, n_points=3, attack_n_points=2, k=100)
    text = text.replace("data/squeezenet1_1_imagenet.npz", str(tmp_path / "weights.npz"))
    text = text.replace("[common]", "[common]\nimage_size = 32")
    path = tmp_path / "minute.toml"
    path.write_text(text, encoding="utf-8")
    run_study(path, folder)
    table = pd.read_csv(tmp_path / "minute.csv")
    assert len(table) == 5 + 4 + 2 * 2 + 4 + 2 + 2 + 2  # strong attacks write two files
    assert sorted(set((table["eps"] * 255).round(3))) == [0.5, 1, 2, 4, 8]
    assert table["kendall"].between(-1, 1).all()
    assert (tmp_path / "minute.png").stat().st_size > 10_000


def generated(folder: Path, entries: str, block: str = ONE) -> list[sweep.Item]:
    """The pair files of ONE with these entries."""
    items = sweep.read(experiment(folder, block.replace("samples = 5", f"samples = 5\n{entries}")))
    return [item for item in items if item.command == "generate"]


def option(item: sweep.Item, name: str) -> list[str]:
    """The values of an option in the command of a file."""
    words = list(item.arguments)
    if name not in words:
        return []
    after = words[words.index(name) + 1 :]
    return list(itertools.takewhile(lambda word: not word.startswith("--"), after))


@pytest.mark.parametrize(
    ("entry", "name", "expected"),
    [
        ("softening = 3", "--softening", {"": ["3"]}),
        ('softening = ["1:30"]', "--softening", {"": ["1:30"]}),
        ('softening = [[1, "1:30"]]', "--softening", {"": ["1", "1:30"]}),
        ('softening = [[1, 3], 10]', "--softening", {"-softening=1,3": ["1", "3"], "-softening=10": ["10"]}),
        (
            'acceptance = [["kendall"], ["spearman", "kendall"]]',
            "--acceptance",
            {"-acceptance=kendall": ["kendall"], "-acceptance=spearman,kendall": ["spearman", "kendall"]},
        ),
        ("restarts = [1, 2]", "--restarts", {"-restarts=1": ["1"], "-restarts=2": ["2"]}),
        ("strong = [false, true]", "--strong", {"": [], "-strong": []}),
    ],
)  # fmt: skip
def test_list_is_a_grid_unless_the_option_takes_lists(
    folder: Path, entry: str, name: str, expected: dict[str, list[str]]
) -> None:
    items = generated(folder, entry)
    values = {item.out.stem.removeprefix("natural-gradient-topk-8_255"): option(item, name) for item in items}
    assert values == expected
    assert [name in item.arguments for item in items] == [bool(v) or "strong" in k for k, v in values.items()]


def test_region_is_a_list_of_four_and_false_is_an_option(folder: Path) -> None:
    block = ONE.replace('"topk"', '"target_region"')
    (one,) = generated(folder, "region = [2, 3, 10, 11]", block)
    assert option(one, "--region") == ["2", "3", "10", "11"]
    two = generated(folder, "region = [[2, 3, 10, 11], [0, 0, 4, 4]]", block)
    assert [item.out.stem.partition("8_255-")[2] for item in two] == ["region=2,3,10,11", "region=0,0,4,4"]
    assert [option(item, "--region") for item in two] == [["2", "3", "10", "11"], ["0", "0", "4", "4"]]
    logits = generated(
        folder,
        "on_logits = [true, false]",
        ONE.replace('"topk"', '"target_map"').replace('eps = "8/255"\n', ""),
    )
    assert [item.out.stem for item in logits] == [
        f"natural-gradient-target_map-on_logits={word}" for word in ("true", "false")
    ]
    assert [item.arguments.count("--no-on-logits") for item in logits] == [0, 1]


def test_a_training_takes_the_options_of_its_regime(folder: Path) -> None:
    items = sweep.read(experiment(folder, EXPERIMENT.replace("epochs = 1", "epochs = 1\nsteps = [2, 3]")))
    trainings = [item for item in items if item.command == "train"]
    assert [("--steps" in item.arguments, item.out.stem) for item in trainings] == [
        (False, "fashion_mnist-small_cnn-natural"),
        (True, "fashion_mnist-small_cnn-pgd-steps=2"),
        (True, "fashion_mnist-small_cnn-pgd-steps=3"),
    ]


def test_combinations_that_differ_only_in_what_they_do_not_take_are_one(folder: Path) -> None:
    items = generated(folder, "softening = [[1], [3]]", ONE.replace('"topk"', '["random_sign", "topk"]'))
    assert [item.out.stem for item in items] == [
        f"natural-gradient-{name}" for name in
        ("random_sign-8_255", "topk-8_255-softening=1", "topk-8_255-softening=3")
    ]  # fmt: skip
