"""The page of the generators names every choice, and its experiment is valid."""

import re
import shlex
from pathlib import Path

import h5py
import numpy as np

import generators
import lensmetrics as lm
from generators import sweep, train
from generators.attacks import ATTACKS
from generators.datasets import DATASETS
from generators.explanations import EXPLANATIONS
from generators.methods import parameters
from generators.networks.models import ARCHITECTURES, MODELS
from generators.options import flag
from generators.regimes import REGIMES

PAGE = (Path(generators.__file__).parent / "README.md").read_text(encoding="utf-8")


def test_every_choice_and_every_parameter_is_named() -> None:
    words = set(re.findall(r"`([^`\n]+)`", PAGE))
    choices = {*ATTACKS, *EXPLANATIONS, *DATASETS, *MODELS, *ARCHITECTURES, *REGIMES}
    assert choices <= words
    assert {flag(name) for name in parameters()} <= words


def test_every_attack_and_explanation_has_a_row() -> None:
    rows = re.findall(r"^\| `(\w+)` \|", PAGE, re.MULTILINE)
    assert rows == [*EXPLANATIONS, *ATTACKS]


(EXPERIMENT,) = re.findall(r"```toml\n(.*?)```", PAGE, re.DOTALL)
FOLDER = Path(generators.__file__).parent


def test_the_experiment_is_valid(tmp_path: Path) -> None:
    path = tmp_path / "experiment.toml"
    path.write_text(EXPERIMENT, encoding="utf-8")
    items = sweep.read(path)
    assert [item.command for item in items] == ["train"] * 2 + ["generate"] * 22


def test_trainings_are_valid() -> None:
    lines = PAGE.replace("\\\n", " ").splitlines()
    commands = [shlex.split(line)[3:] for line in lines if "generators.train --" in line]
    pgd, natural, warm = (train.Request.parse(words) for words in commands)
    assert [request.settings().eps for request in (pgd, natural, warm)] == [0.1] * 3
    assert warm.init == natural.out


def test_radii_from_the_next_smaller_one_run_as_printed(tmp_path: Path) -> None:
    """The last block of the experiment, with few samples and steps, on the embedded images and networks."""
    with h5py.File(Path(lm.__file__).parent / "data" / "fashion_mnist-pgd-gradient-topk.h5") as file:
        arrays = {"x_test": file["image"][:12], "y_test": file["label"][:12].astype(np.uint8)}
    np.savez(tmp_path / "fashion_mnist.npz", allow_pickle=False, **arrays)
    (tmp_path / "maps").mkdir()
    (tmp_path / "maps" / "checkpoints").symlink_to(FOLDER / "weights")
    head, _, block = EXPERIMENT.rpartition("[[generate]]")
    text = f"{head[: head.index('[[train]]')]}[[generate]]{block}".replace("samples = 500", "samples = 2")
    assert "from_smaller_eps = true" in block
    path = tmp_path / "experiment.toml"
    path.write_text(f"{text}steps = 1\n", encoding="utf-8")
    assert sweep.main([str(path), "--data", str(tmp_path), "--out", str(tmp_path / "maps")]) == 0
    for training in ("natural", "pgd"):
        for metric, ending in (("kendall", ""), ("topk_intersection(k=100)", "-topk_intersection(k=100)")):
            files = [
                tmp_path / "maps" / f"{training}-gradient-topk-{eps}-strong{ending}.h5"
                for eps in (0.05, 0.1, 0.2)
            ]
            assert [lm.PairStore(path).attrs.get("start_eps") for path in files] == [None, 0.05, 0.1]
            left = lm.evaluate(files, [metric])[metric].to_numpy().reshape(3, 2)
            assert (np.diff(left, axis=0) <= 0).all()
