"""Parameters, paths and values that the writer refuses."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lensmetrics.pairfile.store import PairStore
from lensmetrics.pairfile.writer import PairWriter
from tests.pairfile.toys import MAP, own, write_pairs
from tests.pairfiles import names_in


def test_targets_that_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def begin(path: Path) -> None:
        PairWriter(path, n_samples=1, shape=(1, 1), attrs={})

    write_pairs(tmp_path / "a.h5")
    with pytest.raises(FileExistsError, match=r"a\.h5 exists already: delete it, or choose another"):
        begin(tmp_path / "a.h5")
    (tmp_path / "b.h5.part").touch()
    with pytest.raises(
        FileExistsError, match=r"b\.h5\.part is an unfinished b\.h5: .*PairWriter\.resume.*delete"
    ):
        begin(tmp_path / "b.h5")
    with pytest.raises(FileNotFoundError, match=r"c\.h5 cannot be written: there is no directory .*nowhere"):
        begin(tmp_path / "nowhere" / "c.h5")
    with pytest.raises(IsADirectoryError, match=r"is a directory; give the name of a file in it"):
        begin(tmp_path)
    with pytest.raises(ValueError, match=r"without \.part"):
        begin(tmp_path / "d.h5.part")

    def refuse(self: Path, **_: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "touch", refuse)
    with pytest.raises(PermissionError, match=r"e\.h5 cannot be written \(Permission denied\)"):
        begin(tmp_path / "e.h5")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"n_samples": 0}, "n_samples must be an integer >= 1, got 0"),
        ({"n_samples": 2.0}, "n_samples must be an integer, got 2.0"),
        ({"n_samples": True}, "n_samples must be an integer, got True"),
        ({"shape": (4,)}, "shape must be 2 integers >= 1"),
        ({"channels": 0}, "channels must be an integer >= 1"),
        ({"image_shape": (4,)}, "image_shape must be 2 or 3 integers"),
        ({"compression": "lzf"}, "compression must be None, 'gzip' or 'zstd', got 'lzf'"),
        ({"attrs": {"a": True}}, "attribute 'a' is True; it must be text without NUL"),
        ({"attrs": {"a": None}}, "attribute 'a' is None"),
        ({"attrs": {"a": np.float16(1)}}, "attribute 'a' is .*float16"),
        ({"attrs": {"a": []}}, r"attribute 'a' is \[\]"),
        ({"attrs": {"a": [1, "b"]}}, "attribute 'a' is"),
        ({"attrs": {"a": [True, False]}}, "attribute 'a' is"),
        ({"attrs": {"a": 2**63}}, "attribute 'a' is"),
        ({"attrs": {"a": "x\0"}}, "attribute 'a' is"),
        ({"attrs": {"a": {"b": 1}}}, "attribute 'a' is"),
        ({"attrs": {"_a": 1}}, "attribute name '_a' must be a word without '/'"),
        (
            {"attrs": {"format_version": 2}},
            "attribute 'format_version' is set by PairWriter itself, to 1: leave it out",
        ),
        ({"attrs": {"reduction": "mean"}}, "unknown reduction 'mean'; allowed: abs_sum, sum, abs_max"),
    ],
)
def test_parameters_that_are_refused(tmp_path: Path, options: dict[str, Any], message: str) -> None:
    valid = {"n_samples": 2, "shape": (3, 4), "attrs": {}}
    with pytest.raises((ValueError, TypeError), match=message):
        PairWriter(tmp_path / "a.h5", **{**valid, **options})
    assert names_in(tmp_path) == []


def test_attributes_come_back_as_plain_values(tmp_path: Path) -> None:
    given = {
        "text": "ε",
        "empty": "",
        "long": "x" * 100_000,
        "integer": np.int32(3),
        "number": np.float32(0.5),
        "many": [1, 2.5],
        "array": np.array([1, 2]),
        "words": ("a", "b"),
        "single": ["a"],
    }
    with PairWriter(tmp_path / "a.h5", n_samples=1, shape=(1, 1), attrs=given):
        pass
    attrs = PairStore(tmp_path / "a.h5").attrs
    expected = {
        **given,
        "integer": 3,
        "number": 0.5,
        "many": [1.0, 2.5],
        "array": [1, 2],
        "words": ["a", "b"],
    }
    assert own(attrs) == {**expected, "single": "a"}
    assert all(type(value) in (str, int, float, list) for value in attrs.values())


@pytest.mark.parametrize(
    ("index", "maps", "options", "error", "message"),
    [
        (2, MAP, {}, IndexError, r"index 2 is not inside .*a\.h5, which has the positions 0 to 1"),
        (-1, MAP, {}, IndexError, "index -1 is not inside"),
        (slice(0, 3), np.zeros((3, 3, 4)), {}, IndexError, "is not inside"),
        (slice(2, 2), np.zeros((0, 3, 4)), {}, IndexError, "is not inside"),
        (slice(-2, 2), np.zeros((2, 3, 4)), {}, IndexError, "is not inside"),
        (0.0, MAP, {}, TypeError, "index must be an integer, got 0.0"),
        (True, MAP, {}, TypeError, "index must be an integer, got True"),
        (0, MAP.T, {}, ValueError, r"'unperturbed' is \(4, 3\); here it must be \(3, 4\)"),
        (slice(0, 2), np.zeros((1, 3, 4)), {}, ValueError, r"is \(1, 3, 4\); here it must be \(2, 3, 4\)"),
        (0, MAP.astype(complex), {}, TypeError, "'unperturbed' is complex128; allowed are float16, bfloat16"),
        (0, MAP.astype(np.longdouble), {}, TypeError, "'unperturbed' is float128; allowed are float16"),
        (0, MAP.astype(int) + 2**53 + 1, {}, ValueError, r"'unperturbed' holds integers beyond 2\^53"),
        (0, MAP, {"sample": -3}, ValueError, "sample must be 0 or more, got -3 for position 0"),
        (0, MAP, {"sample": 1.0}, TypeError, "'sample' is float64; it must hold integers"),
        (slice(0, 2), np.zeros((2, 3, 4)), {"sample": [5, 5]}, ValueError, "sample 5, given for position 1"),
        (0, MAP, {"label": [1]}, ValueError, r"'label' is \(1,\); here it must be \(\)"),
        (0, MAP, {"image": np.zeros((9, 9), np.int32)}, TypeError, "'image' is int32; images must be"),
        (0, MAP, {"image": np.zeros((8, 9))}, ValueError, r"'image' is \(8, 9\); here it must be"),
    ],
)  # fmt: skip
def test_writes_that_are_refused(
    tmp_path: Path, index: Any, maps: Any, options: Any, error: type[Exception], message: str
) -> None:
    with PairWriter(tmp_path / "a.h5", n_samples=2, shape=(3, 4), attrs={}, image_shape=(9, 9)) as writer:
        with pytest.raises(error, match=message):
            writer.write(index, maps, np.zeros_like(maps), **options)
        # Nothing was begun: the same writer takes a good sample, with other optional variables.
        writer.write(1, MAP, MAP, prediction=1)
    assert PairStore(tmp_path / "a.h5").complete.tolist() == [False, True]


def test_a_sample_is_written_once(tmp_path: Path) -> None:
    with PairWriter(tmp_path / "a.h5", n_samples=2, shape=(3, 4), attrs={}) as writer:
        writer.write(0, MAP, MAP, sample=1)
        with pytest.raises(ValueError, match="sample 1, given for position 1, is already in"):
            writer.write(1, MAP, MAP)
        with pytest.raises(ValueError, match=r"position 0 of .* is complete: it cannot be written again"):
            writer.write(0, MAP, MAP, sample=2)


def test_every_write_gives_the_same_optional_variables(tmp_path: Path) -> None:
    with PairWriter(tmp_path / "a.h5", n_samples=3, shape=(3, 4), attrs={}) as writer:
        writer.write(0, MAP, MAP, label=1, prediction=2, image=np.zeros((2, 2), np.uint8))
        with pytest.raises(ValueError, match=r"this write gives label, but .* holds label, predic"):
            writer.write(1, MAP, MAP, label=1)
        with pytest.raises(TypeError, match=r"'image' is float64, but .* holds uint8"):
            writer.write(1, MAP, MAP, label=1, prediction=2, image=np.zeros((2, 2)))
        with pytest.raises(ValueError, match=r"'image' is \(3, 3\); here it must be \(2, 2\)"):
            writer.write(1, MAP, MAP, label=1, prediction=2, image=np.zeros((3, 3), np.uint8))
    with (
        PairWriter(tmp_path / "b.h5", n_samples=3, shape=(3, 4), attrs={}) as writer,
        pytest.raises(ValueError, match=r"'image' is \(2, 2\) but 'image_perturbed' is \(2, 3\)"),
    ):
        writer.write(0, MAP, MAP, image=np.zeros((2, 2)), image_perturbed=np.zeros((2, 3)))
