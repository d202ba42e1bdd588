"""Files that safetensors writes, by its functions for NumPy and for torch."""

import json
import struct
import sys
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import safetensors.numpy
from numpy.typing import NDArray

from lensmetrics.errors import FormatError
from lensmetrics.pairfile.store import PairStore
from tests.importers.test_importers import some_maps
from tests.importers.toys import imported, peak_bytes, refused

MAPS = some_maps(2, 6, 8, 9).astype(np.float32)


pytestmark = pytest.mark.usefixtures("empty_folder")


def save(name: str = "both", **arrays: NDArray[Any]) -> None:
    safetensors.numpy.save_file(
        {key: np.ascontiguousarray(values) for key, values in arrays.items()}, f"{name}.safetensors"
    )


def refused_tensors(message: str, name: str = "", error: type[Exception] = FormatError) -> None:
    refused(f"both.safetensors{name}", message, error)


def test_tensors_arrive_by_their_names() -> None:
    safetensors.numpy.save_file(
        {"maps/clean": MAPS[0], "a.b": MAPS[1], "n": np.arange(6)}, "both.safetensors"
    )
    found = imported(
        "both.safetensors:maps/clean",
        "both.safetensors:a.b",
        labels="both.safetensors:n",
        samples="both.safetensors:n",
    )
    np.testing.assert_array_equal(found, MAPS)
    save("u", maps=MAPS[0])
    save("p", perturbed=MAPS[1], other=MAPS[0])
    np.testing.assert_array_equal(imported("u.safetensors", "p.safetensors"), MAPS)


@pytest.mark.parametrize("dtype", ["f2", "f4", "f8", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8"])
def test_every_type_of_numbers_arrives(dtype: str) -> None:
    maps = (MAPS * 9 + 60).astype(dtype)
    save(u=maps[0], p=maps[1])
    np.testing.assert_array_equal(imported("both.safetensors:u", "both.safetensors:p"), maps)


def test_values_need_not_be_aligned() -> None:
    values = MAPS.astype("<f8")
    parts = [("u", values[0].tobytes()), ("p", values[1].tobytes())]
    header, at = {}, 1
    for name, content in parts:
        header[name] = {"dtype": "F64", "shape": [6, 8, 9], "data_offsets": [at, at + len(content)]}
        at += len(content)
    header["x"] = {"dtype": "U8", "shape": [1], "data_offsets": [0, 1]}
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    content = b"\0" + b"".join(content for _, content in parts)
    Path("both.safetensors").write_bytes(struct.pack("<Q", len(text)) + text + content)
    np.testing.assert_array_equal(imported("both.safetensors:u", "both.safetensors:p"), MAPS)


def test_bfloat16_of_torch_arrives() -> None:
    torch = pytest.importorskip("torch")
    from safetensors.torch import save_file as save_tensors

    tensors = [torch.from_numpy(maps).bfloat16() for maps in MAPS]
    save_tensors(dict(zip("up", tensors, strict=True)), "both.safetensors")
    expected = [tensor.float().numpy() for tensor in tensors]
    np.testing.assert_array_equal(imported("both.safetensors:u", "both.safetensors:p"), expected)
    moved = {name: it.permute(1, 2, 0).contiguous() for name, it in zip("up", tensors, strict=True)}
    save_tensors(moved, "both.safetensors")
    np.testing.assert_array_equal(imported("both.safetensors:u", "both.safetensors:p", axes="HWN"), expected)
    save_tensors({"u": tensors[0].to(torch.float8_e4m3fn)}, "both.safetensors")
    refused_tensors(r"^both\.safetensors, tensor 'u', is F8_E4M3; .*: save tensor\.float\(\)$")


def test_a_tensor_for_each_sample_keeps_its_name() -> None:
    names = [f"img{number}" for number in (10, 9, 2, 1, 0, 3)]
    for file, maps in zip("up", MAPS, strict=True):
        save(file, **dict(zip(names, maps, strict=True)))
    order = [4, 3, 2, 5, 1, 0]
    found = imported("u.safetensors:*", "p.safetensors:*")
    np.testing.assert_array_equal(found, MAPS[:, order])
    stored = PairStore(Path("out.h5")).name
    assert stored is not None
    assert stored.tolist() == [names[row] for row in order]
    save("both", a=MAPS[0, 0], b=MAPS[0, 1, :4])
    message = (
        r"2 arrays, whose element 'b' is \(4, 9\) but 'a' is \(8, 9\); a pair file holds maps of one size"
    )
    refused_tensors(message, ":*")


@pytest.mark.parametrize(
    ("name", "message"),
    [
        (
            "",
            r"has no array 'unperturbed'; it has 3: a, b, c; name one: .*each is one sample, all of them: '",
        ),
        (":x", r"^both\.safetensors has no array 'x'; it has 3: a, b, c; name one: both\.safetensors:NAME$"),
        (":x/*", r"^both\.safetensors has no arrays 'x/\*'; it has: a, b, c$"),
    ],
)
def test_names_that_are_not_there(name: str, message: str) -> None:
    save(a=MAPS[0], b=MAPS[1], c=MAPS[1])
    refused_tensors(message, name, ValueError)


def test_shapes_and_types_that_are_no_maps_are_refused() -> None:
    save(u=np.zeros((0, 8, 9)))
    refused_tensors(r"tensor 'u', is \(0, 8, 9\)")
    save(u=MAPS[0] > 0)
    refused_tensors(r"tensor 'u', is bool; maps must be")
    save(u=np.arange(3))
    refused_tensors(r"tensor 'u', is \(3,\)")


DAMAGED = {
    "header": (b"\x08" + bytes(7) + b"{nothing", "invalid JSON"),
    "long header": (struct.pack("<Q", 2**26) + b"{}", "invalid header length"),
    "overlap": (None, "invalid offset"),
}


@pytest.mark.parametrize("name", DAMAGED)
def test_damaged_headers_are_named_in_one_sentence(name: str) -> None:
    content, reason = DAMAGED[name]
    if content is None:
        entry = {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}
        text = json.dumps({"u": entry, "p": {**entry, "data_offsets": [2, 6]}}).encode()
        content = struct.pack("<Q", len(text)) + text + bytes(6)
    Path("both.safetensors").write_bytes(content)
    refused_tensors(
        rf"^both\.safetensors is truncated or damaged \(.*{reason}.*\): save it again with safetensors"
    )


def test_truncated_files_are_named_in_one_sentence() -> None:
    save(u=MAPS[0])
    whole = Path("both.safetensors").read_bytes()
    for length in (len(whole) - 4, 40, 10):
        Path("both.safetensors").write_bytes(whole[:length])
        refused_tensors(r"^both\.safetensors is truncated or damaged \(")
    for length in (0, 5):
        Path("both.safetensors").write_bytes(whole[:length])
        refused_tensors(r"^both\.safetensors is (empty|truncated, or not a safetensors file)")


def test_without_the_package_a_line_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    save(u=MAPS[0])
    monkeypatch.setitem(sys.modules, "safetensors", None)
    refused_tensors(
        r"^both\.safetensors is a safetensors file, which needs .*: pip install 'lensmetrics\[files\]'$"
    )


def test_memory_stays_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    maps = np.random.default_rng(0).normal(size=(400, 50, 50))  # 8 MB
    save(u=maps, p=maps + 1)
    assert peak_bytes(monkeypatch, "both.safetensors:u", "both.safetensors:p") < 4e6
    with h5py.File("out.h5") as file:
        np.testing.assert_array_equal(file["unperturbed"][()], maps)
