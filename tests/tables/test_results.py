"""Tables of scores: on disk and back, in long form, as a cube, and their means with intervals."""

import gzip
import json
import math
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import h5py
import hypothesis.strategies as st
import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
import pyarrow.parquet
import pytest
import scipy.stats
import xarray as xr
from hypothesis import example, given

import lensmetrics as lm
from lensmetrics.metrics import registry
from lensmetrics.scoring.files import _sample_columns
from lensmetrics.statuses import METRIC_STATUSES, SAMPLE_STATUSES
from lensmetrics.tables.columns import (
    PROVENANCE,
    condition_columns,
    distinguishing,
    equal_number,
    is_reserved,
    metric_columns,
    one_kind,
    skipped_attributes,
)
from lensmetrics.tables.files import check_output
from lensmetrics.tables.summary import undefined_reason
from tests.scoring.test_runner import flip_byte, write_file

METRICS = [
    *lm.lens_suite(k=5, windows=(1, 2)),
    *(lm.get_metric("lens_recall_chance", k=k, w=w) for k, w in [(5, 0), (7, 2)]),
    *(lm.get_metric("lens_recall_div_published", k=3, w=1, pool=pool) for pool in (20, 30)),
]
CONDITIONS = {"dataset": "toy", "training": "None", "attack": "topk", "eps": 8 / 255, "attack_k": 9}


@pytest.fixture(scope="module")
def scores(tmp_path_factory: pytest.TempPathFactory) -> pd.DataFrame:
    """A table with all there can be: missing conditions and labels, damaged and incomplete samples."""
    folder = tmp_path_factory.mktemp("study")
    paths = [folder / name for name in ("z.h5", "a.h5", "m.h5")]
    write_file(paths[0], 6, seed=1, attrs=CONDITIONS, labels=True)
    write_file(paths[1], 4, seed=2, attrs={**CONDITIONS, "training": "pgd", "eps": 0.1}, missing=[2])
    write_file(paths[2], 5, (8, 8), seed=3, attrs={"dataset": "toy", "attack": "random_sign"})
    flip_byte(paths[2], "unperturbed", 8 * 8 * 4)
    return lm.evaluate(paths, METRICS)


def make_scores(
    values: npt.ArrayLike, sample: Sequence[int] | None = None, *, name: str = "kendall", **columns: Any
) -> pd.DataFrame:
    """A table with one metric."""
    values = np.asarray(values, dtype=np.float64)
    table = pd.DataFrame({key: pd.Categorical(column) for key, column in columns.items() if key != "status"})
    table["sample"] = np.arange(len(values)) if sample is None else np.asarray(sample)
    table["status"] = columns.get("status", ["ok"] * len(values))
    table[name] = values
    return table


# On disk


@pytest.mark.parametrize("ending", [".parquet", ".csv", ".csv.gz"])
def test_tables_come_back_as_they_were(tmp_path: Path, scores: pd.DataFrame, ending: str) -> None:
    path = tmp_path / f"scores{ending}"
    lm.write_scores(scores, path)
    found = lm.read_scores(path)
    pd.testing.assert_frame_equal(found, scores, check_exact=True)
    assert found["eps"].cat.categories.tolist() == [8 / 255, 0.1]
    assert found["training"].cat.categories.tolist() == ["None", "pgd"]
    assert found["label"].dtype == "Int64"
    assert list(tmp_path.iterdir()) == [path]
    pd.testing.assert_frame_equal(lm.summarize(found), lm.summarize(scores))


@pytest.mark.parametrize("ending", [".parquet", ".csv"])
def test_every_digit_comes_back(tmp_path: Path, ending: str) -> None:
    values = np.array(
        [0.1, 1 / 3, -1e-310, 5e-324, 1.7976931348623157e308, np.nan, -0.0, np.inf, 1e22, 1e23, 2**-30]
    )
    table = make_scores([*values, *np.random.default_rng(0).normal(size=500)])
    lm.write_scores(table, tmp_path / f"a{ending}")
    found = lm.read_scores(str(tmp_path / f"a{ending}"))["kendall"].to_numpy()
    np.testing.assert_array_equal(found.view(np.int64), table["kendall"].to_numpy().view(np.int64))


def test_a_score_with_a_changed_bit_is_noticed(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    values = np.random.default_rng(0).normal(size=20)  # nothing in them that compression takes out
    lm.write_scores(make_scores(values), path)
    data = path.read_bytes()
    assert data.count(values[10].tobytes()) == 1
    path.write_bytes(data.replace(values[10].tobytes(), (-values[10]).tobytes()))
    with pytest.raises(ValueError, match=r"a\.parquet cannot be read as a table of scores .*(?i:crc)"):
        lm.read_scores(path)


def test_a_table_without_checksums_is_read(tmp_path: Path) -> None:
    table = make_scores([0.5, 0.25, 0.125])
    table.to_parquet(tmp_path / "a.parquet")
    pd.testing.assert_frame_equal(lm.read_scores(tmp_path / "a.parquet"), table)


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"sample,kendall,kendall\n1,.5,.6\n", "the column 'kendall' stands twice in it"),
        (b"sample,kendall,label\n1,.5,x\n", "the column 'label' must hold whole numbers"),
        (b"sa\xffple,kendall\n1,.5\n", "'utf-8' codec can't decode byte 0xff"),
        (b"sample,kendall\n1,.5,\r\x07\xff\n", "CSV parse error"),
    ],
)
def test_what_is_wrong_with_a_table_is_said_in_a_line(tmp_path: Path, data: bytes, reason: str) -> None:
    path = tmp_path / "a.csv"
    path.write_bytes(data)
    with pytest.raises(ValueError, match=rf"a\.csv cannot be read as a table of scores .*{reason}") as caught:
        lm.read_scores(path)
    assert str(caught.value).isprintable()


@pytest.mark.parametrize("word", ["pandas_type", "name"])
def test_descriptions_for_pandas_may_be_damaged(tmp_path: Path, word: str) -> None:
    path = tmp_path / "a.parquet"
    table = pa.Table.from_pandas(make_scores([0.5, 0.25, 0.125]))
    described = json.loads(table.schema.metadata[b"pandas"])
    for column in described["columns"]:
        del column[word]
    pa.parquet.write_table(table.replace_schema_metadata({"pandas": json.dumps(described)}), path)
    with pytest.raises(ValueError, match=rf"a\.parquet cannot be read as a table of scores .*{word}"):
        lm.read_scores(path)


@pytest.mark.parametrize("name", ["a.txt", "a", "a.h5", "a.csv.zip", "parquet"])
def test_unknown_endings_are_refused(tmp_path: Path, scores: pd.DataFrame, name: str) -> None:
    for function in (check_output, lambda path: lm.write_scores(scores, path)):
        with pytest.raises(ValueError, match=rf"{name}: .* \.parquet, \.csv or \.csv\.gz"):
            function(tmp_path / name)
    assert not list(tmp_path.iterdir())


def test_places_that_cannot_be_written_are_found(tmp_path: Path) -> None:
    (tmp_path / "folder.csv").mkdir()
    (tmp_path / "file").touch()
    with pytest.raises(FileNotFoundError, match=r"no/a\.csv cannot be written: there is no directory .*no"):
        check_output(tmp_path / "no" / "a.csv")
    with pytest.raises(OSError, match=r"file/a\.csv cannot be written"):
        check_output(tmp_path / "file" / "a.csv")
    with pytest.raises(IsADirectoryError, match=r"folder\.csv is a directory"):
        check_output(tmp_path / "folder.csv")
    assert check_output(tmp_path / "a.csv") == tmp_path / "a.csv"
    assert check_output("a.parquet") == Path("a.parquet")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "folder.csv"]


@pytest.mark.parametrize("exists", [False, True])
def test_folders_without_permission_are_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, exists: bool
) -> None:
    # Stands in for chmod, which does not bind root. The table is written beside itself, then renamed.
    monkeypatch.setattr(os, "access", lambda path, mode: Path(path) != tmp_path)
    if exists:
        (tmp_path / "a.csv").touch()
    with pytest.raises(PermissionError, match=r"a\.csv cannot be written: permission denied"):
        check_output(tmp_path / "a.csv")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_folders_without_permission_are_found_for_real(tmp_path: Path) -> None:
    tmp_path.chmod(0o555)
    with pytest.raises(PermissionError, match=r"a\.csv cannot be written: permission denied"):
        check_output(tmp_path / "a.csv")


@pytest.mark.parametrize(
    ("ending", "method"),
    [(".parquet", "pyarrow.parquet.write_table"), (".csv", "lensmetrics.tables.files.write_csv")],
)
def test_failed_writing_leaves_the_old_table(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, scores: pd.DataFrame, ending: str, method: str
) -> None:
    path = tmp_path / f"a{ending}"
    lm.write_scores(scores, path)
    before = path.read_bytes()

    def half(table: object, target: Path, **options: object) -> None:
        Path(target).write_bytes(b"half a table")
        raise OSError("no space left on device")

    monkeypatch.setattr(method, half)
    with pytest.raises(OSError, match="no space left"):
        lm.write_scores(scores.head(2), path)
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


def test_older_table_is_replaced(tmp_path: Path, scores: pd.DataFrame) -> None:
    lm.write_scores(scores, tmp_path / "a.parquet")
    before = (tmp_path / "a.parquet").read_bytes()
    with (tmp_path / "a.parquet").open("rb") as reader:
        lm.write_scores(scores.head(2), tmp_path / "a.parquet")
        assert reader.read() == before  # whoever is reading the old one sees none of the new
    assert len(lm.read_scores(tmp_path / "a.parquet")) == 2


@pytest.mark.parametrize("ending", [".parquet", ".csv", ".csv.gz"])
@pytest.mark.parametrize(
    "content",
    [b"", b"\x00\xff\x00", b"hello", b"a,b\n1,2\n1,2,3\n", gzip.compress(b"a,b\n" * 999, mtime=0)[:-9]],
    ids=["empty", "binary", "text", "ragged", "half a gzip"],
)
def test_what_is_no_table_is_refused(tmp_path: Path, ending: str, content: bytes) -> None:
    path = tmp_path / f"a{ending}"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=rf"a{ending}.* (table|column) of scores"):
        lm.read_scores(path)


@pytest.mark.parametrize("name", ["none.parquet", "none.csv", "none.csv.gz"])
def test_table_that_does_not_exist(tmp_path: Path, name: str) -> None:
    with pytest.raises(FileNotFoundError, match=rf"{name}.* (does not exist|No such file)"):
        lm.read_scores(tmp_path / name)


@pytest.mark.parametrize(
    "text",
    ["sample,status\n1,ok\n", "sample,label,kendall\n1,x,.5\n", "sample,status,kendall\n1,ok,high\n"],
    ids=["no scores", "label", "score"],
)
def test_columns_that_are_not_what_they_should_be(tmp_path: Path, text: str) -> None:
    (tmp_path / "a.csv").write_text(text)
    with pytest.raises(ValueError, match=r"a\.csv"):
        lm.read_scores(tmp_path / "a.csv")


# Long form


def test_tidy_has_a_row_per_pair_and_metric(scores: pd.DataFrame) -> None:
    long = lm.tidy(scores)
    identity = [
        "file",
        "dataset",
        "training",
        "attack",
        "eps",
        "attack_k",
        "sample",
        "label",
        "prediction",
        "status",
    ]
    assert long.columns.tolist() == [*identity, "metric", "k", "w", "pool", "value"]
    assert len(long) == len(scores) * len(METRICS)
    row = 0
    for i in range(len(scores)):
        for metric in METRICS:
            assert long["metric"][row] == metric.name
            for key in ("k", "w", "pool"):
                assert (long[key][row] is pd.NA) == (key not in metric.params)
                assert long[key][row] is pd.NA or long[key][row] == metric.params[key]
            np.testing.assert_equal(long["value"][row], scores[str(metric)][i])
            row += 1
    assert [str(long[key].dtype) for key in ("metric", "k", "w", "pool")] == ["category", *["Int64"] * 3]
    for column in identity:
        pd.testing.assert_series_equal(
            long[column], scores[column].repeat(len(METRICS)).reset_index(drop=True), check_exact=True
        )


def test_tidy_always_has_k_and_w() -> None:
    long = lm.tidy(make_scores([0.5, np.nan]))
    assert long.columns.tolist() == ["sample", "status", "metric", "k", "w", "value"]
    assert long["k"].isna().all()
    assert long["w"].isna().all()
    assert long["k"].dtype == "Int64"


def test_tidy_takes_any_index(scores: pd.DataFrame) -> None:
    shuffled = scores.sample(frac=1, random_state=0)
    expected = lm.tidy(shuffled.reset_index(drop=True))
    pd.testing.assert_frame_equal(lm.tidy(shuffled), expected)


@pytest.mark.parametrize("function", [lm.tidy, lm.to_xarray, lm.summarize])
def test_table_without_scores_is_refused(function: Any, scores: pd.DataFrame) -> None:
    with pytest.raises(ValueError, match="the table has no column of scores"):
        function(scores[["file", "sample", "status"]])


# Cube


def test_cube_of_several_files_holds_every_value(scores: pd.DataFrame) -> None:
    cube = lm.to_xarray(scores)
    assert cube["file"].values.tolist() == scores["file"].unique().tolist()
    known = scores["sample"][scores["status"] != "incomplete"]
    assert set(known) <= set(cube["sample"].values.tolist())
    assert {name: cube[name].dims for name in ("kendall", "topk_intersection", "lens_recall")} == {
        "kendall": ("file", "sample"),
        "topk_intersection": ("file", "sample", "k"),
        "lens_recall": ("file", "sample", "k", "w"),
    }
    assert cube["lens_recall_div_published"].dims == ("file", "sample", "k", "w", "pool")
    assert cube["w"].values.tolist() == [0, 1, 2]
    n_filled = 0
    for metric in METRICS:
        for _, row in scores[scores["status"] != "incomplete"].iterrows():
            place = {"file": row["file"], "sample": row["sample"], **metric.params}
            value = cube[metric.name].sel(place).item()
            np.testing.assert_equal(value, row[str(metric)])
            n_filled += not np.isnan(value)
    total = sum(int(cube[name].notnull().sum()) for name in {metric.name for metric in METRICS})
    assert total == n_filled  # and nothing anywhere else
    statuses = {(row["file"], row["sample"]): row["status"] for _, row in scores.iterrows()}
    for file in cube["file"].values:
        for sample in cube["sample"].values:
            assert cube["status"].sel(file=file, sample=sample).item() == statuses.get((file, sample), "")
    assert cube["attack"].dims == cube["eps"].dims == ("file",)
    assert cube["attack"].values.tolist() == ["topk", "topk", "random_sign"]
    np.testing.assert_array_equal(cube["eps"].values.astype(float), [8 / 255, 0.1, np.nan])


def test_cube_of_one_file_has_no_file_dimension(scores: pd.DataFrame) -> None:
    one = scores[scores["training"] == "None"]
    cube = lm.to_xarray(one)
    assert dict(cube["lens_recall"].sizes) == {"sample": 6, "k": 3, "w": 3}
    assert cube["sample"].values.tolist() == one["sample"].tolist()
    assert cube["lens_recall"].sel(k=5, w=2).values.tolist() == one["lens_recall(k=5,w=2)"].tolist()
    assert cube["status"].values.tolist() == one["status"].tolist()
    assert cube["attack"].item() == "topk"
    assert cube["eps"].item() == 8 / 255
    assert "file" not in cube.dims


def test_cube_of_scored_arrays_sorts_the_samples() -> None:
    cube = lm.to_xarray(make_scores([0.3, 0.1, 0.2], [30, 10, 20], status=["ok", "nan_map", "tied_cut"]))
    assert cube["sample"].values.tolist() == [10, 20, 30]
    assert cube["kendall"].values.tolist() == [0.1, 0.2, 0.3]
    assert cube["status"].values.tolist() == ["nan_map", "tied_cut", "ok"]


def test_cube_needs_each_sample_once() -> None:
    with pytest.raises(ValueError, match="sample 7 stands twice in the table"):
        lm.to_xarray(make_scores([1, 2, 3], [7, 8, 7]))
    twice = make_scores([1, 2, 3, 4], [7, 8, 7, 7], file=["a.h5", "a.h5", "b.h5", "b.h5"])
    with pytest.raises(ValueError, match=r"sample 7 of b\.h5 stands twice in the table"):
        lm.to_xarray(twice)
    assert lm.to_xarray(twice.head(3))["kendall"].sel(file="b.h5", sample=7) == 3


def test_cube_of_an_unfinished_file(tmp_path: Path) -> None:
    """Samples that were never written have no number of their own, and must not get in each other's way."""
    write_file(tmp_path / "a.h5", 6, missing=[1, 2, 5])
    write_file(tmp_path / "b.h5", 6, missing=[0, 1])
    scores = lm.evaluate([tmp_path / "a.h5", tmp_path / "b.h5"], "kendall")
    cube = lm.to_xarray(scores)
    for _, row in scores[scores["status"] == "ok"].iterrows():
        assert cube["kendall"].sel(file=row["file"], sample=row["sample"]) == row["kendall"]
    assert int(cube["kendall"].notnull().sum()) == 7


def test_labels_that_would_be_lost_are_refused(tmp_path: Path, scores: pd.DataFrame) -> None:
    wrong = {
        r"has training in its index: write scores\.reset_index\(\)": scores.set_index("training"),
        "'kendall' occurs twice": pd.concat([scores, scores[["kendall"]]], axis=1),
        "has the column 3; names of columns must be texts": scores.assign(kendall=1.0).rename(
            columns={"status": 3}
        ),
    }
    for words, table in wrong.items():
        for function in (lm.summarize, lm.tidy, lm.to_xarray):
            with pytest.raises(ValueError, match=words):
                function(table)
        for name in ("s.csv", "s.parquet"):
            with pytest.raises(ValueError, match=words):
                lm.write_scores(table, tmp_path / name)


def test_cube_can_be_written_as_netcdf(tmp_path: Path, scores: pd.DataFrame) -> None:
    for name, table in {"several": scores, "one": scores[scores["training"] == "None"]}.items():
        cube = lm.to_xarray(table)
        cube.to_netcdf(tmp_path / f"{name}.nc", engine="h5netcdf")
        with xr.open_dataset(tmp_path / f"{name}.nc", engine="h5netcdf") as back:
            for variable in cube.data_vars:
                np.testing.assert_array_equal(back[variable].values, cube[variable].values)


# Summaries


def test_summary_is_mean_sd_and_counts(scores: pd.DataFrame) -> None:
    by = ["training", "attack"]
    table = lm.summarize(scores, by=by)
    assert table.columns[:8].tolist() == [*by, "metric", "mean", "sd", "n", "n_undefined", "ci_low"]
    tokens = sorted({token for status in scores["status"] for token in status.split(";")} - {"ok"})
    assert {"checksum", "incomplete", "few_diverse"} <= set(tokens)
    assert table.columns[8:].tolist() == ["ci_high", *(f"n_{token}" for token in tokens)]
    groups = {("None", "topk"): range(6), ("pgd", "topk"): range(6, 10), (None, "random_sign"): range(10, 15)}
    assert len(table) == len(groups) * len(METRICS)
    assert table["metric"].tolist() == [str(metric) for metric in METRICS] * 3
    for (training, attack), rows in groups.items():
        group = scores.loc[list(rows)]
        here = table["training"].isna() if training is None else table["training"] == training
        for _, found in table[here & (table["attack"] == attack)].iterrows():
            values = group[found["metric"]].to_numpy()
            defined = values[~np.isnan(values)]
            assert found["n"] == len(defined)
            if not len(defined):
                assert math.isnan(found["mean"])
                assert math.isnan(found["sd"])
                continue
            np.testing.assert_allclose(found["mean"], defined.mean(), rtol=1e-13)
            assert found["n_undefined"] == len(group) - len(defined)
            if len(defined) == 1:
                assert math.isnan(found["sd"])
                assert math.isnan(found["ci_low"])
                continue
            np.testing.assert_allclose(found["sd"], defined.std(ddof=1), rtol=1e-12, atol=1e-15)
            assert found["ci_low"] - 1e-12 <= found["mean"] <= found["ci_high"] + 1e-12
            for token in tokens:
                assert found[f"n_{token}"] == sum(token in status.split(";") for status in group["status"])


def test_summary_without_by_uses_what_varies(scores: pd.DataFrame) -> None:
    # attack, eps and attack_k are decided by training.
    pd.testing.assert_frame_equal(lm.summarize(scores), lm.summarize(scores, by=["training"]))
    one = scores[scores["training"] == "None"]
    assert lm.summarize(one).columns[0] == "metric"
    pd.testing.assert_frame_equal(lm.summarize(one), lm.summarize(one, by=[]))
    pd.testing.assert_frame_equal(lm.summarize(scores, "attack"), lm.summarize(scores, ["attack"]))


def test_summary_by_file_or_label_or_sample(scores: pd.DataFrame) -> None:
    assert lm.summarize(scores, by=["file"])["n_undefined"].sum() >= 2 * len(METRICS)
    assert len(lm.summarize(scores, by=["label"])) == (6 + 1) * len(METRICS)
    assert lm.summarize(make_scores([1, 2, 4], [5, 5, 6]), by="sample")["mean"].tolist() == [1.5, 4]


def test_groups_with_missing_values_are_kept() -> None:
    table = make_scores([1, 2, 3, 4], attack=["a", None, "a", None], eps=[0.1, np.nan, 0.2, np.nan])
    found = lm.summarize(table)
    assert found["n"].tolist() == [1, 1, 2]
    assert found["mean"].tolist() == [1, 3, 3]
    assert found["attack"].isna().tolist() == [False, False, True]


@pytest.mark.parametrize("by", ["nope", "metric", ["attack", "nope"]])
def test_unknown_group_is_refused(by: Any) -> None:
    with pytest.raises(ValueError, match=r"cannot summarize by '\w+': the table has attack, sample, status"):
        lm.summarize(make_scores([1, 2], attack=["a", "b"]), by)


def test_users_own_column_can_tell_groups_apart() -> None:
    table = make_scores([1, 2, 4])
    table["family"] = ["cnn", "vit", "vit"]
    found = lm.summarize(table, by="family")
    assert found["family"].tolist() == ["cnn", "vit"]
    assert found["metric"].tolist() == ["kendall", "kendall"]
    assert found["mean"].tolist() == [1, 3]


def test_summary_of_little() -> None:
    nothing = lm.summarize(make_scores([np.nan, np.nan, np.nan])).iloc[0]
    assert nothing[["mean", "sd", "ci_low", "ci_high"]].isna().all()
    assert (nothing["n"], nothing["n_undefined"]) == (0, 3)
    for values in ([0.25], [0.25, np.nan], [np.nan, 0.25, np.nan]):
        single = lm.summarize(make_scores(values)).iloc[0]
        assert (single["mean"], single["n"], single["n_undefined"]) == (0.25, 1, len(values) - 1)
        assert single[["sd", "ci_low", "ci_high"]].isna().all()
    same = lm.summarize(make_scores([0.1] * 7)).iloc[0]
    np.testing.assert_allclose(same[["mean", "ci_low", "ci_high"]].to_numpy(float), 0.1, rtol=1e-15)
    assert same["sd"] < 1e-16
    empty = lm.summarize(make_scores([])).iloc[0]
    assert (empty["n"], empty["n_undefined"]) == (0, 0)
    assert len(lm.summarize(make_scores([]), by="sample")) == 0


def test_each_token_of_a_status_is_counted() -> None:
    found = lm.summarize(make_scores([1, 2, 3], status=["constant_map;tied_cut", "ok", "tied_cut"])).iloc[0]
    assert (found["n_tied_cut"], found["n_constant_map"]) == (2, 1)
    assert "n_ok" not in found


def test_status_is_optional() -> None:
    table = make_scores([1, 2, 3])
    pd.testing.assert_frame_equal(lm.summarize(table.drop(columns="status")), lm.summarize(table))


def test_infinite_scores_do_not_swallow_the_mean() -> None:
    found = lm.summarize(make_scores([1, 3, np.inf, -np.inf], name="mse")).iloc[0]
    assert (found["mean"], found["n"], found["n_undefined"]) == (2, 2, 2)
    assert 1 <= found["ci_low"] <= found["ci_high"] <= 3


# Intervals


def bootstrap(
    values: npt.NDArray[np.float64], sample: npt.NDArray[np.int64], n: int = 4000
) -> tuple[float, float]:
    """The percentile interval of the mean, one source sample at a time."""
    rng = np.random.default_rng(99)
    sources = [values[sample == number] for number in np.unique(sample)]
    means = []
    for _ in range(n):
        drawn = np.concatenate([sources[i] for i in rng.integers(0, len(sources), len(sources))])
        if not np.isnan(drawn).all():
            means.append(np.nanmean(drawn))
    low, high = np.percentile(means, [2.5, 97.5])
    return float(low), float(high)


@pytest.mark.parametrize("case", ["plain", "shared", "uneven", "undefined"])
def test_interval_is_the_bootstrap_over_source_samples(case: str) -> None:
    rng = np.random.default_rng(5)
    sample = np.arange(40)
    if case in ("shared", "undefined"):
        sample = np.repeat(np.arange(25), 4)
    if case == "uneven":
        sample = np.repeat(np.arange(25), rng.integers(1, 9, 25))
    values = rng.gamma(1.0, size=40)[sample] + 0.1 * rng.normal(size=len(sample))
    if case == "undefined":
        values[rng.random(len(values)) < 0.3] = np.nan
    order = rng.permutation(len(values))
    found = lm.summarize(make_scores(values[order], sample[order].tolist())).iloc[0]
    low, high = bootstrap(values, sample)
    width = high - low
    assert abs(found["ci_low"] - low) < 0.08 * width
    assert abs(found["ci_high"] - high) < 0.08 * width
    if case == "shared":  # rows as if they were independent: half the width
        rows = lm.summarize(make_scores(values)).iloc[0]
        assert rows["ci_high"] - rows["ci_low"] < 0.65 * width


def test_interval_is_the_same_for_two_copies_of_a_condition() -> None:
    rng = np.random.default_rng(0)
    values, sample = rng.normal(size=30), rng.permutation(30)
    once = lm.summarize(make_scores(values, sample.tolist())).iloc[0]
    twice = lm.summarize(make_scores(np.tile(values, 2), np.tile(sample, 2).tolist())).iloc[0]
    assert twice["n"] == 60
    np.testing.assert_allclose(
        twice[["mean", "ci_low", "ci_high"]].to_numpy(float),
        once[["mean", "ci_low", "ci_high"]].to_numpy(float),
    )


def test_samples_of_different_datasets_are_different() -> None:
    rng = np.random.default_rng(0)
    values = np.repeat(rng.normal(size=30), 2)
    sample = np.repeat(np.arange(30), 2).tolist()
    shared = lm.summarize(make_scores(values, sample, dataset=["a"] * 60), by=[]).iloc[0]
    apart = lm.summarize(make_scores(values, sample, dataset=["a", "b"] * 30), by=[]).iloc[0]
    unknown = lm.summarize(make_scores(values, sample, dataset=["a", None] * 30), by=[]).iloc[0]
    widths = [found["ci_high"] - found["ci_low"] for found in (shared, apart, unknown)]
    assert widths[1] < 0.85 * widths[0]
    assert widths[2] == widths[1]


def test_rows_without_sample_are_on_their_own() -> None:
    values = np.random.default_rng(0).normal(size=30)
    table = make_scores(values)
    pd.testing.assert_frame_equal(lm.summarize(table.drop(columns="sample")), lm.summarize(table))


def test_interval_is_seeded_and_does_not_depend_on_the_order_of_rows(scores: pd.DataFrame) -> None:
    values = np.random.default_rng(0).normal(size=50)
    table = make_scores(values)
    first = lm.summarize(table)
    pd.testing.assert_frame_equal(lm.summarize(table), first, check_exact=True)
    pd.testing.assert_frame_equal(lm.summarize(table, seed=0), first, check_exact=True)
    ends = [lm.summarize(table, seed=seed)["ci_low"][0] for seed in range(12)]
    assert len(set(ends)) > 1
    # That seeds matter little is what many resamples are for.
    assert np.std(ends) < 0.035 * (first["ci_high"][0] - first["ci_low"][0])
    pd.testing.assert_frame_equal(lm.summarize(table.sample(frac=1, random_state=3)), first)
    shifted = lm.summarize(make_scores(values + 5)).iloc[0]
    np.testing.assert_allclose(shifted["ci_low"] - 5, first["ci_low"][0], rtol=1e-12)
    # One metric's interval does not depend on which others stand beside it.
    alone = lm.summarize(scores.drop(columns=[str(metric) for metric in METRICS if metric.name != "kendall"]))
    beside = lm.summarize(scores)
    beside = beside[beside["metric"] == "kendall"].reset_index(drop=True)
    np.testing.assert_allclose(alone["ci_low"], beside["ci_low"], rtol=1e-12)


def test_interval_covers_the_mean_about_as_often_as_it_says() -> None:
    rng = np.random.default_rng(1)
    covered = 0
    for seed in range(100):
        found = lm.summarize(make_scores(rng.normal(size=40)), seed=seed).iloc[0]
        covered += found["ci_low"] <= 0 <= found["ci_high"]
    assert 86 <= covered <= 99


@pytest.mark.parametrize("text", ["nan", "true", "12:30", "None", "NA", "inf1", "2020-01-01"])
def test_texts_in_csv_stay_texts(tmp_path: Path, text: str) -> None:
    table = make_scores([1, 2], attack=[text, "topk"])
    lm.write_scores(table, tmp_path / "s.csv")
    assert lm.read_scores(tmp_path / "s.csv")["attack"].astype(str).tolist() == [text, "topk"]


ODD_TEXTS = [
    *(
        "018",
        "1_0",
        "infinity",
        "Infinity",
        " 7 ",
        "",
        " ",
        "1e5",
        "+3",
        "0x1f",
        "１",
        "٣",
        "99999999999999999999",
    ),
    *(
        "=1+1",
        "'=1",
        "''-",
        "@a",
        "-x",
        "+",
        "\t",
        "\r",
        "\n",
        "\r\n",
        'a"b',
        '"',
        "a,b",
        "'",
        "nan",
        "NA",
        "True",
    ),
    *("-0", "-0.5x", "1.50", "1E-05", "\ufeff", "é", "#", "None", "\x00", "\x1b[31m"),
]


@given(texts=st.lists(st.text() | st.sampled_from(ODD_TEXTS), min_size=1, max_size=6))
@example(texts=["", ""])
@example(texts=["018", "18"])
@example(texts=["1_0", "10"])
@example(texts=["1", "1.0"])
@example(texts=["infinity"])
@example(texts=["16777217", "0.5"])
@pytest.mark.parametrize("ending", [".csv", ".csv.gz"])
def test_any_text_comes_back_from_csv(
    tmp_path_factory: pytest.TempPathFactory, ending: str, texts: list[str]
) -> None:
    path = tmp_path_factory.mktemp("t") / f"s{ending}"
    texts = [text for text in texts if not any(0xD800 <= ord(c) < 0xE000 for c in text)]
    table = make_scores([0.5] * (len(texts) + 1), training=[*texts, None], file=[*texts, "x"])
    table.insert(0, "name", [*texts, None])
    table["status"] = [*texts, "ok"]
    lm.write_scores(table, path)
    found = lm.read_scores(path)
    for column in ("name", "file", "status"):
        assert (
            found[column].astype(object).where(found[column].notna(), None).tolist()
            == table[column].astype(object).where(table[column].notna(), None).tolist()
        )
    known = found["training"].tolist()[:-1]
    assert pd.isna(found["training"].iloc[-1])
    # A text that is how a number prints may be that number, where it then prints the same.
    assert [text if isinstance(text, str) else f"{text}" for text in known] == texts


@pytest.mark.parametrize("text", ["=2+3", "+a", "-a", "@SUM(A1)", "\tx"])
def test_no_cell_of_a_csv_is_a_formula(tmp_path: Path, text: str) -> None:
    table = make_scores([-0.5, 0.25], file=[text, "b"], training=[text, "b"]).assign(name=[text, "b"])
    table[text] = [text, "b"]
    lm.write_scores(table, tmp_path / "s.csv")
    lines = (tmp_path / "s.csv").read_text().splitlines()
    assert [cell for cell in ",".join(lines).split(",") if cell.startswith(text[0])] == [
        "-0.5"
        for _ in range(text.startswith("-"))  # a number
    ]
    found = lm.read_scores(tmp_path / "s.csv")
    for column in ("file", "training", "name", text):
        assert found[column].tolist() == [text, "b"]


def test_truth_values_are_texts_in_every_table(tmp_path: Path) -> None:
    table = make_scores([1, 2], augmented=[True, False])
    for ending in (".csv", ".parquet"):
        lm.write_scores(table, tmp_path / f"s{ending}")
        assert lm.read_scores(tmp_path / f"s{ending}")["augmented"].tolist() == ["True", "False"]
    assert one_kind([True, None]) == ["True", None]


def test_table_that_a_spreadsheet_saved_keeps_its_scores(tmp_path: Path) -> None:
    (tmp_path / "s.csv").write_text(
        'attack,eps,step_size,sample,status,kendall,"lens_recall(k=5,w=1)",mine(k=2)\n'
        "topk,1,0.5,1,ok,1,0,\ntopk,0.5,0.5,2,ok,0,1,3\n"
    )
    found = lm.read_scores(tmp_path / "s.csv")
    assert metric_columns(found) == ["kendall", "lens_recall(k=5,w=1)", "mine(k=2)"]
    assert [str(found[column].dtype) for column in metric_columns(found)] == ["float64"] * 3
    assert condition_columns(found) == ["attack", "eps", "step_size"]
    assert found["eps"].tolist() == [1.0, 0.5]
    assert lm.summarize(found, by=[])["mean"].tolist() == [0.5, 0.5, 3]


def test_a_column_without_any_value_comes_back_from_csv(tmp_path: Path) -> None:
    table = make_scores([1, np.nan])
    table["label"] = pd.array([None, None], dtype="Int64")
    lm.write_scores(table, tmp_path / "s.csv")
    pd.testing.assert_frame_equal(lm.read_scores(tmp_path / "s.csv"), table)
    alone = pd.DataFrame({"kendall": [np.nan, 1.0, np.nan]})
    lm.write_scores(alone, tmp_path / "s.csv")
    pd.testing.assert_frame_equal(lm.read_scores(tmp_path / "s.csv"), alone)


@pytest.mark.parametrize("ending", [".csv", ".parquet"])
@pytest.mark.parametrize("sample", [["img_b", "img_a"], ["018", "18"], [0.5, 1.5]])
def test_samples_that_are_not_numbered_come_back(tmp_path: Path, ending: str, sample: list[Any]) -> None:
    xr = pytest.importorskip("xarray")
    maps = np.random.default_rng(0).normal(size=(2, 2, 5, 5))
    u, p = (xr.DataArray(m, dims=("sample", "y", "x"), coords={"sample": sample}) for m in maps)
    table = lm.score(u, p, "kendall")
    lm.write_scores(table, tmp_path / f"s{ending}")
    found = lm.read_scores(tmp_path / f"s{ending}")
    assert found["sample"].tolist() == sample
    assert lm.to_xarray(found)["sample"].values.tolist() == sorted(sample)
    assert lm.summarize(found)["n"].tolist() == [2]


@pytest.mark.parametrize("ending", [".csv", ".parquet"])
def test_numbered_and_named_samples_can_be_joined(tmp_path: Path, ending: str) -> None:
    numbered = make_scores([1, 2], [7, 3])
    joined = pd.concat([numbered, numbered.assign(sample=["b", "a"])])
    assert lm.to_xarray(joined)["sample"].values.tolist() == ["3", "7", "a", "b"]
    assert lm.summarize(joined)["n"].tolist() == [4]
    lm.write_scores(joined, tmp_path / f"s{ending}")
    assert lm.read_scores(tmp_path / f"s{ending}")["sample"].tolist() == ["7", "3", "b", "a"]


# What is a score, what is a condition


def test_scores_are_known_by_their_names() -> None:
    table = make_scores([1, 2], eps=[0.1, 0.2])
    more: dict[str, Any] = {"mine(k=3,level=0.5)": [1, 2], "a (b)": 1.0, "pearson": 1}
    table = table.assign(step_size=[0.5, 0.25], **more)
    table.insert(0, "lens_recall(k=3,w=1)", [0, 1])
    assert metric_columns(table) == ["lens_recall(k=3,w=1)", "kendall", "mine(k=3,level=0.5)", "pearson"]
    assert condition_columns(table) == ["eps", "step_size", "a (b)"]
    joined = pd.concat([table, make_scores([3], seed=[7]).assign(beta=0.5)])
    assert metric_columns(joined) == metric_columns(table)
    assert condition_columns(joined) == ["eps", "step_size", "a (b)", "seed", "beta"]
    assert lm.summarize(joined, by=[])["metric"].tolist() == metric_columns(table)


def test_a_metric_that_is_not_registered_here_is_still_a_metric(tmp_path: Path) -> None:
    def sharpness(pair: lm.MapPair) -> float:
        return 0.5

    maps = np.random.default_rng(0).normal(size=(2, 3, 5, 5))
    write_file(tmp_path / "a.h5")
    with registry.temporary():
        lm.register(bounds=(0, 1), best=None)(sharpness)
        tables = lm.score(maps[0], maps[1], "sharpness"), lm.evaluate(tmp_path / "a.h5", "sharpness")
    for table in tables:
        assert table.attrs == {"metrics": ["sharpness"]}
        lm.write_scores(table.copy(), tmp_path / "s.parquet")
        found = lm.read_scores(tmp_path / "s.parquet")
        assert metric_columns(found) == metric_columns(table) == ["sharpness"]
        assert lm.summarize(found)["mean"].tolist() == [0.5]
        assert lm.tidy(found)["metric"].tolist() == ["sharpness"] * len(table)
        assert lm.to_xarray(found)["sharpness"].values.tolist() == [0.5] * len(table)
        # The list says nothing of columns that never hold scores.
        found.attrs["metrics"] = ["sharpness", "sample", "eps"]
        assert metric_columns(found.assign(eps=0.1)) == ["sharpness"]


def test_all_attributes_are_conditions_but_provenance(tmp_path: Path) -> None:
    attrs = {"seed": 3, "steps": 40, "layers": [4, 4, 8, 8], "attack": "topk", "eps_norm": "l2"}
    more = {"command": "a b", "versions": "1", "natural_accuracy": 0.9, "checkpoint_sha256": "ab"}
    write_file(tmp_path / "a.h5", attrs={**attrs, **more, "reduction": "sum"})
    write_file(tmp_path / "b.h5", attrs={"seed": "x", "attack": "topk"})
    alone = lm.evaluate(tmp_path / "a.h5", "kendall")
    columns = ["file", "attack", "eps_norm", "layers", "seed", "steps", "sample", "status", "kendall"]
    assert sorted(alone.columns) == sorted(columns)
    assert alone.columns[:3].tolist() == columns[:3]
    assert alone.columns[6:].tolist() == columns[6:]
    assert alone["layers"].unique().tolist() == ["4,4,8,8"]
    assert alone["seed"].cat.categories.tolist() == [3]
    assert all(isinstance(alone[c].dtype, pd.CategoricalDtype) for c in condition_columns(alone))
    both = lm.evaluate([tmp_path / "a.h5", tmp_path / "b.h5"], "kendall")
    assert both["seed"].cat.categories.tolist() == ["3", "x"]  # one kind of value
    joined = pd.concat([alone, lm.evaluate(tmp_path / "b.h5", "kendall")])
    assert lm.summarize(joined)["n"].tolist() == lm.summarize(both)["n"].tolist() == [6, 6]
    assert {*more, "format", "format_version", "checksum_metadata", "reduction"} <= set(PROVENANCE)


@pytest.mark.parametrize("ending", [".csv", ".parquet"])
def test_tables_joined_file_by_file_can_be_written(tmp_path: Path, ending: str) -> None:
    for i, eps in enumerate([math.nan, "8/255", 0.5, 2]):
        write_file(tmp_path / f"{i}.h5", 2, attrs={"attack": "topk", "eps": eps, f"only_{i}": i})
    files = [tmp_path / f"{i}.h5" for i in range(4)]
    joined = pd.concat([lm.evaluate(file, "kendall") for file in files])
    path = tmp_path / f"s{ending}"
    lm.write_scores(joined, path)
    found = lm.read_scores(path)
    assert found["eps"].astype(object).where(found["eps"].notna(), None).tolist() == [
        eps for eps in (None, "8/255", "0.5", "2") for _ in range(2)
    ]
    assert metric_columns(found) == ["kendall"]
    whole = lm.summarize(lm.evaluate(files, "kendall"))
    for table in (joined, found):
        assert lm.summarize(table)["mean"].tolist() == whole["mean"].tolist()


def test_an_attribute_that_many_files_have_wrongly_is_said_once(tmp_path: Path) -> None:
    for name in "abc":
        write_file(tmp_path / f"{name}.h5", 2)
        with h5py.File(tmp_path / f"{name}.h5", "a") as file:
            file.attrs["value"] = 5
    with pytest.warns(
        UserWarning, match=r"a\.h5 and 2 more files: the attribute 'value' is left out"
    ) as caught:
        lm.evaluate([tmp_path / f"{name}.h5" for name in "abc"], "kendall")
    assert len([warning for warning in caught if warning.category is UserWarning]) == 1


def test_one_column_has_one_kind_of_value() -> None:
    assert one_kind([1, 0.5, None]) == [1, 0.5, None]
    assert one_kind([1, "a", None]) == ["1", "a", None]
    assert one_kind([[1, 2], 3]) == ["1,2", "3"]
    assert one_kind([2**24 + 1, 0.5]) == ["16777217", "0.5"]  # equal to its neighbour as a float
    assert one_kind([2**63, 1]) == ["9223372036854775808", "1"]


def test_attributes_with_names_of_columns_are_skipped_and_said(tmp_path: Path) -> None:
    names = ["k", "metric", "kendall", "sample", "mean", "n_saturated", "mine(k=3)"]
    assert skipped_attributes(["attack", *names, "n_draws", "steps"]) == names
    assert not any(is_reserved(name) for name in ("attack", "eps", "seed", "n_points", "a (b)"))
    path = tmp_path / "a.h5"
    write_file(path, attrs={"attack": "topk"})
    with h5py.File(path, "a") as file:
        file.attrs["k"] = 5
        file.attrs["kendall"] = 0.5
    with pytest.warns(UserWarning, match="is left out of the table") as caught:
        table = lm.evaluate(path, "spearman")
    assert [str(warning.message) for warning in caught] == [
        f"{path}: the attribute {name!r} is left out of the table, which uses that name for a column of its "
        "own; give it another name"
        for name in ("k", "kendall")
    ]
    assert table.columns.tolist() == ["file", "attack", "sample", "status", "spearman"]


# Floats that count as equal


@given(value=st.floats(allow_nan=False))
def test_a_float_equals_itself_in_single_precision(value: float) -> None:
    with np.errstate(over="ignore"):
        single = float(np.float32(value))
    normal = math.isfinite(single) and abs(single) >= 2.0**-126
    assert (equal_number(value) == equal_number(single)) == (normal or value == single)
    assert equal_number(equal_number(value)) == equal_number(value)


def test_integers_and_texts_equal_themselves_alone() -> None:
    assert equal_number(2**24 + 1) != equal_number(2**24)
    assert equal_number("0.1") == "0.1"
    table = make_scores([1, 2], seed=[2**24, 2**24 + 1], file=["a", "b"])
    assert lm.summarize(table)["n"].tolist() == [1, 1]


@pytest.mark.parametrize("name", ["eps", "step_size"])
def test_one_eps_in_two_precisions_is_one_condition(tmp_path: Path, name: str) -> None:
    values = [float(np.float32(8 / 255)), 8 / 255, 0.1]
    for i, value in enumerate(values):
        write_file(tmp_path / f"{i}.h5", 4, seed=i, attrs={"attack": "topk", name: value})
    table = lm.evaluate([tmp_path / f"{i}.h5" for i in range(3)], "kendall")
    assert set(table[name].cat.categories) == set(values)  # stored values stay
    joined = pd.concat([lm.evaluate(tmp_path / f"{i}.h5", "kendall") for i in range(3)])
    lm.write_scores(table, tmp_path / "s.csv")
    for scores in (table, joined, lm.read_scores(tmp_path / "s.csv"), table.astype({name: "float64"})):
        found = lm.summarize(scores)
        assert found.columns[0] == name
        assert found[name].tolist() == [8 / 255, 0.1]
        assert found["n"].tolist() == [8, 4]
    assert distinguishing(table[:8]) == []
    assert lm.to_xarray(table)[name].values.tolist() == values


def test_floats_that_single_precision_cannot_hold_are_told_apart() -> None:
    for values in ([1e-50, 2e-50], [1e200, 2e200], [1e-40, 1.0000001e-40]):
        table = make_scores([1, 2], eps=values)
        assert lm.summarize(table)["n"].tolist() == [1, 1]


# The default groups


def files_table(**attributes: Any) -> pd.DataFrame:
    """A table with a row for each of some files."""
    n = len(next(iter(attributes.values())))
    return make_scores(np.arange(n), [0] * n, file=[f"{i}.h5" for i in range(n)], **attributes)


def test_default_groups_are_what_tells_files_apart() -> None:
    assert distinguishing(files_table(attack=["a", "b"], seed=[0, 1])) == ["attack"]
    assert distinguishing(files_table(attack=["a", "a"], seed=[0, 1])) == ["seed"]
    assert distinguishing(files_table(attack=["a", "a", "b"], seed=[0, 1, 0], steps=[3, 3, 3])) == [
        "attack",
        "seed",
    ]
    assert distinguishing(files_table(attack=["a", "a"], steps=[3, 4], seed=[0, 1])) == ["steps"]
    # An attribute that some files lack; a fixed condition that those before it decide.
    assert distinguishing(files_table(attack=["a", "a"], steps=[3, None])) == ["steps"]
    assert distinguishing(files_table(attack=["a", "b", "b"], eps=[0.1, 0.2, 0.2])) == ["attack"]
    assert distinguishing(files_table(attack=["a", "b", "b"], eps=[0.1, 0.1, 0.2])) == ["attack", "eps"]


def test_columns_that_differ_within_a_file_are_no_default_groups() -> None:
    table = make_scores([1, 2, 3, 4], file=["a", "a", "b", "b"], seed=[0, 0, 1, 1])
    table["difficulty"] = [1, 2, 1, 2]
    assert distinguishing(table) == ["seed"]
    assert distinguishing(table.drop(columns="file")) == []
    assert lm.summarize(table, by="difficulty")["n"].tolist() == [2, 2]


def test_columns_that_a_summary_has_cannot_tell_groups_apart() -> None:
    for name in ("mean", "n_tied_cut"):
        table = make_scores([1, 2], status=["tied_cut", "ok"]).assign(**{name: ["a", "b"]})
        with pytest.raises(
            ValueError, match=f"cannot summarize by '{name}': a summary has a column of that name"
        ):
            lm.summarize(table, by=name)


# Names of samples


def test_names_stand_beside_the_samples(tmp_path: Path) -> None:
    write_file(tmp_path / "a.h5", 3, missing=[1])
    write_file(tmp_path / "b.h5", 2)
    named, other = lm.PairStore(tmp_path / "a.h5"), lm.PairStore(tmp_path / "b.h5")
    vars(other)["name"] = None
    vars(named)["name"] = np.array(["x.png", "", "y.png"], dtype=object)
    columns = _sample_columns([named, other])
    assert list(columns) == ["sample", "name"]
    assert columns["name"] == ["x.png", None, "y.png", None, None]
    assert list(_sample_columns([other])) == ["sample"]


@pytest.mark.parametrize("ending", [".parquet", ".csv"])
def test_names_come_back(tmp_path: Path, ending: str) -> None:
    table = make_scores([1, 2, 3])
    table.insert(1, "name", ["018", None, "a,b"])
    lm.write_scores(table, tmp_path / f"s{ending}")
    pd.testing.assert_frame_equal(lm.read_scores(tmp_path / f"s{ending}"), table)


def named_scores(values: npt.ArrayLike, names: Sequence[str | None], **columns: Any) -> pd.DataFrame:
    table = make_scores(values, **columns)
    table["name"] = list(names)
    return table


def test_source_samples_are_known_by_name() -> None:
    rng = np.random.default_rng(0)
    values = np.repeat(rng.normal(size=30), 2)
    names = [f"{i // 2}.png" for i in range(60)]
    # Their numbers differ between two files: the names say which samples are the same.
    by_name = lm.summarize(named_scores(values, names, dataset=["a"] * 60)).iloc[0]
    by_number = lm.summarize(make_scores(values, np.repeat(np.arange(30), 2).tolist())).iloc[0]
    apart = lm.summarize(make_scores(values)).iloc[0]
    assert (by_name["ci_low"], by_name["ci_high"]) != (apart["ci_low"], apart["ci_high"])
    width = by_number["ci_high"] - by_number["ci_low"]
    assert abs(by_name["ci_high"] - by_name["ci_low"] - width) < 0.08 * width
    other = lm.summarize(named_scores(values, names, dataset=["a", "b"] * 30), by=[]).iloc[0]
    assert other["ci_high"] - other["ci_low"] < 0.85 * width


def test_names_and_numbers_of_one_dataset_are_not_pooled() -> None:
    table = named_scores([1, 2, 3, 4], ["x", "y", None, None], dataset=["a"] * 4, file=["f", "f", "g", "g"])
    with pytest.raises(ValueError, match="samples of a with names and samples without fall into one group"):
        lm.summarize(table, by=[])
    assert lm.summarize(table, by="file")["n"].tolist() == [2, 2]
    apart = table.assign(dataset=pd.Categorical(["a", "a", "b", "b"]))
    assert lm.summarize(apart, by=[])["n"].tolist() == [4]
    unfinished = named_scores([1, 2, math.nan], ["x", "y", None], status=["ok", "ok", "incomplete"])
    assert lm.summarize(unfinished)["n"].tolist() == [2]


def test_cube_is_labelled_with_names() -> None:
    table = named_scores([1, 2, 3], ["y", "x", "x"], file=["a", "a", "b"], dataset=["d"] * 3)
    cube = lm.to_xarray(table)
    assert cube["sample"].values.tolist() == ["x", "y"]
    np.testing.assert_array_equal(cube["kendall"].values, [[2, 1], [3, np.nan]])
    assert lm.to_xarray(table[:2])["kendall"].sel(sample="y") == 1
    with pytest.raises(ValueError, match="some samples of the table have names and others do not"):
        lm.to_xarray(named_scores([1, 2], ["x", None]))
    with pytest.raises(ValueError, match=r"sample x of b stands twice in the table"):
        lm.to_xarray(named_scores([1, 2, 3], ["x", "x", "x"], file=["a", "b", "b"]))


# Cubes and long forms of odd tables


def test_cube_of_files_without_any_sample(tmp_path: Path) -> None:
    for name in ("a", "b"):
        with lm.PairWriter(tmp_path / f"{name}.h5", n_samples=2, shape=(6, 6), attrs={"attack": name}):
            pass
    cube = lm.to_xarray(lm.evaluate(tmp_path / "a.h5", "kendall"))
    assert dict(cube["kendall"].sizes) == {"sample": 0}
    assert cube["attack"].item() == "a"
    write_file(tmp_path / "c.h5", 2)
    cube = lm.to_xarray(lm.evaluate([tmp_path / f"{name}.h5" for name in "abc"], "kendall"))
    assert dict(cube["kendall"].sizes) == {"file": 3, "sample": 2}
    assert cube["attack"].values[:2].tolist() == ["a", "b"]
    assert cube["kendall"].notnull().sum(dim="sample").values.tolist() == [0, 0, 2]


def test_attributes_that_differ_within_a_file_lie_along_the_samples() -> None:
    table = make_scores([1, 2], [5, 4], training=["a", "b"], steps=[3, 3])
    cube = lm.to_xarray(table)
    assert cube["training"].dims == ("sample",)
    assert cube["training"].values.tolist() == ["b", "a"]
    assert cube["steps"].item() == 3


@pytest.mark.parametrize("function", [lm.tidy, lm.to_xarray])
@pytest.mark.parametrize("parameter", ["sample", "status", "seed"])
def test_parameters_named_like_columns_are_refused(function: Any, parameter: str) -> None:
    table = make_scores([0.5, 0.25], name=f"odd({parameter}=3)", seed=[1, 1])
    with pytest.raises(
        ValueError, match=f"'{parameter}' would stand twice, for a column of the table and for"
    ):
        function(table)


@pytest.mark.parametrize("name", ["metric", "k", "value"])
def test_columns_named_like_those_of_the_long_form_are_refused(name: str) -> None:
    with pytest.raises(ValueError, match=f"'{name}' would stand twice"):
        lm.tidy(make_scores([0.5, 0.25]).assign(**{name: 7}))


def test_metrics_that_share_a_place_in_a_cube_are_refused() -> None:
    table = make_scores([0.5], name="mine(k=3)").assign(**{"mine(k=3,level=0)": 0.25})
    with pytest.raises(ValueError, match=r"mine\(k=3\) and mine\(k=3,level=0\) have one place in a cube"):
        lm.to_xarray(table)


# Statuses


def test_samples_are_left_out_by_their_status() -> None:
    status = ["ok", "not_attacked", "label_changed;not_attacked", "tied_cut", "incomplete"]
    table = make_scores([1, 2, 4, 8, np.nan], status=status)
    plain = lm.summarize(table).iloc[0]
    assert (plain["n"], plain["n_undefined"], plain["mean"]) == (4, 1, 3.75)
    assert plain["mean_attacked"] == 4.5
    assert "n_excluded" not in plain
    found = lm.summarize(table, exclude=["not_attacked"])
    names = ["metric", "mean", "sd", "n", "n_undefined", "n_excluded", "ci_low", "ci_high"]
    counted = ["n_incomplete", "n_label_changed", "n_not_attacked", "n_tied_cut"]
    assert found.columns.tolist() == [*names, *counted]
    row = found.iloc[0]
    assert (row["n"], row["n_undefined"], row["n_excluded"], row["mean"]) == (2, 1, 2, 4.5)
    assert row[counted].tolist() == [1, 1, 2, 1]
    both = lm.summarize(table, exclude=("label_changed", "tied_cut")).iloc[0]
    assert (both["n"], both["n_excluded"], both["mean"], both["mean_attacked"]) == (2, 2, 1.5, 1)
    assert lm.summarize(table, exclude="identical").iloc[0]["n_excluded"] == 0


def test_mean_of_the_attacked_stands_beside_the_mean() -> None:
    table = make_scores(
        [1, 2, 4], attack=["a", "a", "b"], status=["ok", "not_attacked;tied_cut", "not_attacked"]
    )
    found = lm.summarize(table)
    assert (
        found.columns.tolist()[6:]
        == ["ci_low", "ci_high", "mean_attacked", "n_not_attacked", "n_tied_cut"][-5:]
    )
    np.testing.assert_array_equal(found["mean_attacked"], [1, np.nan])
    assert found["mean"].tolist() == [1.5, 4]


def test_a_group_that_is_left_out_whole_stays() -> None:
    table = make_scores([1, 2, 4], attack=["a", "a", "b"], status=["ok", "ok", "identical"])
    found = lm.summarize(table, exclude=["identical"])
    assert found["n"].tolist() == [2, 0]
    assert found["n_excluded"].tolist() == [0, 1]
    assert math.isnan(found["mean"][1])


@pytest.mark.parametrize("status", sorted({*METRIC_STATUSES} - {"tied_cut"}))
def test_statuses_of_metrics_leave_nothing_out(status: str) -> None:
    message = (
        f"cannot exclude '{status}': it is a status of a metric, which depends on the metrics that were asked"
    )
    with pytest.raises(ValueError, match=message):
        lm.summarize(make_scores([1]), exclude=[status])


def test_what_is_no_status_leaves_nothing_out() -> None:
    with pytest.raises(
        ValueError, match=r"cannot exclude 'ok': it is no status of a sample; allowed: checksum, "
    ):
        lm.summarize(make_scores([1]), exclude="ok")
    with pytest.raises(ValueError, match="cannot exclude 'identical': the table has no column 'status'"):
        lm.summarize(make_scores([1]).drop(columns="status"), exclude="identical")
    for status in SAMPLE_STATUSES:
        assert lm.summarize(make_scores([1]), exclude=status)["n_excluded"].tolist() == [0]


def test_a_metric_without_any_score_has_a_reason() -> None:
    status = ["constant_map", "constant_map;saturated", "nan_map"]
    table = make_scores([np.nan] * 3, status=status)
    table["lens_recall_adjusted(k=3,w=1)"] = np.nan
    table["mse"] = [np.nan, 1, np.nan]
    reasons = [undefined_reason(row) for _, row in lm.summarize(table).iterrows()]
    assert reasons == ["constant_map", "constant_map", ""]
    table["status"] = ["saturated", "saturated", "constant_map"]
    reasons = [undefined_reason(row) for _, row in lm.summarize(table).iterrows()]
    assert reasons == ["constant_map", "saturated", ""]
    assert undefined_reason(lm.summarize(make_scores([np.nan])).iloc[0]) == ""


# Many rows


@pytest.mark.parametrize("pooled", [1, 3])
@pytest.mark.parametrize("undefined", [0, 0.3])
def test_interval_of_many_samples_is_that_of_the_bootstrap(
    monkeypatch: pytest.MonkeyPatch, pooled: int, undefined: float
) -> None:
    rng = np.random.default_rng(0)
    n = 30_000
    shared = np.repeat(rng.beta(4, 2, n), pooled) + 0.05 * rng.normal(size=n * pooled)
    shared[rng.random(n * pooled) < undefined] = np.nan
    table = make_scores(shared, np.repeat(np.arange(n), pooled).tolist()).sample(frac=1, random_state=1)
    found = lm.summarize(table).iloc[0]
    totals = table.groupby("sample")["kendall"].agg(["sum", "count"])
    excess = totals["sum"] - found["mean"] * totals["count"]
    half = 1.96 * math.sqrt((excess**2).sum()) / totals["count"].sum()
    np.testing.assert_allclose(found["ci_high"] - found["mean"], half, rtol=1e-9)
    np.testing.assert_allclose(found["mean"] - found["ci_low"], half, rtol=1e-9)
    monkeypatch.setattr("lensmetrics.tables.summary._MANY", n + 1)
    drawn = lm.summarize(table).iloc[0]
    # Of 2000 resamples an end has a standard error of some 3 % of the width.
    assert abs(drawn["ci_low"] - found["ci_low"]) < 0.1 * half
    assert abs(drawn["ci_high"] - found["ci_high"]) < 0.1 * half


def test_skewed_totals_keep_the_bootstrap(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lensmetrics.tables.summary._N_RESAMPLES", 400)
    rng = np.random.default_rng(0)
    values = rng.exponential(size=40_000) ** 4
    found = lm.summarize(make_scores(values)).iloc[0]
    above, below = found["ci_high"] - found["mean"], found["mean"] - found["ci_low"]
    assert above != pytest.approx(below, rel=1e-6)
    half = 1.96 * values.std() / math.sqrt(len(values))
    assert above == pytest.approx(half, rel=0.2)
    assert below == pytest.approx(half, rel=0.2)


def test_blocks_of_source_samples_are_drawn_as_the_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    values = np.random.default_rng(0).gamma(1.0, size=3000)
    whole = lm.summarize(make_scores(values)).iloc[0]
    monkeypatch.setattr("lensmetrics.tables.summary._BLOCK", 700)
    blocks = lm.summarize(make_scores(values)).iloc[0]
    width = whole["ci_high"] - whole["ci_low"]
    for end in ("ci_low", "ci_high"):
        assert blocks[end] != whole[end]
        assert abs(blocks[end] - whole[end]) < 0.05 * width


def test_sums_do_not_depend_on_the_blocks_of_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    n = 500
    table = make_scores(
        rng.normal(size=n), rng.integers(90, size=n).tolist(), attack=rng.choice(["a", "b", "c"], n).tolist()
    )
    table["status"] = rng.choice(["ok", "not_attacked"], n)
    whole = lm.summarize(table)
    for rows in (1, 7, 64):
        monkeypatch.setattr("lensmetrics.tables.summary._CHUNK_ROWS", rows)
        pd.testing.assert_frame_equal(lm.summarize(table), whole, rtol=1e-12)


@pytest.mark.parametrize("kind", ["normal", "gamma"])
def test_interval_is_the_one_of_scipy(kind: str) -> None:
    rng = np.random.default_rng(3)
    values = rng.normal(size=200) if kind == "normal" else rng.gamma(0.7, size=200)
    found = lm.summarize(make_scores(values)).iloc[0]
    expected = scipy.stats.bootstrap(
        (values,), np.mean, n_resamples=20_000, method="percentile", rng=np.random.default_rng(0)
    ).confidence_interval
    # An end at 2.5 % of 2000 resamples has a standard error of 3.4 % of a normal interval's half-width, ours
    # and a third of that scipy's: three of these, in the longer tail a little more.
    half = (expected.high - expected.low) / 2
    assert abs(found["ci_low"] - expected.low) < 0.12 * half
    assert abs(found["ci_high"] - expected.high) < 0.12 * half


def test_undefined_columns_stay_scores_in_csv(tmp_path: Path) -> None:
    lm.write_scores(make_scores([np.nan, np.nan]), tmp_path / "s.csv")
    assert lm.read_scores(tmp_path / "s.csv")["kendall"].dtype == np.float64


def test_texts_of_digits_stay_texts_in_parquet(tmp_path: Path) -> None:
    table = make_scores([1, 2], attack=["8", "9"]).astype({"attack": "category"})
    lm.write_scores(table, tmp_path / "s.parquet")
    assert lm.read_scores(tmp_path / "s.parquet")["attack"].tolist() == ["8", "9"]
