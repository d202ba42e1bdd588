"""The networks that the repository has."""

import hashlib
from pathlib import Path

import pytest
import torch

from generators.networks import checkpoints

ROOT = Path(checkpoints.__file__).parents[2]
WEIGHTS = ROOT / "generators/weights"
NATURAL = "fashion_mnist-small_cnn-natural.pt"


def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


@pytest.mark.parametrize(
    "path", sorted(WEIGHTS.rglob("*.pt")), ids=lambda path: str(path.relative_to(WEIGHTS))
)
def test_checkpoints_of_the_repository(path: Path) -> None:
    network, facts = checkpoints.load(path, dataset="fashion_mnist", model="small_cnn")
    assert path.stem.startswith(f"fashion_mnist-small_cnn-{facts['training']}")
    assert facts["sha256"] == sha256(path)
    assert facts["natural_accuracy"] > 0.7
    assert "state_dict" not in facts
    assert network(torch.zeros(2, 1, 28, 28)).shape == (2, 10)
    for dataset, model in (("mnist", "small_cnn"), ("fashion_mnist", "rar_cnn")):
        with pytest.raises(ValueError, match="was trained with"):
            checkpoints.load(path, dataset=dataset, model=model)
    if path.parent.name == "regimes" and path.name != NATURAL:
        assert facts["identity"]["init_sha256"] == sha256(path.with_name(NATURAL))
