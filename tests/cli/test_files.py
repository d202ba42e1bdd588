"""``lensmetrics inspect`` and ``verify``."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import lensmetrics as lm
from tests.cli.command import Run
from tests.pairfile.hostile_openers import (
    open_or_die,
)
from tests.pairfiles import flip_byte, write_file


@pytest.mark.usefixtures("files")
def test_inspect(run: Run) -> None:
    write_file(Path("c.h5"), 2, (4, 9), channels=3, attrs={"attack": "topk", "note": "two words"})
    status, out, err = run("inspect", "c.h5", "part.h5")
    assert (status, err) == (0, "")
    assert "c.h5: 2 pairs of 4x9 maps, 3 channels reduced by abs_sum; 2 complete" in out
    assert "part.h5: 6 pairs of 6x7 maps; 5 complete" in out
    assert "attack: topk" in out
    assert "note: two words" in out


@pytest.mark.usefixtures("files")
def test_inspect_continues_after_a_bad_file(run: Run) -> None:
    Path("text.h5").write_text("text")
    status, out, err = run("inspect", "text.h5", "a.h5")
    assert status == 1
    assert err.startswith("lensmetrics: text.h5 is not an HDF5 file")
    assert out.startswith("a.h5: 6 pairs")


@pytest.mark.usefixtures("run", "files")  # which change the folder
def test_inspect_ends_when_its_output_is_full() -> None:
    if not Path("/dev/full").exists():
        pytest.skip("needs a device that is always full")
    with Path("/dev/full").open("w") as full:
        words = [sys.executable, "-m", "lensmetrics", "inspect", *["a.h5"] * 500]
        done = subprocess.run(words, stdout=full, stderr=subprocess.PIPE, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr == (
        "lensmetrics: the output cannot be written (No space left on device): write it elsewhere\n"
    )


@pytest.mark.usefixtures("files")
def test_verify(run: Run) -> None:
    status, out, err = run("verify", "a.h5", "b.h5")
    assert (status, out, err) == (0, "a.h5: good\nb.h5: good\n", "")
    Path("text.h5").write_text("text")
    status, out, err = run("verify", "text.h5", "part.h5", "bad.h5", "a.h5")
    assert status == 1
    assert re.fullmatch("lensmetrics: text.h5 is not an HDF5 file.*\n", err)
    assert re.search(r"^part\.h5: .*position 4: incomplete$", out, re.MULTILINE)
    assert "bad.h5: sample 16 at position 3: checksum\n" in out
    assert out.endswith("a.h5: good\n")


@pytest.mark.usefixtures("files")
def test_verify_joins_neighbours_in_a_line(run: Run) -> None:
    write_file(Path("most.h5"), 500, (2, 2), missing=range(10, 500))
    with lm.PairWriter("worn.h5", n_samples=9, shape=(3, 3), attrs={}) as writer:
        writer.write(slice(0, 9), *np.zeros((2, 9, 3, 3), np.float32), sample=[4, 5, 6, 7, 8, 20, 21, 22, 23])
    for position in (1, 2, 4, 5, 6):
        flip_byte(Path("worn.h5"), "perturbed", position * 36)
    status, out, err = run("verify", "most.h5", "worn.h5")
    assert (status, err) == (1, "")
    assert out.splitlines() == [
        "most.h5: positions 10-499: incomplete (490 samples)",
        "worn.h5: samples 5-6 at positions 1-2: checksum (2 samples)",
        "worn.h5: sample 8 at position 4: checksum",
        "worn.h5: samples 20-21 at positions 5-6: checksum (2 samples)",
    ]


@pytest.mark.usefixtures("files")
def test_a_file_that_crashes_hdf5_fails_alone(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lensmetrics.cli.opening.open_store", open_or_die)
    shutil.copy("a.h5", "die.h5")
    problem = "die.h5: HDF5 crashed while reading it, so the file is damaged; regenerate or copy it again\n"
    status, _, err = run("score", "die.h5", "a.h5", "-m", "kendall", "-o", "s.parquet")
    assert status == 1
    assert err.endswith(f"not scored:\n  die.h5  all samples  {problem}")
    pd.testing.assert_frame_equal(lm.read_scores("s.parquet"), lm.evaluate("a.h5", "kendall"))
    status, out, err = run("inspect", "die.h5", "a.h5")
    assert (status, err) == (1, f"lensmetrics: {problem}")
    assert out.startswith("a.h5: ")
    status, _, err = run("report", "s.parquet", "--maps", ".")
    assert (status, err) == (0, f"lensmetrics: left out: {problem}wrote report.html\n")


def test_folders_and_patterns_stand_for_the_pair_files_in_them(run: Run, tmp_path: Path) -> None:
    Path("maps/deeper").mkdir(parents=True)
    names = ["e10", "e2", "e1", ".hidden", "deeper/f1"]
    for seed, name in enumerate(names):
        write_file(Path(f"maps/{name}.h5"), 2, (3, 3), seed=seed)
    Path("maps/notes.txt").touch()
    inside = [f"maps/{name}.h5" for name in ("e1", "e2", "e10")]
    for words in (
        ["maps"],
        ["maps/"],
        ["maps/*.h5"],
        [str(tmp_path / "maps" / "e*")],
        ["maps/e[12].h5", "maps/e10.h5"],
    ):
        status, out, err = run("verify", *words)
        assert (status, err) == (0, "")
        assert [line.removeprefix(f"{tmp_path}/") for line in out.splitlines()] == [
            f"{name}: good" for name in inside
        ]
    assert run("verify", "maps/*")[1].splitlines()[0] == "maps/deeper/f1.h5: good"
    assert re.findall(r"^(\S+): ", run("inspect", "maps")[1], re.MULTILINE) == inside
    assert run("score", "maps", "-m", "kendall", "--workers", "1", "-o", "s.parquet")[0] == 0
    pd.testing.assert_frame_equal(lm.read_scores("s.parquet"), lm.evaluate(inside, "kendall"))
    for words in (["maps"], ["maps/e*.h5"]):
        status, _, err = run("report", "--maps", *words, "s.parquet")
        assert (status, err) == (0, "wrote report.html\n")
    Path("empty").mkdir()
    (status, _, err), (_, _, other) = run("verify", "empty"), run("report", "s.parquet", "--maps", "empty")
    assert (status, err) == (
        2,
        "lensmetrics: empty holds no .h5 file: name a folder of pair files, or the files\n",
    )
    assert other == err
    assert run("verify", "empty/*.h5") == (2, "", "lensmetrics: no file matches empty/*.h5\n")
    (status, _, err), hint = run("inspect", "."), "there are some in maps\n"
    assert (status, err) == (
        2,
        f"lensmetrics: . holds no .h5 file: name a folder of pair files, or the files; {hint}",
    )
