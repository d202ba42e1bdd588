"""Tables of scores on disk: what is written comes back, and what is damaged is refused."""

import gzip
import json
import math
import os
from pathlib import Path
from typing import Any

import hypothesis.strategies as st
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet
import pytest
from hypothesis import example, given

import lensmetrics as lm
from lensmetrics.tables.columns import (
    condition_columns,
    metric_columns,
    one_kind,
)
from lensmetrics.tables.files import check_output
from tests.pairfiles import write_file
from tests.scores import make_scores


@pytest.mark.parametrize("ending", [".parquet", ".csv", ".csv.gz"])
def test_tables_round_trip(tmp_path: Path, scores: pd.DataFrame, ending: str) -> None:
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
def test_every_digit_round_trips(tmp_path: Path, ending: str) -> None:
    values = np.array(
        [0.1, 1 / 3, -1e-310, 5e-324, 1.7976931348623157e308, np.nan, -0.0, np.inf, 1e22, 1e23, 2**-30]
    )
    table = make_scores([*values, *np.random.default_rng(0).normal(size=500)])
    lm.write_scores(table, tmp_path / f"a{ending}")
    found = lm.read_scores(str(tmp_path / f"a{ending}"))["kendall"].to_numpy()
    np.testing.assert_array_equal(found.view(np.int64), table["kendall"].to_numpy().view(np.int64))


def test_changed_bit_in_a_score_is_detected(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    values = np.random.default_rng(0).normal(size=20)  # nothing in them that compression takes out
    lm.write_scores(make_scores(values), path)
    data = path.read_bytes()
    assert data.count(values[10].tobytes()) == 1
    path.write_bytes(data.replace(values[10].tobytes(), (-values[10]).tobytes()))
    with pytest.raises(ValueError, match=r"a\.parquet cannot be read as a table of scores .*(?i:crc)"):
        lm.read_scores(path)


def test_table_without_checksums_can_be_read(tmp_path: Path) -> None:
    table = make_scores([0.5, 0.25, 0.125])
    table.to_parquet(tmp_path / "a.parquet")
    pd.testing.assert_frame_equal(lm.read_scores(tmp_path / "a.parquet"), table)


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"sample,kendall,kendall\n1,.5,.6\n", "column 'kendall' occurs more than once"),
        (b"sample,kendall,label\n1,.5,x\n", "column 'label' must contain integers"),
        (b"sa\xffple,kendall\n1,.5\n", "'utf-8' codec can't decode byte 0xff"),
        (b"sample,kendall\n1,.5,\r\x07\xff\n", "CSV parse error"),
    ],
)
def test_problem_of_a_table_is_reported_in_one_line(tmp_path: Path, data: bytes, reason: str) -> None:
    path = tmp_path / "a.csv"
    path.write_bytes(data)
    with pytest.raises(ValueError, match=rf"a\.csv cannot be read as a table of scores .*{reason}") as caught:
        lm.read_scores(path)
    assert str(caught.value).isprintable()


@pytest.mark.parametrize("word", ["pandas_type", "name"])
def test_damaged_pandas_metadata_is_refused(tmp_path: Path, word: str) -> None:
    path = tmp_path / "a.parquet"
    table = pa.Table.from_pandas(make_scores([0.5, 0.25, 0.125]))
    described = json.loads(table.schema.metadata[b"pandas"])
    for column in described["columns"]:
        del column[word]
    pa.parquet.write_table(table.replace_schema_metadata({"pandas": json.dumps(described)}), path)
    with pytest.raises(ValueError, match=rf"a\.parquet cannot be read as a table of scores .*{word}"):
        lm.read_scores(path)


@pytest.mark.parametrize("name", ["a.txt", "a", "a.h5", "a.csv.zip", "parquet"])
def test_unknown_suffixes_are_refused(tmp_path: Path, scores: pd.DataFrame, name: str) -> None:
    for function in (check_output, lambda path: lm.write_scores(scores, path)):
        with pytest.raises(ValueError, match=rf"{name}: .* \.parquet, \.csv or \.csv\.gz"):
            function(tmp_path / name)
    assert not list(tmp_path.iterdir())


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs a pipe with a name")
@pytest.mark.parametrize("name", ["s.parquet", "s.csv"])
def test_only_regular_files_are_read(tmp_path: Path, name: str) -> None:
    os.mkfifo(tmp_path / name)  # Arrow would wait for a writer
    with pytest.raises(ValueError, match=r"s\.\w+ is a FIFO; name a table of scores"):
        lm.read_scores(tmp_path / name)


def test_a_table_that_may_not_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "s.csv").touch()
    monkeypatch.setattr(os, "access", lambda *_: False)  # the tests may run as root
    with pytest.raises(PermissionError, match=r"s\.csv may not be read: allow it with chmod"):
        lm.read_scores(tmp_path / "s.csv")


def test_unwritable_paths_are_detected(tmp_path: Path) -> None:
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
def test_folders_without_permission_are_detected(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, exists: bool
) -> None:
    # Stands in for chmod, which does not bind root. The table is written beside itself, then renamed.
    monkeypatch.setattr(os, "access", lambda path, mode: Path(path) != tmp_path)
    if exists:
        (tmp_path / "a.csv").touch()
    with pytest.raises(PermissionError, match=r"a\.csv cannot be written: permission denied"):
        check_output(tmp_path / "a.csv")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_real_folders_without_permission_are_detected(tmp_path: Path) -> None:
    tmp_path.chmod(0o555)
    with pytest.raises(PermissionError, match=r"a\.csv cannot be written: permission denied"):
        check_output(tmp_path / "a.csv")


@pytest.mark.parametrize(
    ("ending", "method"),
    [(".parquet", "pyarrow.parquet.write_table"), (".csv", "lensmetrics.tables.files.write_csv")],
)
def test_failed_write_keeps_the_old_table(
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
def test_other_files_are_refused(tmp_path: Path, ending: str, content: bytes) -> None:
    path = tmp_path / f"a{ending}"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=rf"a{ending}.* (table|column) of scores"):
        lm.read_scores(path)


@pytest.mark.parametrize("name", ["none.parquet", "none.csv", "none.csv.gz"])
def test_missing_table_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(FileNotFoundError, match=rf"{name}.* (does not exist|No such file)"):
        lm.read_scores(tmp_path / name)


@pytest.mark.parametrize(
    "text",
    ["sample,status\n1,ok\n", "sample,label,kendall\n1,x,.5\n", "sample,status,kendall\n1,ok,high\n"],
    ids=["no scores", "label", "score"],
)
def test_invalid_columns_are_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "a.csv").write_text(text)
    with pytest.raises(ValueError, match=r"a\.csv"):
        lm.read_scores(tmp_path / "a.csv")


def test_labels_that_would_be_lost_are_refused(tmp_path: Path, scores: pd.DataFrame) -> None:
    wrong = {
        r"has training in its index: use scores\.reset_index\(\)": scores.set_index("training"),
        "column 'kendall' occurs more than once in the table": pd.concat(
            [scores, scores[["kendall"]]], axis=1
        ),
        "has the column 3; column names must be texts": scores.assign(kendall=1.0).rename(
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


@pytest.mark.parametrize("text", ["nan", "true", "12:30", "None", "NA", "inf1", "2020-01-01"])
def test_texts_in_csv_remain_texts(tmp_path: Path, text: str) -> None:
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


@given(
    texts=st.lists(st.text() | st.sampled_from(ODD_TEXTS), min_size=1, max_size=6),
    ending=st.sampled_from([".csv", ".csv.gz"]),
)
@example(texts=["", ""], ending=".csv")
@example(texts=["018", "18"], ending=".csv")
@example(texts=["1_0", "10"], ending=".csv")
@example(texts=["1", "1.0"], ending=".csv")
@example(texts=["infinity"], ending=".csv")
@example(texts=["16777217", "0.5"], ending=".csv")
def test_any_text_round_trips_through_csv(
    tmp_path_factory: pytest.TempPathFactory, texts: list[str], ending: str
) -> None:
    path = tmp_path_factory.getbasetemp() / f"any{ending}"
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


def test_booleans_become_texts(tmp_path: Path) -> None:
    table = make_scores([1, 2], augmented=[True, False])
    for ending in (".csv", ".parquet"):
        lm.write_scores(table, tmp_path / f"s{ending}")
        assert lm.read_scores(tmp_path / f"s{ending}")["augmented"].tolist() == ["True", "False"]
    assert one_kind([True, None]) == ["True", None]


def test_table_saved_by_a_spreadsheet_keeps_its_scores(tmp_path: Path) -> None:
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


def test_column_without_values_round_trips_through_csv(tmp_path: Path) -> None:
    table = make_scores([1, np.nan])
    table["label"] = pd.array([None, None], dtype="Int64")
    lm.write_scores(table, tmp_path / "s.csv")
    pd.testing.assert_frame_equal(lm.read_scores(tmp_path / "s.csv"), table)
    alone = pd.DataFrame({"kendall": [np.nan, 1.0, np.nan]})
    lm.write_scores(alone, tmp_path / "s.csv")
    pd.testing.assert_frame_equal(lm.read_scores(tmp_path / "s.csv"), alone)


@pytest.mark.parametrize("ending", [".csv", ".parquet"])
@pytest.mark.parametrize("sample", [["img_b", "img_a"], ["018", "18"], [0.5, 1.5]])
def test_samples_without_numbers_round_trip(tmp_path: Path, ending: str, sample: list[Any]) -> None:
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
def test_numbered_and_named_samples_can_be_concatenated(tmp_path: Path, ending: str) -> None:
    numbered = make_scores([1, 2], [7, 3])
    joined = pd.concat([numbered, numbered.assign(sample=["b", "a"])])
    assert lm.to_xarray(joined)["sample"].values.tolist() == ["3", "7", "a", "b"]
    assert lm.summarize(joined)["n"].tolist() == [4]
    lm.write_scores(joined, tmp_path / f"s{ending}")
    assert lm.read_scores(tmp_path / f"s{ending}")["sample"].tolist() == ["7", "3", "b", "a"]


@pytest.mark.parametrize("ending", [".csv", ".parquet"])
def test_tables_concatenated_file_by_file_can_be_written(tmp_path: Path, ending: str) -> None:
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


@pytest.mark.parametrize("ending", [".parquet", ".csv"])
def test_names_round_trip(tmp_path: Path, ending: str) -> None:
    table = make_scores([1, 2, 3])
    table.insert(1, "name", ["018", None, "a,b"])
    lm.write_scores(table, tmp_path / f"s{ending}")
    pd.testing.assert_frame_equal(lm.read_scores(tmp_path / f"s{ending}"), table)


def test_undefined_columns_remain_scores_in_csv(tmp_path: Path) -> None:
    lm.write_scores(make_scores([np.nan, np.nan]), tmp_path / "s.csv")
    assert lm.read_scores(tmp_path / "s.csv")["kendall"].dtype == np.float64


def test_texts_of_digits_remain_texts_in_parquet(tmp_path: Path) -> None:
    table = make_scores([1, 2], attack=["8", "9"]).astype({"attack": "category"})
    lm.write_scores(table, tmp_path / "s.parquet")
    assert lm.read_scores(tmp_path / "s.parquet")["attack"].tolist() == ["8", "9"]


@pytest.mark.parametrize("name", ["s.parquet", "s.csv"])
def test_a_mistake_of_the_package_is_not_called_damage_of_a_table(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    def mistaken(values: object) -> list[object]:
        raise TypeError("ours")

    scores = pd.DataFrame({"attack": ["topk"], "sample": [7], "status": ["ok"], "kendall": [0.25]})
    lm.write_scores(scores, tmp_path / name)
    monkeypatch.setattr("lensmetrics.tables.files.one_kind", mistaken)
    with pytest.raises(TypeError, match=r"^ours$"):
        lm.read_scores(tmp_path / name)
