"""What makes trainings short: a warm start, a number of steps, a ramp, jitter; what is recorded of them."""

import math
import shlex
from pathlib import Path
from typing import Any

import pytest
import torch

from generators import train
from generators.commands import INTERRUPTED
from generators.identity import differences
from generators.networks import checkpoints
from generators.regimes import REGIMES
from tests.generators.trainings import (
    BRIEF,
    assert_same_weights,
    interrupt_in_epoch,
    load_checkpoint,
    run_train,
    write_datasets,
)

STEPS = ("--training-steps", "5")  # of 2 batches an epoch
FEW = ("--samples", "40")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the data and natural.pt, which was trained for three steps."""
    path = tmp_path_factory.mktemp("short")
    write_datasets(path)
    assert run_train(path, "natural.pt", *FEW, length=("--training-steps", "3")) == 0
    return path


def test_a_number_of_steps_may_end_within_an_epoch(folder: Path) -> None:
    _, facts = load_checkpoint(folder / "natural.pt")
    assert facts["epochs"] is None
    assert facts["identity"]["training_steps"] == 3
    assert facts["attribution_share"] == [0, 0]
    assert run_train(folder, "epoch.pt", *FEW, length=("--epochs", "1")) == 0
    assert run_train(folder, "steps.pt", *FEW, length=("--training-steps", "2")) == 0
    assert_same_weights(folder / "epoch.pt", folder / "steps.pt")


SHORT = {
    "warm": ("--init", "natural.pt"),
    "rough": ("--initial-weights", "rar", "--optimizer", "sgd", "--momentum", "0.8"),
}


@pytest.mark.parametrize("name", SHORT)
def test_interrupted_training_ends_like_an_uninterrupted_one(
    folder: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """With every option, interrupted inside the ramp, between two rates, and in the second epoch."""
    monkeypatch.chdir(folder)
    more = ("--training", "ig_sum_norm", *FEW, *BRIEF, "--jitter", "--eps-ramp", "4", *SHORT[name])
    more = (*more, "--learning-rate", "0.001,0.0001@2,0.00001@4")
    with monkeypatch.context() as patch:
        interrupt_in_epoch(patch, "ig_sum_norm", 3)
        patch.setattr(train, "SAVE_EVERY", -1)  # after each batch
        assert run_train(folder, f"half-{name}.pt", *more, length=STEPS) == INTERRUPTED
    state = torch.load(folder / f"half-{name}.pt.part", weights_only=True)
    assert (state["n_epochs"], state["n_done"]) == (1, 20)
    with monkeypatch.context() as patch:
        interrupt_in_epoch(patch, "ig_sum_norm", 2)  # only two steps are left
        assert run_train(folder, f"half-{name}.pt", *more, length=STEPS) == 0
    assert run_train(folder, f"whole-{name}.pt", *more, length=STEPS) == 0
    assert_same_weights(folder / f"half-{name}.pt", folder / f"whole-{name}.pt")
    half, whole = (load_checkpoint(folder / f"{part}-{name}.pt")[1] for part in ("half", "whole"))
    assert half["settings"]["jitter"] is True
    assert half["attribution_share"] == whole["attribution_share"]
    assert len(half["attribution_share"]) == 3
    words = shlex.split(half["command"])[3:]
    assert train.Request.parse(words).identity() == half["identity"]


def test_unfinished_training_of_an_older_version_is_continued(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        interrupt_in_epoch(patch, "pgd", 3)
        assert run_train(folder, "older.pt", *FEW, *BRIEF[:4], "--training", "pgd") == INTERRUPTED
    part = folder / "older.pt.part"
    state = torch.load(part, weights_only=True)
    for name in ("losses", "scheduler"):
        del state[name]
    new = (
        "training_steps",
        "initial_weights",
        "optimizer",
        "momentum",
        "weight_decay",
        "eps_ramp",
        "init_sha256",
    )
    for name in new:
        del state["options"][name]
    for group in state["optimizer"]["param_groups"]:
        del group["initial_lr"]
    state["n_epochs"], state["n_done"] = 0, 40  # it counted an epoch after the state was saved
    torch.save(state, part)
    with monkeypatch.context() as patch:
        interrupt_in_epoch(patch, "pgd", 2)
        assert run_train(folder, "older.pt", *FEW, *BRIEF[:4], "--training", "pgd") == 0
    assert run_train(folder, "older-whole.pt", *FEW, *BRIEF[:4], "--training", "pgd") == 0
    assert_same_weights(folder / "older.pt", folder / "older-whole.pt")
    unknown, known = load_checkpoint(folder / "older.pt")[1]["attribution_share"]
    assert math.isnan(unknown)
    assert known == 0


def test_checkpoint_of_an_older_version_counts_as_what_it_was_made_with() -> None:
    words = [
        "--dataset",
        "gtsrb",
        "--data",
        "d",
        "--model",
        "rar_cnn",
        "--training",
        "natural",
        "--out",
        "x.pt",
    ]
    wanted = train.Request.parse([*words, "--optimizer", "sgd"])
    older = {"dataset": "gtsrb", "model": "rar_cnn", "training": "natural", "learning_rate": 1e-4}
    assert differences(older, wanted.identity(), wanted.defaults()) == [
        "initial_weights is torch in the file, rar given",
        "optimizer is adam in the file, sgd given",
        "learning_rate is 0.0001 in the file, 0.001,0.01@500,0.001@60000 given",
        "momentum is not set in the file, 0.9 given",
        "weight_decay is not set in the file, 0.0002 given",
    ]
    same = train.Request.parse([*words, "--initial-weights", "torch"])
    assert differences(older, same.identity(), same.defaults()) == []


@pytest.mark.parametrize("training", ["natural", "pgd"])
def test_early_checkpoint_is_what_its_recorded_command_asks_for(training: str) -> None:
    """Those of the repository say batch size and learning rate in their command alone."""
    path = Path(train.__file__).parent / "weights" / f"fashion_mnist-small_cnn-{training}.pt"
    command = torch.load(path, weights_only=True)["command"]
    asked = train.Request.parse(shlex.split(command)[3:])
    assert (asked.batch_size, asked.learning_rate) == (100, 0.001)
    assert differences(checkpoints.identity(path), asked.identity(), asked.defaults()) == []


def test_training_begins_from_the_weights_of_another_checkpoint(folder: Path) -> None:
    still = ("--learning-rate", "1e-12", "--init", str(folder / "natural.pt"))
    assert run_train(folder, "warm.pt", *FEW, *still, length=("--training-steps", "1")) == 0
    (network, facts), (begun, _) = (load_checkpoint(folder / name) for name in ("warm.pt", "natural.pt"))
    for one, other in zip(network.parameters(), begun.parameters(), strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=1e-6)
    assert facts["identity"]["init_sha256"] == checkpoints.sha256(folder / "natural.pt")
    assert facts["identity"]["initial_weights"] is None
    assert f"--init {folder / 'natural.pt'}" in facts["command"]


@pytest.mark.parametrize(
    ("more", "sentence"),
    [
        (("--init", "nowhere.pt"), "nowhere.pt, which --init names, does not exist"),
        (("--init", "fashion_mnist.npz"), "fashion_mnist.npz is not a checkpoint of generators.train"),
        (
            ("--init", "natural.pt", "--model", "rar_cnn"),
            "natural.pt was trained with model small_cnn, not rar_cnn",
        ),
        (("--init", "natural.pt", "--initial-weights", "rar"), "--initial-weights has no effect with --init"),
        (("--training-steps", "4"), "--epochs and --training-steps both say how long to train"),
        (("--momentum", "0.5"), "--momentum has no effect with --optimizer adam; use --optimizer sgd"),
        (("--optimizer", "sgd", "--momentum", "1"), "--momentum must be at least 0 and below 1, got 1.0"),
        (
            ("--optimizer", "sgd", "--weight-decay", "-1"),
            "--weight-decay must be at least 0 and finite, got -1.0",
        ),
        (("--learning-rate", "0.1,0@5"), "--learning-rate must be above 0 and finite, got 0.0"),
        (("--eps-ramp", "9"), "--eps-ramp has no effect with --training natural"),
        (
            ("--training", "pgd", *BRIEF[:4], *FEW, "--eps-ramp", "5"),
            "--eps-ramp 5 must be at most 4, the batches of this training",
        ),
        (("--jitter",), "--jitter has no effect with --training natural"),
    ],
)
def test_bad_input_gets_one_sentence(
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    more: tuple[str, ...],
    sentence: str,
) -> None:
    monkeypatch.chdir(folder)
    assert run_train(folder, "bad.pt", *more) == 2
    output = capsys.readouterr().err
    assert output.startswith("error: ")
    assert sentence in output
    assert output.count("\n") == 1
    assert not list(folder.glob("*bad.pt*"))


def test_ball_grows_in_the_ramp(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[tuple[float, float]] = []

    def watched(model: Any, images: Any, labels: Any, settings: Any, random: Any) -> Any:
        seen.append((settings.eps, settings.step_size))
        yield from REGIMES["natural"](model, images, labels, settings, random)

    monkeypatch.setitem(REGIMES, "pgd", watched)
    more = ("--training", "pgd", "--eps", "0.2", "--step-size", "0.1", "--eps-ramp", "4", *FEW)
    assert run_train(folder, "ramp.pt", *more, length=STEPS) == 0
    assert seen == [
        pytest.approx(pair) for pair in ((0.05, 0.025), (0.1, 0.05), (0.15, 0.075), *[(0.2, 0.1)] * 2)
    ]
    assert seen[-1] == (0.2, 0.1)


def test_share_of_the_attribution_term_is_logged_and_recorded(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    terms = iter([1.0, 3.0, 2.0, 6.0])

    def watched(model: Any, images: Any, labels: Any, settings: Any, random: Any) -> Any:
        term = next(terms)
        for part in (4, term / 4, 3 * term / 4):  # the cross-entropy, and the term of two chunks
            yield 0 * model(images).sum() + part

    monkeypatch.setitem(REGIMES, "ig_norm", watched)
    assert run_train(folder, "share.pt", *FEW, "--training", "ig_norm") == 0
    assert load_checkpoint(folder / "share.pt")[1]["attribution_share"] == [4 / 12, 8 / 16]
    error = capsys.readouterr().err
    assert "epoch 1: mean loss of a batch 6, of which the attribution term is 33.33%\n" in error
    assert "epoch 2: mean loss of a batch 8, of which the attribution term is 50.00%\n" in error
