"""Damage to a sample, or to what all samples share, is found by its checksum."""

import subprocess
import sys
import zlib
from pathlib import Path

import h5py
import numpy as np
import pytest

from lensmetrics.errors import FormatError
from lensmetrics.pairfile.format import crc32, row_checksums
from lensmetrics.pairfile.store import PairStore
from lensmetrics.pairfile.verification import problem_lines, verify
from lensmetrics.pairfile.writer import PairWriter
from tests.pairfile.toys import ATTRS, MAP, own, write_all, write_pairs
from tests.pairfiles import break_chunk, edit, flip, flip_byte, names_in


@pytest.mark.parametrize("name", ["unperturbed", "perturbed"])
def test_one_flipped_byte_costs_one_sample(run: Path, name: str) -> None:
    store = PairStore(run)
    whole = store.read_block(0, 6)
    flip_byte(run, name, (3 * 35 + 17) * 4 + 1)
    unperturbed, perturbed, status = PairStore(run).read_block(2, 5)
    assert status == ["", "checksum", ""]
    assert np.isnan(unperturbed[1]).all()
    assert np.isnan(perturbed[1]).all()
    np.testing.assert_array_equal(unperturbed[[0, 2]], whole[0][[2, 4]])
    assert verify(run) == [(3, 13, "checksum")]


@pytest.mark.parametrize("name", ["sample", "label", "checksum"])
def test_the_columns_are_covered_too(run: Path, name: str) -> None:
    edit(run, lambda file: file[name].__setitem__(1, 77))
    assert [(position, problem) for position, _, problem in verify(run)] == [(1, "checksum")]


def test_a_chunk_that_cannot_be_decompressed_costs_one_sample(tmp_path: Path) -> None:
    path = write_pairs(tmp_path / "a.h5", compression="gzip")
    break_chunk(path, "unperturbed", 3)
    unperturbed, _, status = PairStore(path).read_block(0, 6)
    assert status == ["", "", "", "checksum", "", ""]
    assert np.isnan(unperturbed[3]).all()
    assert np.isfinite(unperturbed[[0, 1, 2, 4, 5]]).all()


@pytest.mark.parametrize("length", [*range(20), 63, 64, 65, 255, 1024, 4095, 51529 * 4])
def test_the_fast_checksum_is_that_of_zlib(length: int) -> None:
    rows = np.random.default_rng(length).integers(0, 256, (3, length), np.uint8)
    assert row_checksums([rows, rows[::-1].copy()]) == [
        zlib.crc32(rows[2 - i].tobytes(), zlib.crc32(rows[i].tobytes())) for i in range(3)
    ]
    unaligned = rows.reshape(-1)[1:]
    assert crc32(unaligned.data, 2**32 - 1) == zlib.crc32(unaligned.tobytes(), 2**32 - 1)


@pytest.mark.parametrize("with_isal", [False, True])
def test_a_file_reads_alike_with_and_without_isal(tmp_path: Path, with_isal: bool) -> None:
    if with_isal:
        pytest.importorskip("isal")
    path = write_pairs(tmp_path / "a.h5")
    flip_byte(path, "perturbed", 200)
    code = (
        f"import sys\nif not {with_isal}: sys.modules['isal'] = None\n"
        "import lensmetrics as lm\nfrom lensmetrics.pairfile.format import crc32\n"
        "print('isal.isal_zlib' in sys.modules, crc32 is __import__('zlib').crc32, sep='|', end='|')\n"
        f"print(*lm.PairStore({str(path)!r}).read_block(0, 6)[2], sep='|')"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == f"{with_isal}|{not with_isal}||checksum||||\n"


def test_checksums_are_those_of_the_format(tmp_path: Path) -> None:
    """Computed here from the file alone, as the format says in words."""
    with h5py.File(write_all(tmp_path / "a.h5")) as file:
        text = (
            '{"attack":"topk","dataset":"toy","eps":"nan","format":"lensmetrics-pairs","format_version":1,'
            f'"list":["{(1.5).hex()}","inf"],"note":"größer","one":7,"scale":"{float(np.float32(0.1)).hex()}",'
            '"steps":20}'
        )
        covered = text.encode() + np.array([4, -1, 9], "<i4").tobytes() + np.array([1, 0, 3], "<i4").tobytes()
        covered += "0/ü.png\0001/ü.png\0002/ü.png\000".encode()
        covered += np.array([1.5, 2.5, 0.0, 0.5, 0.5, 0.0], "<f4").tobytes()
        covered += np.array([0, 1, 2, 0, 5, 2], "<i8").tobytes()
        assert file.attrs["checksum_metadata"] == zlib.crc32(covered)
        beside = ("image", "image_perturbed", "target", "output", "output_perturbed")
        for i in range(3):
            data = b"".join(np.ascontiguousarray(file[name][i]).tobytes() for name in beside)
            assert file["image_checksum"][i] == zlib.crc32(data)
    store = PairStore(tmp_path / "a.h5")
    assert store.not_attacked.tolist() == [False, True, False]  # the counts tell, not the norms
    assert store.label_changed.tolist() == [False, True, False]
    assert store.best_step is not None
    assert store.best_step.tolist() == [4, -1, 9]


METADATA = [(-1, -1, "checksum_metadata")]


@pytest.mark.parametrize("name", ["topk", "größer", "toy"])
def test_a_flip_in_the_text_of_an_attribute_is_found(tmp_path: Path, name: str) -> None:
    path = write_all(tmp_path / "a.h5")
    flip(path, path.read_bytes().index(name.encode()))
    assert verify(path) == METADATA
    store = PairStore(path)
    assert store.metadata_damaged.startswith(f"{path}: checksum_metadata does not match: attributes, names")
    assert store.read_block(0, 3)[2] == ["", "", ""]
    assert list(problem_lines(verify(path))) == [
        "checksum_metadata: attributes, names, predictions or norms have changed since the file was finished"
    ]


@pytest.mark.parametrize(
    "name",
    [
        *("name", "n_accepted", "best_step", "prediction", "prediction_perturbed"),
        *("perturbation_l2", "perturbation_linf"),
    ],
)
def test_a_flip_in_a_column_is_found(tmp_path: Path, name: str) -> None:
    path = write_all(tmp_path / "a.h5")
    whole = PairStore(path).fingerprint
    flip_byte(path, name)
    assert verify(path) == METADATA
    assert PairStore(path).fingerprint != whole


@pytest.mark.parametrize(
    "name", ["image", "image_perturbed", "target", "output", "output_perturbed", "image_checksum"]
)
def test_a_flip_beside_the_maps_is_found_and_mended(tmp_path: Path, name: str) -> None:
    path = write_all(tmp_path / "a.h5")
    with h5py.File(path) as file:
        row_bytes = file[name].id.get_storage_size() // 3
    flip_byte(path, name, row_bytes)
    assert verify(path) == [(1, 1, "image_checksum")]
    assert list(problem_lines(verify(path))) == [
        "sample 1 at position 1: image_checksum: an image, the target or an output is damaged"
    ]
    with PairWriter.resume(path, PairStore(path).attrs) as writer:
        assert writer.missing.tolist() == [1]


def test_both_kinds_of_damage_to_a_sample_are_named(tmp_path: Path) -> None:
    path = write_all(tmp_path / "a.h5")
    flip_byte(path, "image")
    flip_byte(path, "perturbed")
    flip_byte(path, "prediction")
    assert verify(path) == [*METADATA, (0, 0, "checksum"), (0, 0, "image_checksum")]


def test_images_are_verified_in_pieces(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write_all(tmp_path / "a.h5")
    flip_byte(path, "image", 2 * 36)
    monkeypatch.setattr("lensmetrics.pairfile.slices.BLOCK_BYTES", 300)
    assert verify(path) == [(2, 2, "image_checksum")]


def test_a_chunk_of_an_image_that_cannot_be_decompressed(tmp_path: Path) -> None:
    path = tmp_path / "a.h5"
    with PairWriter(path, n_samples=3, shape=(3, 4), attrs={}, compression="gzip") as writer:
        image = np.random.default_rng(0).random((3, 9, 9))
        writer.write(slice(0, 3), np.zeros((3, 3, 4)), np.zeros((3, 3, 4)), image=image)
    break_chunk(path, "image", 1)
    assert verify(path) == [(1, 1, "image_checksum")]


def test_the_checksum_is_that_of_a_finished_file(tmp_path: Path) -> None:
    path, part = tmp_path / "a.h5", tmp_path / "a.h5.part"
    with PairWriter(path, n_samples=3, shape=(3, 4), attrs=ATTRS) as writer:
        writer.write(0, MAP, MAP, prediction=4)
        assert "checksum_metadata" not in PairStore(part).attrs
    first = PairStore(path).attrs["checksum_metadata"]
    writer = PairWriter.resume(path, PairStore(path).attrs)
    assert "checksum_metadata" not in PairStore(part).attrs
    with writer:
        writer.write(1, MAP, MAP, prediction=5)
        assert "checksum_metadata" not in PairStore(part).attrs
        assert PairStore(part).metadata_damaged == ""
    assert PairStore(path).attrs["checksum_metadata"] != first
    assert [problem for _, _, problem in verify(path)] == ["incomplete"]
    # Attributes may be copied from another file.
    with PairWriter(tmp_path / "b.h5", n_samples=1, shape=(3, 4), attrs=PairStore(path).attrs):
        pass
    assert own(PairStore(tmp_path / "b.h5").attrs) == ATTRS


@pytest.mark.parametrize("n", [0, 5, 6, 30])
def test_finishing_changes_the_file_in_one_place(tmp_path: Path, n: int) -> None:
    """A kill between two writes of metadata could tear it; HDF5 keeps more than eight attributes apart."""
    path, part = tmp_path / "a.h5", tmp_path / "a.h5.part"
    with PairWriter(path, n_samples=1, shape=(3, 4), attrs={f"a{i}": "x" * i for i in range(n)}) as writer:
        writer.write(0, MAP, MAP)
        before = np.frombuffer(part.read_bytes(), np.uint8)
    after = np.frombuffer(path.read_bytes(), np.uint8)
    changed = 48 + np.flatnonzero(before[48:] != after[48:])  # the superblock says that the file is closed
    assert len(changed) <= 12  # the value and HDF5's own checksum of the block that it is in
    assert changed[-1] - changed[0] < 1024


def test_a_file_whose_metadata_is_damaged_is_not_resumed(tmp_path: Path) -> None:
    path = tmp_path / "a.h5"
    with PairWriter(path, n_samples=3, shape=(3, 4), attrs=ATTRS) as writer:
        writer.write(0, MAP, MAP, prediction=4)
    edit(path, lambda file: file["prediction"].__setitem__(0, 3))
    before = path.read_bytes()
    with pytest.raises(
        FormatError, match=r"a\.h5: checksum_metadata does not match: .* delete the attribute"
    ):
        PairWriter.resume(path, ATTRS)
    assert (names_in(tmp_path), path.read_bytes()) == (["a.h5"], before)
    edit(path, lambda file: file.attrs.__delitem__("checksum_metadata"))
    with PairWriter.resume(path, ATTRS) as writer:
        writer.write(1, MAP, MAP, prediction=4)
    assert verify(path) == [(2, -1, "incomplete")]


def test_files_of_other_programs_keep_a_checksum(tmp_path: Path) -> None:
    path = tmp_path / "a.h5"
    with PairWriter(path, n_samples=2, shape=(3, 4), attrs=ATTRS) as writer:
        writer.write(0, MAP, MAP, prediction=4)

    def retype(file: h5py.File) -> None:
        file.attrs.create("checksum_metadata", [file.attrs["checksum_metadata"]], dtype=np.uint32)

    edit(path, retype)
    assert PairStore(path).metadata_damaged == ""
    with PairWriter.resume(path, ATTRS) as writer:
        assert "checksum_metadata" not in PairStore(tmp_path / "a.h5.part").attrs
        writer.write(1, MAP, MAP, prediction=4)
    assert verify(path) == []


def test_a_file_of_release_0_1_0_is_good() -> None:
    path = Path(__file__).parent / "written_by_0.1.0.h5"
    store = PairStore(path)
    assert "checksum_metadata" not in store.attrs
    assert (store.name, store.n_accepted, store.metadata_damaged) == (None, None, "")
    assert verify(path) == []
    with h5py.File(path) as file:
        norms = file["perturbation_linf"][()]
    assert store.not_attacked.tolist() == (norms == 0).tolist()
    assert store.prediction is not None
    assert store.prediction_perturbed is not None
    changed = np.not_equal(store.prediction, store.prediction_perturbed)
    assert store.label_changed.tolist() == changed.tolist()
