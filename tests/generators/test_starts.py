"""Attacks that start from images found in a smaller ball: the option --start, and chains in sweeps."""

import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import psutil
import pytest

import lensmetrics as lm
from generators import generate, sweep
from generators.disk import part_path

WEIGHTS = Path(generate.__file__).parent / "weights" / "fashion_mnist-small_cnn-natural.pt"
TOPK = "topk_intersection(k=100)"
EXPERIMENT = """
out = "{folder}/maps"

[[generate]]
dataset = "fashion_mnist"
data = "{folder}"
model = "small_cnn"
device = "cpu"
checkpoint = "{weights}"
explanation = "gradient"
attack = ["random_sign", "topk"]
acceptance = [["kendall", "topk_intersection(k=100)"]]
eps = [0.1, "1/100", 0.03]
from_smaller_eps = true
steps = 3
samples = 8
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The embedded images as a data set, and the files of the experiment."""
    folder = tmp_path_factory.mktemp("starts")
    embedded = Path(lm.__file__).parent / "data" / "fashion_mnist-natural-gradient-topk.h5"
    with h5py.File(embedded) as file:
        arrays: dict[str, Any] = {"x_test": file["image"][:12], "y_test": file["label"][:12].astype(np.uint8)}
    np.savez(folder / "fashion_mnist.npz", allow_pickle=False, **arrays)
    assert sweep.main([str(experiment(folder)), "--jobs", "1"]) == 0
    return folder


def experiment(folder: Path, old: str = "", new: str = "") -> Path:
    assert old in EXPERIMENT
    path = folder / "experiment.toml"
    text = EXPERIMENT.replace(old, new) if old else EXPERIMENT
    path.write_text(text.format(folder=folder, weights=WEIGHTS), encoding="utf-8")
    return path


def maps(folder: Path, eps: str, acceptance: str = "kendall", attack: str = "topk") -> Path:
    ending = "" if acceptance == "kendall" else f"-{acceptance}"
    return folder / "maps" / f"gradient-{attack}-{eps}{ending}.h5"


def run(folder: Path, start: Path, *more: str) -> int:
    """Attack from the images of a file, as the experiment does with one acceptance."""
    arguments = (
        *("--dataset", "fashion_mnist", "--data", str(folder), "--model", "small_cnn", "--device", "cpu"),
        *("--checkpoint", str(WEIGHTS), "--explanation", "gradient", "--attack", "topk", "--samples", "8"),
        *("--steps", "3", "--eps", "0.05", "--start", str(start), "--out", str(folder / "new.h5"), *more),
    )
    return generate.main(arguments)


@pytest.mark.parametrize("metric", ["kendall", TOPK])
def test_what_remains_never_rises_with_eps(folder: Path, metric: str) -> None:
    """Sample by sample, by the metric that chose the images; without starts, it rises for some."""
    files = [maps(folder, eps, metric) for eps in ("1_100", "0.03", "0.1")]
    scores = lm.evaluate(files, [metric])
    left = scores[metric].to_numpy().reshape(3, 8)
    assert (np.diff(left, axis=0) <= 0).all()
    assert left[0].mean() > left[2].mean() + 0.05
    for path, eps in zip(files, (0.01, 0.03, 0.1), strict=True):
        with h5py.File(path) as file:
            assert (file["n_accepted"][()] > 0).all()
            change = np.abs(file["image_perturbed"][()] - file["image"][()] / np.float32(255))
            assert change.max() <= eps + 1e-6


def test_files_record_where_they_started(folder: Path) -> None:
    recorded = ("start_eps", "start_eps_before", "start_acceptance")
    for eps, expected in (
        ("1_100", [None, None, None]),
        ("0.03", [0.01, None, ["kendall", TOPK]]),
        ("0.1", [0.03, 0.01, ["kendall", TOPK]]),
    ):
        for metric in ("kendall", TOPK):
            attrs = lm.PairStore(maps(folder, eps, metric)).attrs
            assert [attrs.get(name) for name in recorded] == expected
            assert attrs["acceptance"] == metric
            again = f"--acceptance kendall '{TOPK}'" in attrs["command"]  # both files, of a joint start
            assert again == (eps != "1_100")
    assert (
        not {"start_eps", "start_acceptance"}
        & lm.PairStore(maps(folder, "0.1", attack="random_sign")).attrs.keys()
    )
    table = lm.summarize(lm.evaluate([maps(folder, eps) for eps in ("1_100", "0.03", "0.1")], ["kendall"]))
    assert len(table) == 3


def test_finished_chain_is_kept_and_another_one_is_noticed(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert sweep.main([str(experiment(folder)), "--dry-run"]) == 0
    output = capsys.readouterr().out
    assert output.count("done   ") == 6
    assert output.count("--start") == 2
    assert sweep.main([str(experiment(folder, "from_smaller_eps = true\n"))]) == 2
    assert "start_eps is 0.03 in the file, not set given" in capsys.readouterr().err
    shorter = experiment(folder, 'eps = [0.1, "1/100", 0.03]', "eps = [0.1, 0.03]")
    assert sweep.main([str(shorter)]) == 2
    assert (
        f"{maps(folder, '0.03')} was made with other settings: start_eps is 0.01" in capsys.readouterr().err
    )
    maps(folder, "0.03").rename(folder / "aside.h5")
    try:  # as if it had been made again without its start: the next one still began in the ball of .01
        maps(folder, "0.03", TOPK).rename(folder / "aside2.h5")
        assert sweep.main([str(shorter)]) == 2
        error = capsys.readouterr().err
        assert f"{maps(folder, '0.1')} was made with other settings: start_eps_before is 0.01" in error
        assert sweep.main([str(experiment(folder)), "--dry-run"]) == 0
        assert [line[:7] for line in capsys.readouterr().out.splitlines()].count("missing") == 1
        (folder / "aside2.h5").rename(maps(folder, "0.03", TOPK))
        assert sweep.main([str(experiment(folder)), "--dry-run"]) == 0
        lines = [line for line in capsys.readouterr().out.splitlines() if line.startswith("missing")]
        assert [line.partition("  # ")[2] for line in lines] == [str(maps(folder, "0.03"))]
    finally:
        (folder / "aside.h5").rename(maps(folder, "0.03"))


def test_more_radii_and_a_lost_file_are_made_from_what_exists(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    kept = maps(folder, "0.1", TOPK).read_bytes()
    with h5py.File(maps(folder, "0.1")) as file:
        before = file["perturbed"][()]
    maps(folder, "0.1").unlink()
    assert sweep.main([str(experiment(folder, "0.03]", "0.03, 0.2]"))]) == 0
    assert "10 of 11 files exist" not in capsys.readouterr().err
    assert maps(folder, "0.1", TOPK).read_bytes() == kept
    with h5py.File(maps(folder, "0.1")) as file:
        np.testing.assert_allclose(file["perturbed"][()], before, rtol=1e-5, atol=1e-7)
    assert lm.PairStore(maps(folder, "0.2")).attrs["start_eps_before"] == [0.01, 0.03]


@pytest.mark.parametrize(
    ("eps", "more", "sentence"),
    [
        ("1_100", ("--steps", "4"), "steps is 3 in the file, 4 given; --start takes a file that differs in"),
        ("0.1", (), "has eps 0.1, which is not below 0.05"),
        ("1_100", ("--attack", "mass_center"), "attack is topk in the file, mass_center given"),
        ("1_100", ("--samples", "7"), "samples is 8 in the file, 7 given"),
        ("1_100", ("--acceptance", TOPK), f"acceptance is kendall in the file, {TOPK} given"),
        ("1_100", ("--acceptance", "kendall", "spearman"), "1_100-spearman.h5 does not exist; make it first"),
        ("0.03", (), f"start_acceptance is ['kendall', '{TOPK}'] in the file, not set given"),
        ("nothing", (), "nothing.h5 does not exist; make it first, with --store-images all"),
        ("unfinished", (), "unfinished.h5 is not finished; make it first"),
        ("poor", (), "has no perturbed images to start from; make it with --store-images all"),
        ("damaged", (), "the perturbed image of sample 3 in "),
        ("foreign", (), "has other samples than --data now gives; make it again, or remove --start"),
    ],
)
def test_file_from_which_no_attack_can_start_is_refused_before_any_work(
    folder: Path, capsys: pytest.CaptureFixture[str], eps: str, more: tuple[str, ...], sentence: str
) -> None:
    start = maps(folder, eps)
    if eps == "unfinished":
        part_path(start).touch()
    elif eps in ("poor", "foreign", "damaged"):
        start.write_bytes(maps(folder, "1_100").read_bytes())
        with h5py.File(start, "r+") as file:
            if eps == "poor":
                del file["image_perturbed"]
            elif eps == "damaged":
                file["image_perturbed"][3, 5, 5] = np.nan
            else:
                file["sample"][3] = 10
    assert run(folder, start, *more) == 2
    error = capsys.readouterr().err
    assert sentence in error
    assert error.count("\n") == 1
    assert not list(folder.glob("new.h5*"))


def test_start_is_refused_where_the_attack_takes_no_steps_in_a_ball(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = (
        *("--dataset", "fashion_mnist", "--data", str(folder), "--model", "small_cnn", "--device", "cpu"),
        *("--checkpoint", str(WEIGHTS), "--explanation", "gradient", "--attack", "random_sign"),
        *("--start", str(maps(folder, "1_100")), "--out", str(folder / "new.h5")),
    )
    assert generate.main(arguments) == 2
    assert "--start has no effect with --attack random_sign, which takes no steps" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("old", "new", "sentence"),
    [
        ('[0.1, "1/100", 0.03]', "0.1", "from_smaller_eps in [[generate]] needs several eps, each once"),
        ('[0.1, "1/100", 0.03]', '[0.1, "1/10"]', "needs several eps, each once"),
        ('"1/100"', '"small"', "eps in [[generate]] must be a number or a fraction"),
        ("= true", '= "yes"', "from_smaller_eps in [[generate]] must be true or false, got 'yes'"),
        ("= true", '= true\nstore_images = "unperturbed"', 'needs store_images = "all"'),
        ("= true", '= true\nstart = "a.h5"', "has no option 'start'; set from_smaller_eps = true"),
        ('["random_sign", "topk"]\nacceptance = [["kendall", "topk_intersection(k=100)"]]\n',
         '"random_sign"\n', "from_smaller_eps has no effect in any combination"),
    ],
)  # fmt: skip
def test_chain_without_a_meaning_is_refused(
    folder: Path, capsys: pytest.CaptureFixture[str], old: str, new: str, sentence: str
) -> None:
    assert sweep.main([str(experiment(folder, old, new)), "--dry-run"]) == 2
    assert sentence in capsys.readouterr().err


def test_killed_sweep_leaves_no_process_behind_and_is_continued(folder: Path, tmp_path: Path) -> None:
    """In the middle of two chains, which a second sweep continues at once."""
    path = tmp_path / "killed.toml"
    text = EXPERIMENT.replace('"random_sign"', '"random_walk"').replace("steps = 3", "steps = 10")
    text = text.replace("{folder}/maps", str(tmp_path)).replace("samples = 8", "samples = 8\nbatch_size = 2")
    path.write_text(text.format(folder=folder, weights=WEIGHTS), encoding="utf-8")
    command = [sys.executable, "-m", "generators.sweep", str(path), "--jobs", "2"]
    root = Path(generate.__file__).parents[1]
    with subprocess.Popen(command, cwd=root, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as run:
        while not list(tmp_path.glob("*.h5")):
            assert run.poll() is None, "the sweep ended before it could be killed"
            time.sleep(0.01)
        workers = psutil.Process(run.pid).children(recursive=True)
        run.kill()
    assert len(workers) >= 2
    assert not psutil.wait_procs(workers, timeout=10)[1]
    assert 0 < len(list(tmp_path.glob("*.h5"))) < 12
    assert sweep.main([str(path)]) == 0
    assert len(list(tmp_path.glob("*.h5"))) == 12
    assert not list(tmp_path.glob("*.part"))
    for attack in ("topk", "random_walk"):
        files = [tmp_path / f"gradient-{attack}-{eps}.h5" for eps in ("1_100", "0.03", "0.1")]
        left = lm.evaluate(files, ["kendall"])["kendall"].to_numpy().reshape(3, 8)
        assert (np.diff(left, axis=0) <= 0).all()
