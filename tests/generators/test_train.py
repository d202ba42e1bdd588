"""The command train: contents of a checkpoint, options, interruption."""

import errno
import fcntl
import shlex
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from generators import published, train
from generators.commands import INTERRUPTED
from generators.datasets import Split
from generators.locks import locked
from generators.networks.models import model_names
from generators.networks.training import accuracies
from generators.published import PGD
from generators.regimes import REGIMES
from generators.splits import evenly_spread
from tests.generators.trainings import (
    BRIEF,
    assert_same_weights,
    interrupt_in_epoch,
    load_checkpoint,
    run_train,
    write_datasets,
)

GIVEN = {"steps": 2, "step_size": 0.05, "n_points": 3, "inner_n_points": 2}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("train")
    write_datasets(path)
    return path


def test_natural_training_learns(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run_train(folder, "learns.pt", "--epochs", "3", "--accuracy-samples", "40") == 0
    network, facts = load_checkpoint(folder / "learns.pt")
    assert facts["natural_accuracy"] > 0.9
    assert not network.training
    output = capsys.readouterr().out
    assert f"natural accuracy {facts['natural_accuracy']:.4f}" in output
    assert (
        f"PGD accuracy {facts['pgd_accuracy']:.4f} (eps 0.1, 20 steps of 0.01) on 40 test samples" in output
    )


@pytest.mark.parametrize("training", [name for name in REGIMES if name != "natural"])
def test_checkpoint_records_how_it_was_made(folder: Path, training: str) -> None:
    options = BRIEF if training != "pgd" else BRIEF[:4]
    assert run_train(folder, f"{training}.pt", "--training", training, "--samples", "60", *options) == 0
    _, facts = load_checkpoint(folder / f"{training}.pt")
    expected = {
        "dataset": "fashion_mnist",
        "model": "small_cnn",
        "training": training,
        "seed": 0,
        "epochs": 2,
    }
    expected |= {"samples": 60, "batch_size": 20, "learning_rate": 0.003, "accuracy_samples": 20}
    assert {name: facts[name] for name in expected} == expected
    weight = {"ig_norm": 1.0, "ig_sum_norm": 0.1, "art": 0.1}
    settings: dict[str, Any] = {"eps": 0.1, "steps": 2, "step_size": 0.05, "eps_ramp": 0}
    if training in weight:
        settings |= GIVEN | {"weight": weight[training], "jitter": False}
    assert facts["settings"] == settings
    assert facts["pgd_settings"] == {"eps": 0.1, "steps": 20, "step_size": 0.01}
    assert 0 <= facts["pgd_accuracy"] <= facts["natural_accuracy"] <= 1


@pytest.mark.parametrize("training", ["natural", "ig_sum_norm"])
def test_recorded_command_gives_the_same_weights(folder: Path, training: str) -> None:
    options = ("--training", training, "--samples", "40", *(BRIEF if training != "natural" else ()))
    assert run_train(folder, f"first-{training}.pt", *options, "--seed", "3", "--chunk-size", "7") == 0
    _, facts = load_checkpoint(folder / f"first-{training}.pt")
    words = shlex.split(facts["command"])
    assert words[:3] == ["python", "-m", "generators.train"]
    assert train.recorded_command(train.Request.parse(words[3:])) == facts["command"]
    second = folder / f"second-{training}.pt"
    assert train.main([*words[3:], "--out", str(second)]) == 0
    assert_same_weights(folder / f"first-{training}.pt", second)


def test_another_seed_starts_from_other_weights(folder: Path) -> None:
    brief = (
        "--epochs",
        "1",
        "--samples",
        "20",
        "--learning-rate",
        "1e-12",
    )  # the order changes next to nothing
    for seed in ("1", "2"):
        assert run_train(folder, f"seed-{seed}.pt", *brief, "--seed", seed) == 0
    one, other = (load_checkpoint(folder / f"seed-{seed}.pt")[0].state_dict() for seed in ("1", "2"))
    assert all((one[name] - other[name]).abs().max() > 0.01 for name in one)


@pytest.mark.parametrize("training", ["natural", "ig_sum_norm"])
def test_interrupted_training_ends_like_an_uninterrupted_one(
    folder: Path, monkeypatch: pytest.MonkeyPatch, training: str
) -> None:
    half, whole = f"half-{training}.pt", f"whole-{training}.pt"
    more = (
        "--training",
        training,
        "--samples",
        "40",
        "--epochs",
        "3",
        *(BRIEF if training != "natural" else ()),
    )
    with monkeypatch.context() as patch:
        interrupt_in_epoch(patch, training, 5)  # two batches an epoch: in the middle of the third
        assert run_train(folder, half, *more) == INTERRUPTED
    assert not (folder / half).exists()
    assert torch.load(folder / f"{half}.part", weights_only=True)["n_epochs"] == 2
    with monkeypatch.context() as patch:
        interrupt_in_epoch(patch, training, 2)  # only the third epoch is left
        assert run_train(folder, half, *more) == 0
    assert run_train(folder, whole, *more) == 0
    assert_same_weights(folder / half, folder / whole)
    assert (
        load_checkpoint(folder / half)[1]["natural_accuracy"]
        == load_checkpoint(folder / whole)[1]["natural_accuracy"]
    )
    assert not list(folder.glob("*.part"))
    assert not list(folder.glob(".*"))


def test_interrupted_training_is_continued_wherever_the_data_moves(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also with another chunk size, and by the same path seen from another working folder."""
    more = ("--training", "ig_norm", "--samples", "40", *BRIEF)
    with monkeypatch.context() as patch:
        interrupt_in_epoch(patch, "ig_norm", 2)
        assert run_train(folder, "moved.pt", *more) == INTERRUPTED
    shutil.copy(folder / "fashion_mnist.npz", tmp_path)
    monkeypatch.chdir(folder)
    moved = ("--data", str(tmp_path), "--chunk-size", "9", "--out", "moved.pt")
    assert run_train(folder, "moved.pt", *more, *moved) == 0
    assert load_checkpoint(folder / "moved.pt")[1]["epochs"] == 2


def test_training_that_lacks_only_the_accuracy_is_continued(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*args: Any, **more: Any) -> Any:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(train, "accuracies", interrupted)
        assert run_train(folder, "trained.pt") == INTERRUPTED
    with monkeypatch.context() as patch:
        patch.setitem(REGIMES, "natural", interrupted)
        assert run_train(folder, "trained.pt") == 0
    assert load_checkpoint(folder / "trained.pt")[1]["epochs"] == 2


def test_dropout_and_batch_norm_are_continued(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def build(name: str, n_classes: int) -> Any:
        layers = [
            torch.nn.Flatten(),
            torch.nn.Dropout(0.5),
            torch.nn.Linear(784, 16),
            torch.nn.BatchNorm1d(16),
        ]
        return torch.nn.Sequential(*layers, torch.nn.ReLU(), torch.nn.Linear(16, n_classes))

    monkeypatch.setattr(train, "build", build)
    monkeypatch.setattr("generators.networks.models.build", build)
    with monkeypatch.context() as patch:
        interrupt_in_epoch(patch, "natural", 15)
        assert run_train(folder, "dropout.pt") == INTERRUPTED
    assert run_train(folder, "dropout.pt") == 0
    assert run_train(folder, "dropout-whole.pt") == 0
    assert_same_weights(folder / "dropout.pt", folder / "dropout-whole.pt")


def test_training_with_other_settings_is_not_continued(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with monkeypatch.context() as patch:
        interrupt_in_epoch(patch, "natural", 10)
        assert run_train(folder, "begun.pt") == INTERRUPTED
    before = (folder / "begun.pt.part").read_bytes()
    assert run_train(folder, "begun.pt", "--seed", "4", "--epochs", "7") == 2
    output = capsys.readouterr().err
    assert (
        "made with other settings: seed is 0 in the file, 4 given; epochs is 2 in the file, 7 given" in output
    )
    assert (folder / "begun.pt.part").read_bytes() == before
    (folder / "begun.pt.part").write_bytes(before[: len(before) // 2])
    assert run_train(folder, "begun.pt") == 2
    assert "cannot be read as an unfinished training; delete it" in capsys.readouterr().err
    (folder / "begun.pt.part").unlink()


def test_finished_checkpoint_is_not_overwritten(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "taken.pt").write_bytes(b"something")
    assert run_train(folder, "taken.pt") == 2
    assert "taken.pt exists already" in capsys.readouterr().err
    assert (folder / "taken.pt").read_bytes() == b"something"
    assert not (folder / "taken.pt.part").exists()


@pytest.mark.parametrize(
    ("more", "sentence"),
    [
        (("--eps", "0.1"), "--eps has no effect with --training natural; remove it"),
        (("--training", "pgd", "--weight", "1"), "--weight has no effect with --training pgd"),
        (("--training", "pgd", "--eps", "8"), "--eps must be above 0 and at most 1, got 8.0"),
        (("--training", "pgd", "--step-size", "0"), "--step-size must be above 0 and at most 1, got 0.0"),
        (("--training", "art", "--weight", "-1"), "--weight must be above 0 and finite, got -1.0"),
        (("--learning-rate", "0"), "--learning-rate must be above 0 and finite, got 0.0"),
        (("--learning-rate", "nan"), "--learning-rate must be above 0 and finite, got nan"),
        (
            ("--dataset", "imagenet"),
            "no settings for training on imagenet are published; give --eps and --steps and --step-size",
        ),
        (("--samples", "201"), "--samples must be at most 200 (the samples of the split), got 201"),
        (("--accuracy-samples", "41"), "--accuracy-samples must be at most 40"),
        (
            ("--dataset", "cifar10", "--samples", "4", "--accuracy-samples", "4"),
            "the model cannot take images of 3 x 8 x 8",
        ),
        (("--data", "nowhere"), "nowhere"),
    ],
)
def test_bad_input_gets_one_sentence_before_anything_is_written(
    folder: Path, capsys: pytest.CaptureFixture[str], more: tuple[str, ...], sentence: str
) -> None:
    assert run_train(folder, "bad.pt", *more) == 2
    output = capsys.readouterr().err
    assert sentence in output
    assert output.startswith("error: ")
    assert output.count("\n") == 1
    assert not list(folder.glob("*bad.pt*"))


def test_folder_as_output_is_refused(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run_train(folder, ".") == 2
    assert "is a folder; give the name of a file in it" in capsys.readouterr().err


def test_auxiliary_outputs_are_refused(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def build(name: str, n_classes: int) -> Any:
        network: Any = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(784, n_classes))
        network.aux_logits = True
        return network

    monkeypatch.setattr(train, "build", build)
    assert run_train(folder, "bad.pt") == 2
    assert "small_cnn has auxiliary outputs" in capsys.readouterr().err


def test_infinite_loss_ends_the_training(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run_train(folder, "explodes.pt", "--learning-rate", "1e30") == 2
    assert "in epoch 1; try a smaller --learning-rate" in capsys.readouterr().err
    assert not (folder / "explodes.pt").exists()


def test_settings_default_to_the_published_ones(folder: Path) -> None:
    request = train.Request.parse(
        [
            *("--dataset", "gtsrb", "--data", str(folder), "--model", "small_resnet"),
            *("--training", "ig_sum_norm", "--out", "x.pt", "--device", "cpu"),
        ]
    )
    words = train.recorded_command(request).split()
    for name, value in {
        "--batch-size": "64",
        "--weight": "1.0",
        "--n-points": "50",
        "--inner-n-points": "5",
    }.items():
        assert words[words.index(name) + 1] == value
    assert float(words[words.index("--eps") + 1]) == 8 / 255


def test_network_with_batch_norm_trains_under_an_attribution_regime(folder: Path) -> None:
    more = ("--dataset", "cifar10", "--model", "small_resnet", "--training", "ig_norm", "--epochs", "1")
    assert run_train(folder, "resnet.pt", *more, *BRIEF, "--accuracy-samples", "4") == 0
    network, facts = load_checkpoint(folder / "resnet.pt", "small_resnet", "cifar10")
    assert facts["settings"]["weight"] == 1.0
    state = network.state_dict()
    tracked = {int(value) for name, value in state.items() if name.endswith("num_batches_tracked")}
    assert tracked == {1}, "only the trained cross-entropy updates running statistics"


def test_help_lists_every_choice(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        train.main(["--help"])
    assert stop.value.code == 0
    text = capsys.readouterr().out
    assert all(name in text for name in (*REGIMES, *published.TRAINING, *model_names()))


def test_samples_are_spread_over_a_sorted_split() -> None:
    assert evenly_spread(4, 8, "samples").tolist() == [0, 2, 4, 6]
    assert evenly_spread(3, 10, "samples").tolist() == [0, 3, 6]
    assert evenly_spread(None, 3, "samples").tolist() == evenly_spread(3, 3, "samples").tolist() == [0, 1, 2]
    sorted_labels = np.repeat(np.arange(43), 60)
    assert len(set(sorted_labels[evenly_spread(43, len(sorted_labels), "samples")])) == 43


def test_accuracies_are_those_of_the_chosen_samples() -> None:
    """Class 1 where the image is bright: PGD moves those within its reach over the border."""
    network: Any = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(4, 2))
    with torch.no_grad():
        network[1].weight.copy_(torch.tensor([[-1.0] * 4, [1.0] * 4]))
        network[1].bias.copy_(torch.tensor([2.0, -2.0]))
    gray = np.array([0, 100, 135, 250, 250, 0], dtype=np.uint8)  # the border is at 127.5
    images = np.broadcast_to(gray[:, None, None], (6, 2, 2)).copy()
    split = Split(images, np.array([0, 0, 1, 1, 0, 1]), (2, 2))
    found = accuracies(
        network.eval(),
        split,
        np.array([0, 1, 2, 3, 4]),
        PGD(0.12, 10, 0.03),
        device=torch.device("cpu"),
        seed=0,
    )
    assert found == (4 / 5, 2 / 5)


def test_one_lock_has_one_holder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also if the holder ends after the next process has opened the lock file and before it locks it."""
    path = tmp_path / "a.pt"
    first = locked(path)
    first.__enter__()
    with pytest.raises(BlockingIOError, match=r"another process is making .*a\.pt"):
        locked(path).__enter__()
    original, holders = fcntl.flock, [first]

    def flock(*arguments: Any) -> None:
        if holders:
            holders.pop().__exit__(None, None, None)
        original(*arguments)

    monkeypatch.setattr(fcntl, "flock", flock)
    with locked(path), pytest.raises(BlockingIOError):
        locked(path).__enter__()
    assert not list(tmp_path.iterdir())


def test_a_file_system_without_locks_gives_a_warning(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def flock(*arguments: Any) -> None:
        raise OSError(errno.ENOLCK, "no locks available")

    monkeypatch.setattr(fcntl, "flock", flock)
    with locked(tmp_path / "a.pt"):
        pass
    assert "a.pt: its file system has no locks; make sure that no other process" in capsys.readouterr().err
