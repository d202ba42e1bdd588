"""The page of the generators names every choice, and its experiment is valid."""

import re
from pathlib import Path

import generators
from generators import sweep
from generators.attacks import ATTACKS
from generators.datasets import DATASETS
from generators.explanations import EXPLANATIONS
from generators.networks.models import ARCHITECTURES, MODELS
from generators.options import flag
from generators.plan import parameters
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


def test_the_experiment_is_valid(tmp_path: Path) -> None:
    (text,) = re.findall(r"```toml\n(.*?)```", PAGE, re.DOTALL)
    path = tmp_path / "experiment.toml"
    path.write_text(text, encoding="utf-8")
    items = sweep.read(path)
    assert [item.command for item in items] == ["train"] * 2 + ["generate"] * 16
