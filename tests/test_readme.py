"""The Python code of the README and of the pages it names runs as printed."""

import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import lensmetrics as lm
from lensmetrics.cli import main

ROOT = Path(__file__).parents[1]
PAGES = (ROOT / "README.md", *sorted((ROOT / "lensmetrics").glob("*/README.md")))


def code_with(words: str) -> str:
    """Return the one block of Python on all pages that contains these words."""
    text = "\n".join(page.read_text(encoding="utf-8") for page in PAGES)
    (found,) = [code for code in re.findall(r"```python\n(.*?)```", text, re.DOTALL) if words in code]
    return str(found)


@pytest.fixture
def maps(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Any, Any]:
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(0)
    unperturbed = rng.random((3, 40, 40), dtype=np.float32)
    return unperturbed, unperturbed + rng.random((3, 40, 40), dtype=np.float32)


def test_scoring_runs_as_printed(maps: tuple[Any, Any]) -> None:
    u, p = maps
    for name in ("natural", "pgd"):
        attrs = {"training": name, "attack": "topk"}
        with lm.PairWriter(f"{name}.h5", n_samples=3, shape=(40, 40), attrs=attrs) as writer:
            writer.write(slice(0, 3), u, p)
    names: dict[str, Any] = {"u": u, "p": p, "unperturbed": u[0], "perturbed": p[0]}
    exec(code_with('lm.evaluate(["natural.h5", "pgd.h5"], lm.lens_suite(k=1000))  #'), names)
    assert len(names["scores"]) == 6


def test_pool_runs_as_printed(maps: tuple[Any, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    """As the script it is, but with two processes."""
    for name in ("natural", "pgd"):
        with lm.PairWriter(f"{name}.h5", n_samples=3, shape=(40, 40), attrs={"training": name}) as writer:
            writer.write(slice(0, 3), *maps)
    Path("script.py").write_text(
        "import lensmetrics as lm\n" + code_with("ProcessPoolExecutor") + '    scores.to_csv("scores.csv")\n'
    )
    subprocess.run([sys.executable, "script.py"], check=True, timeout=120)
    assert len(Path("scores.csv").read_text().splitlines()) == 7


def test_writing_runs_as_printed(maps: tuple[Any, Any]) -> None:
    zeros = np.zeros((32, 227, 227), np.float32)
    names: dict[str, Any] = {"lm": lm, "unperturbed": zeros, "perturbed": zeros}
    names |= {"indices": np.arange(32), "labels": np.arange(32), "maps_of": lambda i: (zeros[0], zeros[0])}
    exec(code_with("PairWriter.resume"), names)
    assert lm.PairStore("topk.h5").complete.all()


README = PAGES[0].read_text(encoding="utf-8")
# The questions of the README and the line that answers each on the table of the demo.
ANSWERS = re.findall(r"^\| (.+) \| `lensmetrics (.+ scores\.parquet .+)` \|$", README, re.MULTILINE)


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the embedded pair files and their scores, of the metrics that the lines name."""
    folder = tmp_path_factory.mktemp("demo")
    shutil.copytree(ROOT / "lensmetrics" / "data", folder / "maps")
    metrics = [*map(str, lm.lens_suite(k=100, windows=(1, 2))), "lens_recall_chance(k=100,w=1)"]
    lm.evaluate(sorted((folder / "maps").glob("*.h5")), metrics, output=folder / "scores.parquet")
    return folder


@pytest.mark.parametrize(("question", "line"), ANSWERS)
def test_a_question_is_answered_as_printed(
    question: str,
    line: str,
    demo: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    for path in demo.iterdir():
        Path(path.name).symlink_to(path)
    words = shlex.split(line)
    assert main(words) == 0, question
    printed = capsys.readouterr().out
    if "-o" in words:
        assert Path(words[words.index("-o") + 1]).stat().st_size > 500
    elif "worst" in words:
        scores = lm.read_scores("scores.parquet")
        assert f"{scores['lens_recall(k=100,w=1)'].min():.3f}" in printed
    elif "compare" in words:
        assert "pgd is more robust than natural by" in printed
    else:
        assert "lens_recall(k=100,w=1)" in printed


def test_a_comparison_a_figure_and_a_list_are_among_the_answers() -> None:
    commands = [line.split()[0] for _, line in ANSWERS]
    assert {"summarize", "compare", "worst", "figure", "report"} <= set(commands)
