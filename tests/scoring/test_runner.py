"""Scoring arrays and files: the same table whoever does the work, and every mistake with its place."""

import io
import multiprocessing
import os
import pickle
import re
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import BrokenExecutor, Executor, Future, ProcessPoolExecutor, ThreadPoolExecutor
from pathlib import Path
from typing import Any, cast

import h5py
import numpy as np
import numpy.typing as npt
import pandas as pd
import pytest
import xarray as xr

import lensmetrics as lm
from lensmetrics.metrics import registry
from lensmetrics.scoring import files as runner
from lensmetrics.scoring import worker as scoring
from tests.pairfiles import fails_on_negative, flip_byte, study, user_metric, write_file

__all__ = ["fails_on_negative", "flip_byte", "study", "user_metric", "write_file"]

METRICS = [*lm.lens_suite(k=5, windows=(1, 2)), lm.get_metric("lens_recall_adjusted", k=5, w=1)]


@pytest.fixture(scope="module")
def process_pool() -> Iterator[Executor]:
    with ProcessPoolExecutor(2, mp_context=multiprocessing.get_context("spawn")) as pool:
        yield pool


class ReverseExecutor(Executor):
    """Runs its tasks once there are n of them, the last first, and passes them through pickle."""

    def __init__(self, n: int) -> None:
        self.n = n
        self.waiting: list[tuple[Future[Any], bytes]] = []

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        future: Future[Any] = Future()
        self.waiting.append((future, pickle.dumps((fn, args, kwargs))))
        if len(self.waiting) == self.n:
            threading.Thread(target=self.run).start()
        return future

    def run(self) -> None:
        for future, task in reversed(self.waiting):
            fn, args, kwargs = pickle.loads(task)
            if not future.set_running_or_notify_cancel():
                continue
            try:
                future.set_result(pickle.loads(pickle.dumps(fn(*args, **kwargs))))
            except Exception as error:
                future.set_exception(error)


class UntilItFails(Executor):
    """Runs every task at once, until one fails; later ones wait for ever."""

    def __init__(self) -> None:
        self.futures: list[Future[Any]] = []
        self.failed = False

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        future: Future[Any] = Future()
        if not self.failed:
            try:
                future.set_result(fn(*args, **kwargs))
            except Exception as error:
                self.failed = True
                future.set_exception(error)
        self.futures.append(future)
        return future


# Arrays


def test_score_is_every_metric_on_every_pair() -> None:
    rng = np.random.default_rng(0)
    unperturbed, perturbed = rng.integers(0, 9, (2, 4, 8, 9)).astype(np.float32)
    metrics = [
        lm.get_metric(
            name, **{key: {"k": 5, "w": 1, "pool": 60}[key] for key in registry.entries()[name].parameters}
        )
        for name in lm.list_metrics()
    ]
    scores = lm.score(unperturbed, perturbed, metrics)
    assert scores.columns.tolist() == ["sample", "status", *map(str, metrics)]
    assert scores["sample"].tolist() == [0, 1, 2, 3]
    for i in range(4):
        for metric in metrics:  # a fresh pair for each: nothing that the pair keeps may show
            np.testing.assert_equal(
                scores.loc[i, str(metric)], metric(lm.MapPair(unperturbed[i], perturbed[i]))
            )
    assert scores["status"].tolist() == ["tied_cut;unsigned"] * 4
    assert set(scores.dtypes[2:]) == {np.dtype(np.float64)}


def test_score_takes_a_metric_a_text_or_several() -> None:
    maps = np.random.default_rng(0).normal(size=(2, 4, 4))
    expected = lm.score(maps, -maps, ["kendall"])
    forms: list[Any] = ["kendall", lm.get_metric("kendall"), [lm.get_metric("kendall"), " kendall "]]
    for metrics in forms:
        pd.testing.assert_frame_equal(lm.score(maps, -maps, metrics), expected, check_exact=True)


def test_score_keeps_each_arrays_precision() -> None:
    values = np.array([[[1.0, 1.0 + 1e-12, 0.0]]])
    single = values.astype(np.float32)
    scores = lm.score(values, values[:, :, ::-1], "topk_intersection(k=1)")
    assert scores["status"].tolist() == ["ok"]
    assert lm.score(single, single[:, :, ::-1], "topk_intersection(k=1)")["status"].tolist() == ["tied_cut"]


@pytest.mark.parametrize("dims", [("sample", "y", "x"), ("x", "sample", "y"), ("y", "x", "sample")])
def test_score_takes_data_arrays_in_any_order(dims: tuple[str, ...]) -> None:
    rng = np.random.default_rng(0)
    unperturbed, perturbed = rng.normal(size=(2, 3, 4, 6))
    coordinate = {"sample": [30, 10, 20]}
    u = xr.DataArray(unperturbed, dims=("sample", "y", "x"), coords=coordinate)
    p = xr.DataArray(perturbed, dims=("sample", "y", "x"))
    expected = lm.score(unperturbed, perturbed, METRICS).assign(sample=[30, 10, 20])
    for first, second in [(u.transpose(*dims), p), (u, p.transpose(*dims)), (u.transpose(*dims), perturbed)]:
        pd.testing.assert_frame_equal(lm.score(first, second, METRICS), expected, check_exact=True)
    swapped = lm.score(p, u.transpose(*dims), METRICS)
    assert swapped["sample"].tolist() == [30, 10, 20]
    assert swapped["lens_recall(k=5,w=1)"].tolist() == expected["lens_precision(k=5,w=1)"].tolist()


@pytest.mark.parametrize("dims", [("y", "x", "n"), ("lat", "lon", "n"), ("height", "width", "sample")])
def test_score_does_not_guess_which_dimension_is_a_sample(dims: tuple[str, ...]) -> None:
    maps = xr.DataArray(np.random.default_rng(0).normal(size=(4, 6, 3)), dims=dims)
    with pytest.raises(
        ValueError, match=r"'unperturbed' has the dimensions .* rename them to sample, y and x"
    ):
        lm.score(maps, -maps, "kendall")


def test_score_refuses_sample_coordinates_that_differ() -> None:
    maps = np.random.default_rng(0).normal(size=(3, 4, 4))
    u, p = (
        xr.DataArray(maps, dims=("sample", "y", "x"), coords={"sample": s}) for s in ([0, 1, 2], [0, 2, 1])
    )
    with pytest.raises(ValueError, match="sample coordinates of 'unperturbed' and 'perturbed' differ; align"):
        lm.score(u, p, "kendall")
    assert len(lm.score(u, p.assign_coords(sample=[0, 1, 2]), "kendall")) == 3


@pytest.mark.parametrize("shape", [(4, 4), (16,), (2, 3, 4, 4), ()])
def test_score_wants_three_dimensions(shape: tuple[int, ...]) -> None:
    maps = np.zeros((2, 4, 4))
    words = re.escape(f"must have three dimensions (sample, height, width), got shape {shape}")
    with pytest.raises(ValueError, match=f"'unperturbed' {words}.*MapPair.*channels"):
        lm.score(np.zeros(shape), maps, "kendall")
    with pytest.raises(ValueError, match=f"'perturbed' {words}"):
        lm.score(maps, xr.DataArray(np.zeros(shape)), "kendall")


def test_score_wants_one_shape() -> None:
    with pytest.raises(
        ValueError, match=re.escape("'unperturbed' is (2, 3, 4) and 'perturbed' is (2, 4, 3)")
    ):
        lm.score(np.zeros((2, 3, 4)), np.zeros((2, 4, 3)), "kendall")
    with pytest.raises(ValueError, match="one shape"):
        lm.score(np.zeros((2, 3, 4)), np.zeros((3, 3, 4)), "kendall")


def test_score_takes_what_is_on_disk_or_read_only_or_in_fortran_order(tmp_path: Path) -> None:
    maps = np.random.default_rng(0).normal(size=(2, 5, 6, 7)).astype(np.float32)
    expected = lm.score(maps[0], maps[1], METRICS)
    np.save(tmp_path / "maps.npy", maps)
    mapped = np.load(tmp_path / "maps.npy", mmap_mode="r")
    fortran = np.asfortranarray(maps)
    fortran.flags.writeable = False
    for u, p in [mapped, fortran, maps[:, ::-1][:, ::-1], maps.tolist(), maps.astype(">f4")]:
        found = lm.score(u, p, METRICS)
        pd.testing.assert_frame_equal(found, expected, check_exact=True)


def test_score_of_no_pairs_has_all_columns() -> None:
    scores = lm.score(np.empty((0, 3, 3)), np.empty((0, 3, 3)), "kendall")
    assert scores.columns.tolist() == ["sample", "status", "kendall"]
    assert len(scores) == 0


def test_score_counts_what_is_undefined() -> None:
    rng = np.random.default_rng(0)
    unperturbed, perturbed = rng.normal(size=(2, 5, 6, 6))
    unperturbed[1, 2, 3] = np.nan
    perturbed[2, 0, 0] = np.inf
    perturbed[3] = 2.0
    scores = lm.score(unperturbed, perturbed, ["kendall", "topk_intersection(k=4)"])
    assert scores["status"].tolist() == ["ok", "nan_map", "nan_map", "constant_map", "ok"]
    assert scores["kendall"].isna().tolist() == [False, True, True, True, False]
    assert scores["topk_intersection(k=4)"].isna().tolist() == [False, True, True, True, False]


@pytest.mark.usefixtures("own_metrics")
def test_a_metric_must_return_a_number() -> None:
    def forgetful(pair: lm.MapPair) -> float:
        return cast(float, None)

    lm.register(bounds=(0, 1), best=None)(forgetful)
    maps = np.random.default_rng(0).normal(size=(1, 4, 4))
    with pytest.raises(TypeError, match="NoneType") as caught:
        lm.score(maps, maps, "forgetful")
    assert caught.value.__notes__ == ["while scoring forgetful on sample 0"]


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


# Files


@pytest.mark.parametrize("channels", [None, 1, 3])
@pytest.mark.parametrize("rule", [None, "sum", "abs_max"])
def test_evaluate_equals_score(tmp_path: Path, channels: int | None, rule: str | None) -> None:
    attrs = {} if rule is None else {"reduction": rule}
    maps = write_file(tmp_path / "a.h5", channels=channels, attrs=attrs)
    reduced = maps
    if channels == 1:  # dropped, never reduced
        reduced = maps[0][:, 0], maps[1][:, 0]
    elif channels is not None:
        reduce: dict[str | None, Callable[[npt.NDArray[Any]], npt.NDArray[Any]]] = {
            None: lambda a: np.abs(a).sum(1),
            "sum": lambda a: a.sum(1),
            "abs_max": lambda a: np.abs(a).max(1),
        }
        reduced = reduce[rule](maps[0]), reduce[rule](maps[1])
    scores = lm.evaluate(tmp_path / "a.h5", METRICS)
    expected = lm.score(*reduced, METRICS).assign(sample=10 + 2 * np.arange(6))
    pd.testing.assert_frame_equal(scores.drop(columns="file"), expected, check_exact=True)
    assert scores["file"].tolist() == [str(tmp_path / "a.h5")] * 6


def test_table_of_a_study(study: list[Path]) -> None:
    scores = lm.evaluate(study, METRICS)
    assert scores.columns.tolist() == [
        *("file", "dataset", "training", "attack", "eps", "attack_k", "steps"),
        *("sample", "label", "prediction", "status"),
        *map(str, METRICS),
    ]
    assert scores.index.tolist() == list(range(19))
    lengths = [7, 3, 5, 4]
    assert scores["file"].tolist() == [
        str(path) for path, n in zip(study, lengths, strict=True) for _ in range(n)
    ]
    conditions: dict[str, list[Any]] = {
        "dataset": ["toy"] * 4,
        "training": ["natural", "natural", None, "pgd"],
        "attack": ["topk", "topk", "random_sign", "topk"],
        "eps": [0.1, 8 / 255, None, 0.1],
        "attack_k": [9, 9, None, 9],
        "steps": [5, 5, None, 5],
    }
    for name, by_file in conditions.items():
        assert isinstance(scores[name].dtype, pd.CategoricalDtype)
        repeated = [value for value, n in zip(by_file, lengths, strict=True) for _ in range(n)]
        assert scores[name].astype(object).where(scores[name].notna(), None).tolist() == repeated
    assert scores["eps"].cat.categories.dtype == np.float64

    good = ~scores["status"].isin(["incomplete", "checksum"])
    assert scores["status"][~good].to_dict() == {
        2: "checksum",
        10: "incomplete",
        13: "incomplete",
        16: "incomplete",
    }
    assert set(scores["status"][good]) <= {"ok", "few_diverse", "saturated", "few_diverse;saturated"}
    values = scores[list(map(str, METRICS))]
    assert values[~good].isna().all(axis=None)
    always = [
        c
        for c in values
        if not str(c).startswith(("lens_recall_div", "lens_precision_div", "lens_recall_adj"))
    ]
    assert values.loc[good, always].notna().all(axis=None)

    assert scores["sample"].dtype == np.int64
    starts = np.concatenate([10 + 2 * np.arange(n) for n in lengths])
    assert scores["sample"][good].tolist() == starts[good].tolist()
    assert scores["sample"][2] == 14
    assert scores["label"].dtype == scores["prediction"].dtype == "Int64"
    assert scores["label"][7:15].isna().all()
    labelled = [0, 1, 2, 3, 4, 5, 6, 0, pd.NA, 2, 3]
    pd.testing.assert_series_equal(
        scores["label"].drop(range(7, 15)).reset_index(drop=True),
        pd.Series(labelled, dtype="Int64", name="label"),
    )


def test_damage_stays_in_its_sample(study: list[Path]) -> None:
    clean, damaged = study[0].with_name("clean.h5"), study[0]
    write_file(clean, 7, seed=1, labels=True)
    columns = list(map(str, METRICS))
    expected = lm.evaluate(clean, METRICS).drop(index=2)
    found = lm.evaluate(damaged, METRICS).drop(index=2)
    pd.testing.assert_frame_equal(found[columns], expected[columns], check_exact=True)
    # The label is under the checksum too.
    flip_byte(clean, "label", 8 * 4)
    assert lm.evaluate(clean, "kendall")["status"].tolist() == ["ok"] * 4 + ["checksum"] + ["ok"] * 2


def test_maps_that_say_nothing(tmp_path: Path) -> None:
    unperturbed, perturbed = np.random.default_rng(0).normal(size=(2, 4, 5, 5))
    unperturbed[1] = np.nan
    perturbed[2] = 0.0
    with lm.PairWriter(tmp_path / "a.h5", n_samples=4, shape=(5, 5), attrs={}) as writer:
        writer.write(slice(0, 4), unperturbed, perturbed)
    scores = lm.evaluate(tmp_path / "a.h5", ["kendall", "topk_intersection(k=3)"])
    assert scores["status"].tolist() == ["ok", "nan_map", "constant_map", "ok"]
    assert scores["kendall"].isna().tolist() == [False, True, True, False]
    assert scores["topk_intersection(k=3)"].isna().tolist() == [False, True, True, False]


def test_paths_come_in_any_form(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("a.h5", "b.h5"):
        write_file(tmp_path / name, 2)
    monkeypatch.chdir(tmp_path)
    expected = lm.evaluate(["a.h5", "b.h5"], "kendall")
    assert expected["file"].tolist() == ["a.h5", "a.h5", "b.h5", "b.h5"]
    for paths in ((Path("a.h5"), "b.h5"), (Path(name) for name in ("a.h5", "b.h5"))):
        pd.testing.assert_frame_equal(lm.evaluate(paths, "kendall"), expected, check_exact=True)
    pd.testing.assert_series_equal(lm.evaluate("a.h5", "kendall")["kendall"], expected["kendall"][:2])


def test_other_attributes_follow_the_fixed_ones_but_for_provenance(tmp_path: Path) -> None:
    attrs = {
        "dataset": "toy",
        "steps": 20,
        "eps_norm": "linf",
        "command": "python -m this",
        "attack_k": 100,
        "attack_w": 1,
        "model": "cnn",
    }
    write_file(tmp_path / "a.h5", 2, attrs=attrs)
    assert lm.evaluate(tmp_path / "a.h5", "kendall").columns.tolist() == [
        *("file", "dataset", "model", "eps_norm", "attack_k", "attack_w", "steps"),
        *("sample", "status", "kendall"),
    ]


@pytest.mark.parametrize("other", ["8/255", [0.1, 0.2], 1])
def test_attributes_of_different_kinds_share_a_table(tmp_path: Path, other: Any) -> None:
    write_file(tmp_path / "a.h5", 2, attrs={"eps": 0.5})
    write_file(tmp_path / "b.h5", 2, attrs={"eps": other})
    scores = lm.evaluate([tmp_path / "a.h5", tmp_path / "b.h5"], "kendall")
    assert scores["eps"].nunique() == 2
    lm.write_scores(scores, tmp_path / "scores.parquet")
    pd.testing.assert_frame_equal(lm.read_scores(tmp_path / "scores.parquet"), scores)


def test_what_files_say_of_their_samples_is_in_the_status(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    unperturbed, perturbed = rng.normal(size=(2, 6, 5, 5))
    perturbed[1] = unperturbed[1]
    perturbed[4] = np.nan
    columns: dict[str, Any] = {"prediction": [0, 1, 2, 3, 4], "prediction_perturbed": [0, 1, 9, 9, 9]}
    with lm.PairWriter(tmp_path / "a.h5", n_samples=6, shape=(5, 5), attrs={}) as writer:
        writer.write(slice(0, 5), unperturbed[:5], perturbed[:5], n_accepted=[1, 0, 0, 7, 7], **columns)
    norms: dict[str, Any] = {"perturbation_linf": [0.1, 0.0, 0.2], "perturbation_l2": [0.1, 0.3, 0.0]}
    with lm.PairWriter(tmp_path / "b.h5", n_samples=3, shape=(5, 5), attrs={}) as writer:
        writer.write(slice(0, 3), unperturbed[:3], perturbed[3:][::-1], **norms)
    flip_byte(tmp_path / "b.h5", "unperturbed", 1 * 25 * 8)
    paths = [tmp_path / "a.h5", tmp_path / "b.h5"]
    expected = [
        *("ok", "identical;not_attacked", "label_changed;not_attacked", "label_changed"),
        *("label_changed;nan_map", "incomplete"),
        *("ok", "checksum", "not_attacked"),
    ]
    output = tmp_path / "s.parquet"
    found = lm.evaluate(paths, "kendall", output=output)
    assert found["status"].tolist() == expected
    again = lm.evaluate(paths, "kendall", output=output, resume=True)
    pd.testing.assert_frame_equal(again, found, check_exact=True)


def test_negative_values_are_said_where_a_metric_takes_the_top_k(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    maps = np.random.default_rng(0).random((2, 3, 5, 5))
    for name, sign in (("signed", -1), ("plain", 1)):
        with lm.PairWriter(tmp_path / f"{name}.h5", n_samples=3, shape=(5, 5), attrs={}) as writer:
            maps[1, 2, 3, 3] *= sign
            writer.write(slice(0, 3), *maps)
            maps[1, 2, 3, 3] *= sign

    def said(name: str, metric: str, **options: Any) -> bool:
        lm.evaluate(tmp_path / f"{name}.h5", metric, progress=True, **options)
        return "maps hold negative values" in capsys.readouterr().err

    output = tmp_path / "s.parquet"
    assert said("signed", "lens_recall(k=3)", output=output)
    assert said("signed", "lens_recall(k=3)", output=output, resume=True)  # nothing is read again
    assert not said("signed", "kendall")
    assert not said("signed", "sign_agreement(k=3)")  # goes by absolute values
    assert not said("plain", "lens_recall(k=3)")


# Mistakes in files


def test_all_problems_are_said_at_once(tmp_path: Path) -> None:
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
        paths[1:], ["exist", "HDF5", "empty", "format", "twice", "directory"], lines, strict=True
    ):
        assert str(name) in line
        assert words in line


@pytest.mark.parametrize(
    ("names", "kind", "words"),
    [
        ([], ValueError, "no pair files given"),
        (["a.h5", "./a.h5"], ValueError, "a.h5 is given twice"),
        (["a.h5", "link.h5"], ValueError, "link.h5 is given twice"),
        (["none.h5"], FileNotFoundError, "none.h5 does not exist"),
        (["text.h5"], lm.FormatError, "text.h5 is not an HDF5 file"),
    ],
)
def test_one_problem_is_itself(
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


# Files that change


def test_the_first_bad_sample_is_named_whichever_task_comes_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_file(tmp_path / "a.h5", 6)
    write_file(tmp_path / "b.h5", 2)
    for position in (1, 4):
        flip_byte(tmp_path / "a.h5", "perturbed", position * 42 * 4)
    paths = [tmp_path / "a.h5", tmp_path / "b.h5"]
    monkeypatch.setattr(runner, "_TASK_PIXELS", 1)
    with ThreadPoolExecutor(4) as threads:
        for executor in (None, threads, ReverseExecutor(8)):
            scores, failures = runner.score_files(paths, "kendall", executor=executor, on_bad="stop")
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
@pytest.mark.parametrize("where", ["here", "threads"])
def test_a_file_that_changes_meanwhile_fails_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, change: Callable[[Path], object], words: str, where: str
) -> None:
    paths = [tmp_path / "a.h5", tmp_path / "b.h5"]
    for path in paths:
        write_file(path, 6)
    expected = lm.evaluate(paths[1], "kendall")
    original, calls = scoring._score_blocks, iter(range(100))

    def score_slice(*arguments: Any) -> Any:
        if next(calls) == 2:
            change(paths[0])
        return original(*arguments)

    monkeypatch.setattr(runner, "_TASK_PIXELS", 42)
    monkeypatch.setattr(scoring, "_score_blocks", score_slice)
    with ThreadPoolExecutor(1) as threads:
        executor = None if where == "here" else threads
        scores, failures = runner.score_files(paths, "kendall", executor=executor)
    (failure,) = failures
    assert failure.path == paths[0]
    assert re.search(words, str(failure.error))
    assert scores is not None
    pd.testing.assert_frame_equal(scores, expected, check_exact=True)


def fails_on_trial_maps(pair: lm.MapPair) -> float:
    """Stand in for a metric of a user that takes maps of NaN, and of a ramp, for mistakes."""
    values = pair.unperturbed.reshape(-1)
    if not np.isfinite(values).all() or (np.diff(values) > 0).all():
        raise RuntimeError("this map is none of mine")
    return 1.0


@pytest.mark.usefixtures("own_metrics")
@pytest.mark.parametrize("where", ["here", "threads"])
def test_a_metric_is_judged_by_maps_of_the_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, where: str
) -> None:
    monkeypatch.setattr(runner, "_TASK_PIXELS", 42)
    lm.register(bounds=(0, 1), best=None)(fails_on_trial_maps)
    write_file(tmp_path / "a.h5", 3, missing=[0])
    write_file(tmp_path / "b.h5", 2)
    with ThreadPoolExecutor(2) as threads:
        executor = None if where == "here" else threads
        found = lm.evaluate([tmp_path / "a.h5", tmp_path / "b.h5"], "fails_on_trial_maps", executor=executor)
        assert found["fails_on_trial_maps"].fillna(0).tolist() == [0, 1, 1, 1, 1]
        with lm.PairWriter(tmp_path / "c.h5", n_samples=2, shape=(6, 7), attrs={}) as writer:
            writer.write(0, np.full((6, 7), np.nan), np.ones((6, 7)), sample=5)
            writer.write(1, np.ones((6, 7)), np.ones((6, 7)), sample=6)
        with pytest.raises(RuntimeError, match="none of mine") as caught:
            lm.evaluate(tmp_path / "c.h5", "fails_on_trial_maps", executor=executor)
    (note,) = caught.value.__notes__
    assert note == f"while scoring fails_on_trial_maps on sample 5 of {tmp_path}/c.h5"


# Executors


@pytest.mark.parametrize(("task", "block"), [(1, 1), (2 * 42, 1), (3 * 42, 2 * 42), (2**23, 42), (42, 2**19)])
def test_slices_do_not_show(
    study: list[Path], monkeypatch: pytest.MonkeyPatch, task: int, block: int
) -> None:
    expected = lm.evaluate(study, METRICS)
    monkeypatch.setattr(runner, "_TASK_PIXELS", task)
    monkeypatch.setattr(scoring, "_BLOCK_PIXELS", block)
    pd.testing.assert_frame_equal(lm.evaluate(study, METRICS), expected, check_exact=True)


def test_executors_do_not_show(
    study: list[Path], monkeypatch: pytest.MonkeyPatch, process_pool: Executor
) -> None:
    expected = lm.evaluate(study, METRICS)
    monkeypatch.setattr(runner, "_TASK_PIXELS", 2 * 42)
    n_tasks = 4 + 2 + 3 + 1
    reverse = ReverseExecutor(n_tasks)
    with ThreadPoolExecutor(4) as threads:
        for executor in (threads, process_pool, reverse):
            found = lm.evaluate(study, METRICS, executor=executor)
            pd.testing.assert_frame_equal(found, expected, check_exact=True)
    assert len(reverse.waiting) == n_tasks


def test_threads_share_no_pair(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each pair is made and scored by one thread, and the values are those of one thread."""
    paths = [tmp_path / f"{i}.h5" for i in range(4)]
    for i, path in enumerate(paths):
        write_file(path, 40, (28, 28), seed=i)
    metrics = lm.lens_suite(k=60, windows=(1, 2, 3))
    expected = lm.evaluate(paths, metrics)
    monkeypatch.setattr(runner, "_TASK_PIXELS", 28 * 28)
    made: list[tuple[lm.MapPair, int]] = []  # kept, so that no two have one address
    used: set[tuple[int, int]] = set()
    original_init, original = lm.MapPair.__init__, lm.MapPair.overlap

    def init(pair: lm.MapPair, *maps: Any) -> None:
        made.append((pair, threading.get_ident()))
        original_init(pair, *maps)

    def overlap(pair: lm.MapPair, k: int, w: int) -> Any:
        used.add((id(pair), threading.get_ident()))
        return original(pair, k, w)

    monkeypatch.setattr(lm.MapPair, "__init__", init)
    monkeypatch.setattr(lm.MapPair, "overlap", overlap)
    with ThreadPoolExecutor(8) as threads:
        found = lm.evaluate(paths, metrics, executor=threads)
    pd.testing.assert_frame_equal(found, expected, check_exact=True)
    assert len({thread for _, thread in made}) > 1
    assert used <= {(id(pair), thread) for pair, thread in made}
    assert len(used) == len({pair for pair, _ in used}) == 1 + 160


def test_users_metric_runs_in_spawned_processes(
    tmp_path: Path, user_metric: str, process_pool: Executor
) -> None:
    paths = [tmp_path / "a.h5", tmp_path / "b.h5"]
    maps = np.concatenate([write_file(path, 3, seed=i)[0] for i, path in enumerate(paths)])
    metric = lm.get_metric(user_metric, level=50)
    scores = lm.evaluate(paths, [metric], executor=process_pool)
    assert scores[str(metric)].tolist() == maps.max(axis=(1, 2)).astype(float).tolist()


def test_error_in_a_worker_keeps_its_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, user_metric: str, process_pool: Executor
) -> None:
    monkeypatch.setattr(scoring, "_BLOCK_PIXELS", 1)
    paths = [tmp_path / "a.h5", tmp_path / "b.h5"]
    write_file(paths[0], 3)
    with lm.PairWriter(paths[1], n_samples=3, shape=(6, 7), attrs={}) as writer:
        for i in range(3):
            writer.write(i, np.full((6, 7), -99.0 if i == 1 else 1.0), np.ones((6, 7)), sample=70 + i)
    metrics = ["kendall", f"{user_metric}(level=50)"]
    for executor in (None, process_pool, ReverseExecutor(2)):
        with pytest.raises(RuntimeError, match="the user's own metric failed") as caught:
            lm.evaluate(paths, metrics, executor=executor)
        assert caught.value.__notes__ == [
            f"while scoring {user_metric}(level=50) on sample 71 of {paths[1]}",
        ]


def test_error_cancels_what_has_not_begun(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, user_metric: str
) -> None:
    write_file(tmp_path / "a.h5", 6)
    monkeypatch.setattr(runner, "_TASK_PIXELS", 1)
    executor = UntilItFails()
    with pytest.raises(RuntimeError, match="the user's own metric failed"):
        lm.evaluate(tmp_path / "a.h5", f"{user_metric}(level=0)", executor=executor)
    assert [future.cancelled() for future in executor.futures] == [False] + [True] * 5


def test_metrics_travel_to_spawned_processes(process_pool: Executor) -> None:
    metric = lm.get_metric("lens_recall", k=3, w=1)
    pair = np.eye(4), np.eye(4)[::-1]
    assert process_pool.submit(_score_one, metric, *pair).result() == (
        "lens_recall(k=3,w=1)",
        metric(lm.MapPair(*pair)),
        metric,
    )


def _score_one(metric: lm.Metric, *maps: npt.NDArray[Any]) -> tuple[str, float, lm.Metric]:
    assert lm.get_metric(metric.name, **metric.params) == metric
    return str(metric), metric(lm.MapPair(*maps)), metric


# Progress


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_progress_is_shown_on_a_terminal_only(
    study: list[Path], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    lm.evaluate(study, "kendall", progress=True)
    out, err = capsys.readouterr()
    assert out == ""
    assert re.fullmatch(r"scored 19 pairs in \d+\.\d s: \d+ pairs per second\n", err)
    monkeypatch.setattr(sys, "stderr", None)  # closed
    lm.evaluate(study, "kendall", progress=True)
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    lm.evaluate(study, "kendall")
    assert not terminal.getvalue()
    lm.evaluate(study, "kendall", progress=True)
    assert "19/19" in terminal.getvalue()
    assert capsys.readouterr().out == ""


class BreaksDown(Executor):
    """Says that a worker died, as a process pool does, which then ends all futures itself."""

    def __init__(self) -> None:
        self.futures: list[Future[Any]] = []

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        self.futures.append(Future())
        if len(self.futures) == 2:
            self.futures[0].set_exception(BrokenExecutor("a worker died"))
        return self.futures[-1]


def test_a_broken_pool_ends_its_futures_itself(study: list[Path], monkeypatch: pytest.MonkeyPatch) -> None:
    """Cancelled ones end the thread of a process pool that would stop the other workers: it hangs then."""
    monkeypatch.setattr(runner, "_TASK_PIXELS", 42)
    executor = BreaksDown()
    with pytest.raises(BrokenExecutor, match="a worker died"):
        lm.evaluate(study, "kendall", executor=executor)
    assert len(executor.futures) > 2
    assert not any(future.cancelled() for future in executor.futures)


def test_a_name_that_no_table_holds_fails_before_scoring(tmp_path: Path) -> None:
    good, bad = tmp_path / "a.h5", tmp_path / os.fsdecode(b"bad\xff.h5")
    write_file(good, 3)
    try:
        bad.write_bytes(good.read_bytes())
    except OSError:
        pytest.skip("the file system takes UTF-8 names only")
    scores, (failure,) = runner.score_files([good, bad], "kendall")
    assert re.search(r"bad\\udcff\.h5' has a name that is not UTF-8.*: rename it", str(failure.error))
    assert scores is not None
    assert len(scores) == 3
