"""Scores that are made while one looks, tables that are given, and files that cannot be read."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import lensmetrics as lm
from lensmetrics.explorer.background import metrics_for
from lensmetrics.explorer.serving import Server
from tests.explorer.asking import get, refused, told, until
from tests.explorer.conftest import METRICS
from tests.pairfiles import break_chunk, flip_byte, write_file


def all_rows(server: Server, metric: str) -> list[dict[str, Any]]:
    return list(told(server, "rows", shown=metric, limit=500)["rows"])


def test_background_scores_are_those_of_evaluate(paths: list[Path], tmp_path: Path) -> None:
    write_file(tmp_path / "packed.h5", compression="gzip", name=[f"<i>{i}</i>" for i in range(6)])
    break_chunk(tmp_path / "packed.h5", "unperturbed", 1)
    (tmp_path / "empty.h5").touch()
    files = [*paths, tmp_path / "packed.h5"]
    with Server([*files, tmp_path / "empty.h5"]) as server:
        state = until(server)
        metrics = metrics_for((6, 7))
        assert [column["text"] for column in state["columns"]] == list(map(str, metrics))
        assert state["scored"] == [18, 18]
        assert "not scored" not in state["statuses"]
        expected = lm.evaluate(files, metrics)
        for metric in metrics:
            rows = all_rows(server, str(metric))
            values = [np.nan if row["scores"][0] is None else row["scores"][0] for row in rows]
            assert np.array_equal(values, expected[str(metric)], equal_nan=True), metric
        assert [row["status"] for row in rows] == expected["status"].tolist()
        assert rows[-1]["name"] == "<i>5</i>"
        assert state["files"][3]["is_bad"]
        assert state["files"][3]["notes"] == [
            "empty.h5 is empty (0 bytes); a pair file is an HDF5 file: regenerate or copy it again"
        ]
        assert refused(server, "sample", file=3, position=0)[1].startswith("empty.h5 is empty")
        assert "do not match their checksum" in refused(server, "maps", file=2, position=1)[1]
        assert get(server, "maps", file=2, position=0)[0] == 200


def test_given_scores_find_their_files_and_samples(paths: list[Path], tmp_path: Path) -> None:
    scores = lm.evaluate(paths, METRICS)
    shuffled = scores.sample(frac=1, random_state=0).iloc[:9].reset_index(drop=True)
    shuffled["file"] = shuffled["file"].astype(str).map(lambda file: f"elsewhere/{Path(file).name}")
    write_file(tmp_path / "other.h5", 2)
    with Server([paths[1], tmp_path / "other.h5", paths[0]], shuffled) as server:
        state = until(server)
        assert state["scored"] is None
        assert state["files"][1]["notes"] == ["the table of scores does not have this file"]
        rows = {(row["file"], row["sample"]): row for row in all_rows(server, "kendall")}
        n = 0
        for _, given in shuffled.iterrows():
            row = rows.get((0 if "pgd" in given["file"] else 2, given["sample"]))
            if row is not None and given["status"] not in ("incomplete", "checksum"):
                assert (row["scores"][0], row["status"]) == (given["kendall"], given["status"])
                n += 1
        assert n >= 6
        assert {row["status"] for row in rows.values()} >= {"not scored"}


def test_a_table_of_other_files_is_refused(paths: list[Path], tmp_path: Path) -> None:
    write_file(tmp_path / "other.h5", 2)
    with pytest.raises(
        ValueError, match=r"no given pair file is one of the table of scores, which has .*natural"
    ):
        Server([tmp_path / "other.h5"], lm.evaluate(paths, "kendall"))
    with pytest.raises(ValueError, match="has no columns file and sample"):
        Server(paths, lm.evaluate(paths, "kendall").drop(columns="file"))


def test_a_file_that_changes_under_the_page_says_so(tmp_path: Path) -> None:
    path = tmp_path / "a.h5"
    write_file(path, 4)
    with Server([path], lm.evaluate(path, "kendall")) as server:
        until(server)
        assert get(server, "maps", file=0, position=0)[0] == 200
        flip_byte(path, "unperturbed", 6 * 7 * 4 + 1)
        assert (
            "position 1: the maps of this sample do not match"
            in refused(server, "maps", file=0, position=1)[1]
        )
        path.unlink()
        write_file(path, 4, seed=8)
        sentence = "a.h5 has changed since it was opened: start explore again"
        assert refused(server, "maps", file=0, position=2) == (409, sentence)
        path.write_bytes(path.read_bytes()[:3000])
        assert refused(server, "maps", file=0, position=2)[1].startswith("a.h5 is truncated or damaged")
        path.unlink()
        assert refused(server, "maps", file=0, position=3)[0] == 409
        assert get(server, "maps", file=0, position=0)[0] == 200  # still remembered
        assert told(server, "state")["done"]


def test_files_of_one_name_are_told_apart(tmp_path: Path) -> None:
    paths = [tmp_path / folder / "a.h5" for folder in ("one", "two")]
    for path in paths:
        path.parent.mkdir()
        write_file(path, 2)
    with Server(paths, lm.evaluate(paths, "kendall")) as server:
        assert [file["name"] for file in until(server)["files"]] == ["one/a.h5", "two/a.h5"]
