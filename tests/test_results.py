"""Tables of scores: on disk and back, in long form, as a cube, and their means with intervals."""

import gzip
import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
import pyarrow.parquet
import pytest

import lensmetrics as lm
from lensmetrics.results import check_output
from test_runner import flip_byte, write_file

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
        (b"sample,kendall,eps\n1,.5,99999999999999999999\n", "too large"),
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
    ("ending", "method"), [(".parquet", "pyarrow.parquet.write_table"), (".csv", "pandas.DataFrame.to_csv")]
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


def test_cube_can_be_written_as_netcdf(tmp_path: Path, scores: pd.DataFrame) -> None:
    for name, table in {"several": scores, "one": scores[scores["training"] == "None"]}.items():
        lm.to_xarray(table).to_netcdf(tmp_path / f"{name}.nc", engine="h5netcdf")


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
            np.testing.assert_allclose(found["mean"], defined.mean(), rtol=1e-13)
            np.testing.assert_allclose(found["sd"], defined.std(ddof=1), rtol=1e-12, atol=1e-15)
            assert found["n"] == len(defined)
            assert found["n_undefined"] == len(group) - len(defined)
            assert found["ci_low"] - 1e-12 <= found["mean"] <= found["ci_high"] + 1e-12
            for token in tokens:
                assert found[f"n_{token}"] == sum(token in status.split(";") for status in group["status"])


def test_summary_without_by_uses_what_varies(scores: pd.DataFrame) -> None:
    # attack_k is decided by attack.
    pd.testing.assert_frame_equal(
        lm.summarize(scores), lm.summarize(scores, by=["training", "attack", "eps"])
    )
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


def test_undefined_columns_stay_scores_in_csv(tmp_path: Path) -> None:
    lm.write_scores(make_scores([np.nan, np.nan]), tmp_path / "s.csv")
    assert lm.read_scores(tmp_path / "s.csv")["kendall"].dtype == np.float64


def test_texts_of_digits_stay_texts_in_parquet(tmp_path: Path) -> None:
    table = make_scores([1, 2], attack=["8", "9"]).astype({"attack": "category"})
    lm.write_scores(table, tmp_path / "s.parquet")
    assert lm.read_scores(tmp_path / "s.parquet")["attack"].tolist() == ["8", "9"]
