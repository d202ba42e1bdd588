"""Mistakes in files and metrics: each is reported with its place, and as early as possible."""

import os
import re
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pandas as pd
import pytest

import lensmetrics as lm
from lensmetrics.errors import FormatError
from lensmetrics.scoring.files import score_files
from tests.pairfiles import flip_byte, write_file
from tests.scoring.executors import Inline, ReverseExecutor, UntilItFails
from tests.scoring.runs import Watcher, evaluate


def test_errors_say_what_was_scored_and_where(tmp_path: Path) -> None:
    maps = np.zeros((2, 4, 4))
    with pytest.raises(
        ValueError, match=r"k must be .*between 1 and 16 \(the number of pixels\), got 1000000"
    ) as a:
        lm.score(maps, maps, ["kendall", "topk_intersection(k=1000000)"])
    assert a.value.__notes__ == ["while scoring topk_intersection(k=1000000) on sample 0"]
    write_file(tmp_path / "a.h5", 3)
    with pytest.raises(ValueError, match="got 1000000") as b:
        lm.evaluate(tmp_path / "a.h5", ["kendall", "topk_intersection(k=1000000)"])
    assert len(b.value.__notes__) == 1
    assert re.fullmatch(
        rf"while scoring topk_intersection\(k=1000000\) on sample \d+ of {re.escape(str(tmp_path))}/a\.h5",
        b.value.__notes__[0],
    )


def test_all_problems_are_reported_at_once(tmp_path: Path) -> None:
    write_file(tmp_path / "good.h5", 2)
    (tmp_path / "text.h5").write_text("not HDF5")
    (tmp_path / "empty.h5").touch()
    with h5py.File(tmp_path / "other.h5", "w") as file:
        file["data"] = 1
    names = [
        "good.h5",
        "missing.h5",
        "text.h5",
        "empty.h5",
        "other.h5",
        "../" + tmp_path.name + "/good.h5",
        ".",
    ]
    paths = [tmp_path / name for name in names]
    with pytest.raises(lm.FormatError) as caught:
        lm.evaluate(paths, "kendall")
    first, *lines = str(caught.value).splitlines()
    assert first.startswith("6 of the files")
    for name, words, line in zip(
        paths[1:], ["exist", "HDF5", "empty", "format", "more than once", "directory"], lines, strict=True
    ):
        assert str(name) in line
        assert words in line


@pytest.mark.parametrize(
    ("names", "kind", "words"),
    [
        ([], ValueError, "no pair files given"),
        (["a.h5", "./a.h5"], ValueError, "a.h5 was given more than once"),
        (["a.h5", "link.h5"], ValueError, "link.h5 was given more than once"),
        (["none.h5"], FileNotFoundError, "none.h5 does not exist"),
        (["text.h5"], lm.FormatError, "text.h5 is not an HDF5 file"),
    ],
)
def test_a_single_problem_is_raised_as_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, names: list[str], kind: type[Exception], words: str
) -> None:
    monkeypatch.chdir(tmp_path)
    write_file(Path("a.h5"), 2)
    Path("link.h5").symlink_to("a.h5")
    Path("text.h5").write_text("text")
    with pytest.raises(kind, match=words):
        lm.evaluate(names, "kendall")


@pytest.mark.parametrize("metrics", ["lens_recal(k=3)", [], ["kendall", "lens_recall"]])
def test_metrics_are_checked_before_files_are_opened(metrics: Any) -> None:
    with pytest.raises(ValueError, match=r"metric|needs k"):
        lm.evaluate("missing.h5", metrics)


def test_metric_that_does_not_fit_is_found_before_scoring(tmp_path: Path) -> None:
    write_file(tmp_path / "large.h5", 2, (9, 9))
    write_file(tmp_path / "small.h5", 2, (3, 4))
    executor = UntilItFails()
    with pytest.raises(ValueError, match=r"between 1 and 12 .*, got 20") as caught:
        lm.evaluate(
            [tmp_path / "large.h5", tmp_path / "small.h5"],
            ["topk_intersection(k=12)", "topk_intersection(k=20)"],
            executor=executor,
        )
    assert not executor.futures
    (note,) = caught.value.__notes__
    assert note.startswith("while scoring topk_intersection(k=20) on sample")
    assert note.endswith("small.h5")


def test_the_first_bad_sample_is_named_whichever_task_ends_first(tmp_path: Path) -> None:
    write_file(tmp_path / "a.h5", 6)
    write_file(tmp_path / "b.h5", 2)
    for position in (1, 4):
        flip_byte(tmp_path / "a.h5", "perturbed", position * 42 * 4)
    paths = [tmp_path / "a.h5", tmp_path / "b.h5"]
    with ThreadPoolExecutor(4) as threads:
        for executor in (None, threads, ReverseExecutor(8)):
            scores, failures = score_files(paths, "kendall", executor=executor, task_pixels=1)
            assert [(failure.path, str(failure.error)) for failure in failures] == [
                (paths[0], "sample 12 at position 1 does not match its checksum")
            ]
            assert scores is not None
            pd.testing.assert_frame_equal(scores, lm.evaluate(paths[1], "kendall"), check_exact=True)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda path: path.unlink(), "a.h5 was removed while it was being scored"),
        (lambda path: (path.unlink(), write_file(path, 6, seed=5)), "a.h5 was changed or replaced while"),
        (lambda path: flip_byte(path, "perturbed", 0), "a.h5 was changed or replaced while"),
        (lambda path: path.write_bytes(path.read_bytes()[:-800]), "a.h5 (was truncated|was changed)"),
    ],
)
@pytest.mark.parametrize("where", ["here", "executor"])
def test_a_file_that_changes_while_it_is_scored_fails_alone(
    tmp_path: Path, change: Callable[[Path], object], words: str, where: str
) -> None:
    paths = [tmp_path / "a.h5", tmp_path / "b.h5"]
    for path in paths:
        write_file(path, 6)
    expected = lm.evaluate(paths[1], "kendall")
    act = partial(change, paths[0])
    options: dict[str, Any] = {"progress": Watcher(lambda n: act() if n == 2 else None)}
    if where == "executor":
        options = {"executor": Inline(2, act)}
    scores, failures = score_files(paths, "kendall", task_pixels=42, **options)
    (failure,) = failures
    assert failure.path == paths[0]
    assert re.search(words, str(failure.error))
    assert scores is not None
    pd.testing.assert_frame_equal(scores, expected, check_exact=True)


def fails_on_trial_maps(pair: lm.MapPair) -> float:
    """Stand in for a metric of a user that rejects maps of NaN and ramps."""
    values = pair.unperturbed.reshape(-1)
    if not np.isfinite(values).all() or (np.diff(values) > 0).all():
        raise RuntimeError("not one of my maps")
    return 1.0


@pytest.mark.usefixtures("own_metrics")
@pytest.mark.parametrize("where", ["here", "threads"])
def test_a_metric_is_judged_by_maps_of_the_files(tmp_path: Path, where: str) -> None:
    lm.register(bounds=(0, 1), best=None)(fails_on_trial_maps)
    write_file(tmp_path / "a.h5", 3, missing=[0])
    write_file(tmp_path / "b.h5", 2)
    with ThreadPoolExecutor(2) as threads:
        executor = None if where == "here" else threads
        paths = [tmp_path / "a.h5", tmp_path / "b.h5"]
        found = evaluate(paths, "fails_on_trial_maps", executor=executor, task_pixels=42)
        assert found["fails_on_trial_maps"].fillna(0).tolist() == [0, 1, 1, 1, 1]
        with lm.PairWriter(tmp_path / "c.h5", n_samples=2, shape=(6, 7), attrs={}) as writer:
            writer.write(0, np.full((6, 7), np.nan), np.ones((6, 7)), sample=5)
            writer.write(1, np.ones((6, 7)), np.ones((6, 7)), sample=6)
        with pytest.raises(RuntimeError, match="not one of my maps") as caught:
            evaluate(tmp_path / "c.h5", "fails_on_trial_maps", executor=executor, task_pixels=42)
    (note,) = caught.value.__notes__
    assert note == f"while scoring fails_on_trial_maps on sample 5 of {tmp_path}/c.h5"


def test_a_name_that_no_table_holds_fails_before_scoring(tmp_path: Path) -> None:
    good, bad = tmp_path / "a.h5", tmp_path / os.fsdecode(b"bad\xff.h5")
    write_file(good, 3)
    try:
        bad.write_bytes(good.read_bytes())
    except OSError:
        pytest.skip("the file system takes UTF-8 names only")
    scores, (failure,) = score_files([good, bad], "kendall")
    assert re.search(r"bad\\udcff\.h5' has a name that is not UTF-8.*: rename it", str(failure.error))
    assert scores is not None
    assert len(scores) == 3


def test_failures_are_in_the_order_of_the_files(tmp_path: Path) -> None:
    good, damaged, empty = (tmp_path / f"{name}.h5" for name in ("good", "damaged", "empty"))
    write_file(good, 3)
    write_file(damaged, 3)
    with h5py.File(damaged, "r+") as file:
        file["perturbed"][1] = 7
    empty.touch()
    unnamed, missing = tmp_path / os.fsdecode(b"bad\xff.h5"), tmp_path / "missing.h5"
    files = [damaged, good, missing, unnamed, good, empty]
    scores, failures = score_files(files, "kendall")
    assert scores is not None
    assert [failure.path for failure in failures] == [damaged, missing, unnamed, good, empty]
    with pytest.raises(FormatError, match=r"(?s)missing\.h5 .*bad.*good\.h5 was given .*empty\.h5 is empty"):
        lm.evaluate(files, "kendall")
