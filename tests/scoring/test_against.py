"""Scores against the target of an attack."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import pytest

import lensmetrics as lm
from lensmetrics.cli import main
from lensmetrics.errors import FormatError
from lensmetrics.pairfile.slices import Block, Slice
from lensmetrics.scoring import worker
from tests.pairfiles import edit, flip_byte, maps_of, write_file
from tests.scoring.runs import METRICS, Watcher, evaluate

Maps = npt.NDArray[np.float32]
TEXTS = list(map(str, METRICS))


def with_target(path: Path, **options: Any) -> tuple[Maps, Maps, Maps]:
    """Write a file with targets; return unperturbed maps, perturbed maps and targets."""
    target = maps_of(6, 6, 7, seed=9)[0]
    return *write_file(path, target=target, **options), target


@pytest.mark.parametrize("compression", [None, "gzip"])
@pytest.mark.parametrize("channels", [None, 1, 3])
def test_the_target_takes_the_place_of_the_unperturbed_map(
    tmp_path: Path, channels: int | None, compression: str | None
) -> None:
    _, perturbed, target = with_target(
        tmp_path / "a.h5", channels=channels, compression=compression, attrs={"attack": "target_map"}
    )
    if channels is not None:
        perturbed = perturbed[:, 0] if channels == 1 else np.abs(perturbed).sum(1)
    with ThreadPoolExecutor(2) as executor:
        options: dict[str, Any] = {"executor": executor, "task_pixels": 100, "block_pixels": 50}
        scores = evaluate(tmp_path / "a.h5", METRICS, against="target", **options)
    pd.testing.assert_frame_equal(
        scores[["status", *TEXTS]], lm.score(target, perturbed, METRICS)[["status", *TEXTS]], check_exact=True
    )
    assert scores.columns.tolist()[:4] == ["file", "attack", "against", "sample"]
    assert scores["against"].tolist() == ["target"] * 6
    first = lm.PairStore(tmp_path / "a.h5").pair(2, against="target")
    assert np.array_equal(first.unperturbed, target[2])
    assert np.array_equal(first.perturbed, perturbed[2])


def test_images_that_are_larger_than_maps_are_read_in_small_blocks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    image = np.zeros((6, 20, 20), np.uint8)
    _, perturbed, target = with_target(tmp_path / "a.h5", image=image)
    monkeypatch.setattr(worker, "BESIDE_BYTES", 1200)
    lengths: list[tuple[int, int]] = []
    read = Slice.read

    def watched(part: Slice, start: int, stop: int, *, buffer: Any) -> Block:
        lengths.append((start, stop))
        return read(part, start, stop, buffer=buffer)

    monkeypatch.setattr(Slice, "read", watched)
    scores = lm.evaluate(tmp_path / "a.h5", "kendall", against="target")
    assert lengths == [(0, 2), (2, 4), (4, 6)]
    assert scores["kendall"].tolist() == lm.score(target, perturbed, "kendall")["kendall"].tolist()


def test_against_is_a_column_only_where_it_is_given(tmp_path: Path) -> None:
    with_target(tmp_path / "a.h5")
    plain, said = (lm.evaluate(tmp_path / "a.h5", METRICS, against=word) for word in (None, "unperturbed"))
    assert "against" not in plain
    pd.testing.assert_frame_equal(plain, said.drop(columns="against"))
    assert set(said["against"]) == {"unperturbed"}
    with pytest.raises(ValueError, match="against must be 'unperturbed' or 'target', got 'image'"):
        lm.evaluate(tmp_path / "a.h5", METRICS, against="image")


def test_tables_keep_both_apart(tmp_path: Path) -> None:
    with_target(tmp_path / "a.h5", attrs={"attack": "target_map"})
    both = pd.concat(
        [lm.evaluate(tmp_path / "a.h5", "kendall", against=word) for word in ("unperturbed", "target")]
    )
    means = lm.summarize(both).set_index("against")["mean"]
    for word in ("unperturbed", "target"):
        alone = lm.evaluate(tmp_path / "a.h5", "kendall", against=word)
        assert means[word] == pytest.approx(alone["kendall"].mean(), rel=1e-12)
        # Alone it is a column too, because such a mean reads like one of robustness.
        assert lm.summarize(alone)["against"].tolist() == [word]
        assert lm.worst(alone, "kendall", n=1)["against"].tolist() == [word]
    assert lm.compare(both, on="against")["n"].tolist() == [6]
    with pytest.raises(ValueError, match=r"sample 10 occurs more than once"):
        lm.to_xarray(both)
    assert lm.to_xarray(both[both["against"] == "target"]).coords["against"].item() == "target"


def test_statuses_are_those_of_the_pair_that_is_scored(tmp_path: Path) -> None:
    unperturbed, perturbed = maps_of(4, 6, 7)
    target = perturbed.copy()
    target[1] = 1
    perturbed[2] = unperturbed[2]
    target[3, 0, 0] = np.nan
    with lm.PairWriter(tmp_path / "a.h5", n_samples=4, shape=(6, 7), attrs={}) as writer:
        writer.write(
            slice(4), unperturbed, perturbed, target=target, n_accepted=[1, 1, 0, 1], label=range(4),
            prediction=range(4), prediction_perturbed=[9, 1, 2, 3],
        )  # fmt: skip
    status = lm.evaluate(tmp_path / "a.h5", "kendall", against="target")["status"].tolist()
    assert status == ["identical;label_changed", "constant_map", "not_attacked", "nan_map"]


@pytest.mark.parametrize("damaged", ["target", "image_perturbed"])
def test_a_damaged_target_is_not_scored(tmp_path: Path, damaged: str) -> None:
    image = np.zeros((6, 3, 4), np.uint8)
    with_target(tmp_path / "a.h5", image=image, image_perturbed=image)
    flip_byte(tmp_path / "a.h5", damaged)
    against = lm.evaluate(tmp_path / "a.h5", "kendall", against="target")
    assert against["status"].tolist() == ["checksum", *["ok"] * 5]
    assert against["kendall"].isna().tolist() == [True, *[False] * 5]
    assert lm.evaluate(tmp_path / "a.h5", "kendall")["status"].tolist() == ["ok"] * 6


def test_a_file_without_target_is_named_and_the_others_are_scored(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with_target(tmp_path / "a.h5")
    write_file(tmp_path / "b.h5")
    sentence = "b.h5 holds no 'target' to score against; files of the attack target_map do"
    with pytest.raises(FormatError, match=sentence):
        lm.evaluate([tmp_path / "a.h5", tmp_path / "b.h5"], "kendall", against="target")
    monkeypatch.chdir(tmp_path)
    assert main(["score", "a.h5", "b.h5", "-m", "pearson", "--against", "target", "-o", "t.csv"]) == 1
    out, err = capsys.readouterr()
    assert sentence in err
    assert "\nagainst  metric\ntarget   pearson " in out
    table = lm.read_scores("t.csv")
    assert table["file"].tolist() == ["a.h5"] * 6
    assert set(table["against"]) == {"target"}


def test_scores_against_other_maps_are_neither_reused_nor_replaced(tmp_path: Path) -> None:
    with_target(tmp_path / "a.h5")
    output = tmp_path / "t.parquet"
    plain = lm.evaluate(tmp_path / "a.h5", "kendall", output=output)
    with pytest.raises(FileExistsError, match="holds the scores of other pairs, against another map"):
        lm.evaluate(tmp_path / "a.h5", "kendall", against="target", output=output)
    watcher = Watcher()
    options: dict[str, Any] = {"output": output, "resume": True, "progress": watcher}
    scores = evaluate(tmp_path / "a.h5", "kendall", against="target", **options)
    assert watcher.slices
    assert (scores["kendall"] != plain["kendall"]).all()
    evaluate(tmp_path / "a.h5", "kendall", against="target", **options)
    assert not watcher.slices
    lm.evaluate(tmp_path / "a.h5", "kendall", against="target", output=output)  # the same again
    with pytest.raises(FileExistsError, match="against another map"):
        lm.evaluate(tmp_path / "a.h5", "kendall", output=output)


def test_an_attribute_of_that_name_is_left_out(tmp_path: Path) -> None:
    with_target(tmp_path / "a.h5")
    edit(tmp_path / "a.h5", lambda file: file.attrs.__setitem__("against", "odds"))
    with pytest.warns(UserWarning, match="the attribute 'against' is left out"):
        scores = lm.evaluate(tmp_path / "a.h5", "kendall", against="target")
    assert set(scores["against"]) == {"target"}
    with pytest.warns(UserWarning, match="the attribute 'against' is left out"):
        assert "against" not in lm.evaluate(tmp_path / "a.h5", "kendall")
