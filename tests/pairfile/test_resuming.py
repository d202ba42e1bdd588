"""Writing, stopping and resuming."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from lensmetrics.pairfile.store import PairStore
from lensmetrics.pairfile.verification import verify
from lensmetrics.pairfile.writer import PairWriter
from tests.pairfile.toys import ATTRS, MAP, write_pairs
from tests.pairfiles import edit, maps_of, names_in


def test_names_while_writing(tmp_path: Path) -> None:
    with PairWriter(tmp_path / "a.h5", n_samples=2, shape=(1, 1), attrs={}) as writer:
        (temporary,) = names_in(tmp_path)
        assert temporary.startswith(".a.h5.")
        writer.write(1, [[1.0]], [[2.0]])
        assert names_in(tmp_path) == ["a.h5.part"]
        assert writer.missing.tolist() == [0]
    assert names_in(tmp_path) == ["a.h5"]
    assert verify(tmp_path / "a.h5") == [(0, -1, "incomplete")]


def test_an_error_before_the_first_write_leaves_nothing(tmp_path: Path) -> None:
    with (
        pytest.raises(KeyError),
        PairWriter(tmp_path / "a.h5", n_samples=2, shape=(1, 1), attrs={}),
    ):
        raise KeyError
    assert names_in(tmp_path) == []


@pytest.mark.parametrize("compression", [None, "gzip"])
def test_an_interrupted_file_is_resumed(tmp_path: Path, compression: str | None) -> None:
    path = tmp_path / "a.h5"
    unperturbed, perturbed = maps_of(5, 3, 4)
    attrs = {**ATTRS, "eps": float("nan"), "layers": ["a", "b"], "seeds": (1, 2), "one": [3]}

    def write(writer: PairWriter, i: int) -> None:
        image = np.full((2, 3), i, np.uint8)
        writer.write(i, unperturbed[i], perturbed[i], sample=i + 50, label=i, image=image)

    writer = PairWriter(path, n_samples=5, shape=(3, 4), attrs=attrs, compression=compression)

    def begin() -> None:
        with writer:
            write(writer, 3)
            write(writer, 0)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        begin()
    assert names_in(tmp_path) == ["a.h5.part"]
    with pytest.raises(ValueError, match=r"a\.h5 is closed; continue it with PairWriter\.resume"):
        write(writer, 1)
    part = PairStore(f"{path}.part")
    assert part.read_block(0, 5)[2] == ["", "incomplete", "incomplete", "", "incomplete"]
    with pytest.raises(FileNotFoundError, match=r"a\.h5 does not exist, but .*a\.h5\.part does"):
        PairStore(path)

    with PairWriter.resume(path, attrs=attrs) as writer:
        assert writer.missing.tolist() == [1, 2, 4]
        with pytest.raises(ValueError, match=r"position 3 of .*a\.h5 is complete"):
            write(writer, 3)
        with pytest.raises(ValueError, match=r"sample 53, given for position 1, is already in"):
            writer.write(
                1, unperturbed[1], perturbed[1], sample=53, label=0, image=np.zeros((2, 3), np.uint8)
            )
        for i in writer.missing.tolist():
            write(writer, i)
    assert names_in(tmp_path) == ["a.h5"]
    assert verify(path) == []
    store = PairStore(path)
    assert store.sample.tolist() == [50, 51, 52, 53, 54]
    np.testing.assert_array_equal(store.read_block(0, 5)[0], unperturbed)
    assert [int(image.max()) for i in range(5) if (image := store.read_image(i)[0]) is not None] == [
        *range(5)
    ]


def test_a_killed_writer_costs_nothing_that_was_complete(tmp_path: Path) -> None:
    script = """
import os, sys
import numpy as np
from lensmetrics.pairfile.writer import PairWriter
with PairWriter(sys.argv[1], n_samples=8, shape=(6, 6), attrs={"eps": 0.5}) as writer:
    for i in range(5):
        writer.write(i, np.full((6, 6), i), np.full((6, 6), -i), label=i)
    os._exit(9)
"""
    path = tmp_path / "a.h5"
    code = subprocess.run([sys.executable, "-c", script, str(path)], check=False).returncode
    assert code == 9
    with PairWriter.resume(path, {"eps": 0.5}) as writer:
        assert writer.missing.tolist() == [5, 6, 7]
        maps = np.zeros((3, 6, 6), int)
        writer.write(slice(5, 8), maps, maps, label=[5, 6, 7])
    assert verify(path) == []
    assert PairStore(path)[4].unperturbed[0, 0] == 4


def test_a_finished_file_with_gaps_is_resumed(tmp_path: Path) -> None:
    path = tmp_path / "a.h5"
    with PairWriter(path, n_samples=2, shape=(1, 1), attrs=ATTRS) as writer:
        writer.write(0, [[1.0]], [[2.0]])
    with PairWriter.resume(path, ATTRS) as writer:
        assert names_in(tmp_path) == ["a.h5.part"]
        writer.write(1, [[1.0]], [[2.0]])
    assert names_in(tmp_path) == ["a.h5"]
    with pytest.raises(FileExistsError, match=r"a\.h5 is complete: there is nothing to resume"):
        PairWriter.resume(path, ATTRS)


def test_resume_writes_damaged_samples_again(run: Path) -> None:
    edit(run, lambda file: file["perturbed"].__setitem__((2, 0, 0), 99.0))
    with PairWriter.resume(run, ATTRS) as writer:
        assert writer.missing.tolist() == [2]
        writer.write(2, np.ones((5, 7), int), np.ones((5, 7), int), sample=12, label=0)
    assert verify(run) == []


def test_resume_refuses_other_attributes(tmp_path: Path) -> None:
    path = tmp_path / "a.h5"
    with PairWriter(path, n_samples=2, shape=(1, 1), attrs=ATTRS) as writer:
        writer.write(0, [[1.0]], [[2.0]])
    other = {"dataset": "toy", "attack": "topk", "eps": 0.2, "seed": 3}
    with pytest.raises(ValueError, match=r"attributes differ from those of .*a\.h5: ") as caught:
        PairWriter.resume(path, other)
    assert "eps is 0.1 in the file, 0.2 given" in str(caught.value)
    assert "seed is absent in the file, 3 given" in str(caught.value)
    assert "steps is 20 in the file, absent given" in str(caught.value)
    assert "dataset" not in str(caught.value)
    PairWriter.resume(path, PairStore(path).attrs).__exit__(None, None, None)


def test_resume_without_a_file_or_with_two(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"no .*a\.h5\.part to resume: begin with PairWriter"):
        PairWriter.resume(tmp_path / "a.h5", {})
    write_pairs(tmp_path / "a.h5")
    (tmp_path / "a.h5.part").touch()
    with pytest.raises(FileExistsError, match=r"both .*a\.h5 and .*a\.h5\.part exist: delete"):
        PairWriter.resume(tmp_path / "a.h5", ATTRS)


def test_a_file_finished_without_samples_says_so(tmp_path: Path) -> None:
    path = tmp_path / "a.h5"
    with PairWriter(path, n_samples=2, shape=(3, 4), attrs=ATTRS):
        pass
    with PairWriter.resume(path, ATTRS) as writer:
        with pytest.raises(
            ValueError,
            match=r"gives label, but .* was created with no optional variables and holds no samples: delete",
        ):
            writer.write(0, MAP.astype("f4"), MAP.astype("f4"), label=1)
        with pytest.raises(
            ValueError, match=r"needs float64, but .* was created as float32 and holds no samples: delete"
        ):
            writer.write(0, MAP, MAP)
        writer.write(0, MAP.astype("f4"), MAP.astype("f4"))
    assert verify(path) == [(1, -1, "incomplete")]
