"""Files that torch.save writes: tensors, and lists and dicts of them; nothing else is opened."""

import collections
import os
import pickle
import sys
import warnings
import zipfile
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

import lensmetrics as lm
from lensmetrics.errors import FormatError
from lensmetrics.importers import import_maps
from lensmetrics.pairfile.store import PairStore
from tests.importers.test_importers import some_maps
from tests.importers.toys import imported, peak_bytes, refused

torch = pytest.importorskip("torch")

MAPS = some_maps(2, 6, 8, 9).astype(np.float32)
CLEAN, ADV = (torch.from_numpy(maps) for maps in MAPS)


pytestmark = pytest.mark.usefixtures("empty_folder")


def refused_tensors(content: Any, message: str, name: str = "", error: type[Exception] = FormatError) -> None:
    torch.save(content, "u.pt")
    refused(f"u.pt{name}", message, error)


@pytest.mark.parametrize("suffix", [".pt", ".pth", ".bin", ""])
def test_tensors_arrive(suffix: str) -> None:
    for name, tensor in (("u", CLEAN), ("p", ADV)):
        torch.save(tensor, name + suffix)
    np.testing.assert_array_equal(imported(f"u{suffix}", f"p{suffix}"), MAPS)


CHANGES: dict[str, Any] = {
    "requires grad": lambda it: it.clone().requires_grad_(),
    "parameter": torch.nn.Parameter,
    "not contiguous": lambda it: it.permute(2, 0, 1).contiguous().permute(1, 2, 0),
    "channels": lambda it: torch.stack([it, it * 2, it * 3], dim=1),
    "channels last": lambda it: torch.stack([it] * 3, dim=1).to(memory_format=torch.channels_last),
    "view of more": lambda it: torch.cat([it, it, it])[6:12],
    "negative bit": lambda it: torch.complex(it, it).conj().imag,
    "float64": lambda it: it.double() / 3,
    "float16": lambda it: it.half(),
    "bfloat16": lambda it: it.bfloat16(),
    "uint8": lambda it: (it * 50 + 100).to(torch.uint8),
    "int64": lambda it: (it * 1e6).long() * 2**20,
    "uint16": lambda it: (it * 1000 + 9000).to(torch.uint16),
}


@pytest.mark.parametrize("name", CHANGES)
def test_every_tensor_of_numbers_arrives(name: str) -> None:
    tensors = [CHANGES[name](tensor) for tensor in (CLEAN, ADV)]
    torch.save(tensors, "both.pt")
    expected = [np.asarray(tensor.detach().double().numpy()) for tensor in tensors]
    np.testing.assert_array_equal(imported("both.pt:0", "both.pt:1"), expected)
    matched = imported("both.pt:0", "both.pt:1", axes="NHW" if tensors[0].ndim == 3 else "NCHW")
    np.testing.assert_array_equal(matched, expected)


@pytest.mark.parametrize("kind", [torch.float32, torch.bfloat16])
def test_samples_need_not_come_first(kind: Any) -> None:
    torch.save({"u": CLEAN.permute(1, 2, 0).to(kind), "p": ADV.permute(1, 2, 0).to(kind)}, "both.pt")
    expected = np.stack([CLEAN.to(kind).float().numpy(), ADV.to(kind).float().numpy()])
    np.testing.assert_array_equal(imported("both.pt:u", "both.pt:p", axes="HWN"), expected)


@pytest.mark.parametrize("container", [list, tuple])
def test_a_list_of_tensors_holds_a_sample_in_each(container: Any) -> None:
    torch.save(container(CLEAN), "u.pt")
    torch.save({"maps": {"adv": container(ADV)}, "note": "text", "eps": torch.tensor(0.1)}, "p.pt")
    np.testing.assert_array_equal(imported("u.pt", "p.pt"), MAPS)
    np.testing.assert_array_equal(imported("u.pt", "p.pt:maps/adv"), MAPS)
    np.testing.assert_array_equal(imported("u.pt:*", "p.pt:maps/adv/*"), MAPS)
    torch.save([list(CLEAN), list(ADV)], "both.pt")
    np.testing.assert_array_equal(imported("both.pt:0", "both.pt:1"), MAPS)


def test_names_lead_through_dicts_and_lists() -> None:
    content = {"maps": {"clean": CLEAN, 7: [ADV, CLEAN]}, "a/b": ADV, "shape": CLEAN.shape}
    torch.save(content, "both.pt")
    for name in ("maps/7/0", "a/b"):
        np.testing.assert_array_equal(imported("both.pt:maps/clean", f"both.pt:{name}"), MAPS)
    torch.save({"unperturbed": CLEAN, "perturbed": ADV}, "both.pt")
    np.testing.assert_array_equal(imported("both.pt", "both.pt"), MAPS)
    torch.save(collections.OrderedDict(only=CLEAN), "one.pt")
    torch.save(ADV, "p.pt")
    np.testing.assert_array_equal(imported("one.pt", "p.pt"), MAPS)


def test_a_tensor_for_each_sample_keeps_its_name() -> None:
    names = [f"img{number}" for number in (10, 9, 2, 1, 0, 3)]
    for file, tensors in (("u", CLEAN), ("p", ADV)):
        torch.save({"maps": dict(zip(names, tensors, strict=True)), "more": torch.ones(3)}, f"{file}.pt")
    order = [4, 3, 2, 5, 1, 0]
    np.testing.assert_array_equal(imported("u.pt:maps/*", "p.pt:maps/*"), MAPS[:, order])
    assert list(PairStore(Path("out.h5")).name) == [names[row] for row in order]  # type: ignore[arg-type]


def test_columns_come_from_tensors_and_lists() -> None:
    torch.save(
        {
            "u": CLEAN,
            "p": ADV,
            "label": torch.arange(6)[:, None].bfloat16(),
            "labels": [5, 4, 3, 2, 1, 0],
            "ids": [torch.tensor(number) for number in range(10, 16)],
            "files": [f"img {number}.png" for number in range(6)],
        },
        "both.pt",
    )
    options = {"labels": "both.pt", "samples": "both.pt:ids"}
    imported("both.pt:u", "both.pt:p", **options)
    store = PairStore(Path("out.h5"))
    assert store.label is not None
    assert (store.label.tolist(), store.sample.tolist()) == ([5, 4, 3, 2, 1, 0], list(range(10, 16)))
    imported("both.pt:u", "both.pt:p", labels="both.pt:label", samples="both.pt:files")
    store = PairStore(Path("out.h5"))
    assert store.label is not None
    assert store.name is not None
    assert (store.label.tolist(), store.name[5]) == ([0, 1, 2, 3, 4, 5], "img 5.png")


class Explanation:
    maps = 1


REFUSED: dict[str, tuple[Any, str]] = {
    "module": (torch.nn.Linear(2, 2), r"u\.pt holds Python objects \(torch\.nn\.modules\.linear\.Linear\),"),
    "dataset": (torch.utils.data.TensorDataset(CLEAN), r"Python objects \(torch\.utils\.data\.dataset\."),
    "own class": (Explanation(), r"Python objects \(tests\.importers\.test_torch\.Explanation\), .*save"),
    "system": (collections.deque([CLEAN]), r"Python objects \(collections\.deque\)"),
    "numpy": ({"maps": MAPS[0]}, r"holds NumPy arrays in place of tensors, .*numpy\.savez where they"),
    "sparse": (CLEAN.to_sparse(), r"u\.pt is stored as torch\.sparse_coo: save tensor\.to_dense\(\)$"),
    "meta": (torch.empty(6, 8, 9, device="meta"), r"u\.pt holds no values, only a shape"),
    "expanded": (torch.zeros(1, 8, 9).expand(10**9, 8, 9), r"u\.pt is \(1000000000, 8, 9\) but repeats"),
    "float8": (CLEAN.to(torch.float8_e4m3fn), r"u\.pt is torch\.float8_e4m3fn; .*save tensor\.float\(\)$"),
    "complex": (CLEAN + 1j, r"u\.pt is complex64; maps must be"),
    "bool": (CLEAN > 0, r"u\.pt is bool; maps must be"),
    "batches": ([CLEAN[:, None]] * 2, r"list of 2 tensors of \(6, 1, 8, 9\), which seem to be batches"),
    "sizes": ([CLEAN, ADV[:4]], r"u\.pt, a list, whose element 1 is \(4, 8, 9\) but 0 is \(6, 8, 9\)"),
    "sizes of elements": ({"u": [CLEAN[0], CLEAN[0, :4]]}, r"tensor 'u', a list, whose element 1 is"),
    "empty": ({}, r"u\.pt holds no array of numbers"),
    "no tensor": ({"eps": 0.1, "note": "text", "scale": torch.tensor(2.0)}, r"u\.pt holds no array"),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_no_tensor_of_numbers_is_refused(name: str) -> None:
    refused_tensors(*REFUSED[name])


def test_nothing_is_run(empty_folder: Path) -> None:
    class Harm:
        def __reduce__(self) -> Any:
            return os.mkdir, (str(empty_folder / "owned"),)

    torch.save({"u": CLEAN, "x": Harm()}, "u.pt")
    refused("u.pt", r"u\.pt holds Python objects \((posix|nt)\.mkdir\)")
    assert not (empty_folder / "owned").exists()


@pytest.mark.parametrize(
    ("content", "name", "message"),
    [
        (
            {"a": CLEAN, "b": ADV, "n": 3},
            "",
            r"u\.pt has no array 'unperturbed'; it has 2: a, b; name one: u\.pt",
        ),
        ({"a": CLEAN, "b": ADV}, ":c", r"u\.pt has no array 'c'; it has 2: a, b; name one: u\.pt:NAME$"),
        (CLEAN, ":c", r"u\.pt holds one array without a name, not 'c': leave the name out"),
        (list(CLEAN), ":6", r"u\.pt has no tensor '6'; it is a list of 6, from 0 on"),
        ({"a": list(CLEAN)}, ":a/-1", r"u\.pt has no tensor 'a/-1'; 'a' is a list of 6, from 0 on"),
        ({"a": CLEAN}, ":b/*", r"u\.pt has no arrays 'b/\*'; it has: a"),
    ],
)
def test_names_that_are_not_there(content: Any, name: str, message: str) -> None:
    refused_tensors(content, f"^{message}", name, ValueError)


def test_a_file_that_holds_itself() -> None:
    content: list[Any] = [CLEAN, {}]
    content[1]["again"] = content
    for _ in range(100):
        content = [content]
    torch.save(content, "u.pt")
    torch.save(ADV, "p.pt")
    np.testing.assert_array_equal(imported("u.pt", "p.pt"), MAPS)


def test_quantized_tensors_and_programs_are_refused() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.save(torch.quantize_per_tensor(CLEAN, 0.1, 0, torch.qint8), "u.pt")
        refused("u.pt", r"^u\.pt is quantized: save tensor\.dequantize\(\)$")
        torch.jit.trace(torch.nn.ReLU(), CLEAN).save("u.pt")
    refused("u.pt", r"^u\.pt is a TorchScript program, which import does not open: save the tensors alone")


def test_files_that_cannot_be_mapped_get_a_line_that_converts_them() -> None:
    torch.save(ADV, "p.pt")
    torch.save(CLEAN, "u.pt", _use_new_zipfile_serialization=False)
    line = "torch.save(torch.load('u.pt', map_location='cpu', weights_only=True), 'u.pt')"
    with pytest.raises(FormatError, match=r"u\.pt is a file of torch\.save in its format before") as caught:
        import_maps("u.pt", "p.pt", "out.h5")
    assert str(caught.value).endswith(line)
    eval(line, {"torch": torch})
    np.testing.assert_array_equal(imported("u.pt", "p.pt"), MAPS)
    with zipfile.ZipFile("u.pt") as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile("u.pt", "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    refused("u.pt", r"u\.pt was compressed after torch\.save, so that it cannot be mapped: torch")
    eval(line, {"torch": torch})
    np.testing.assert_array_equal(imported("u.pt", "p.pt"), MAPS)


def test_damaged_files_are_named_in_one_sentence() -> None:
    torch.save({"u": CLEAN}, "u.pt")
    whole = Path("u.pt").read_bytes()
    Path("u.pt").write_bytes(whole[:-300])
    refused("u.pt", r"^u\.pt is truncated, or not a file of torch\.save: save it again")
    Path("u.pt").write_bytes(b"")
    refused("u.pt", r"^u\.pt is empty \(0 bytes\)")
    Path("u.pt").write_bytes(pickle.dumps([1], protocol=2))
    refused("u.pt", r"^u\.pt is a Python pickle, which import does not open")
    with zipfile.ZipFile("u.pt", "w") as archive:
        archive.writestr("a/data.pkl", b"\x80\x02X")
    refused(
        "u.pt", r"^u\.pt is truncated or damaged \(.*\): save it again with torch\.save, or copy it again$"
    )


def test_every_flipped_byte_is_refused_or_read() -> None:
    """No damage crashes the process or ends in another error, wherever it is outside the values."""
    torch.save({"u": CLEAN[:, :2, :2]}, "u.pt")
    np.save("p.npy", MAPS[1][:, :2, :2])
    whole = Path("u.pt").read_bytes()
    said = {}
    for position in range(5, len(whole), len(whole) // 40):
        damaged = bytearray(whole)
        damaged[position] ^= 0x15
        Path("u.pt").write_bytes(damaged)
        Path("out.h5").unlink(missing_ok=True)
        try:
            import_maps("u.pt", "p.npy", "out.h5", shape=(2, 2))
        except ValueError as error:  # FormatError is one
            said[position] = str(error)
    assert said
    assert not [text for text in said.values() if "\n" in text or not text.startswith("u.pt")]


def test_shapes_and_storages_beyond_the_file_are_refused() -> None:
    torch.save(CLEAN, "u.pt")
    with zipfile.ZipFile("u.pt") as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    content = members["u/data.pkl"]
    number, many = b"K\x06K\x08K\x09", b"J\xff\xff\xff\x7fK\x08K\x09"
    assert content.count(number) == 1
    sizes = {"shape": content.replace(number, many)}
    size = b"M" + (6 * 8 * 9).to_bytes(2, "little")
    assert content.count(size) == 1
    sizes["storage"] = content.replace(size, b"J\xff\xff\xff\x7f")
    sizes["both"] = sizes["shape"].replace(size, b"\x8a\x05" + (2**36).to_bytes(5, "little"))
    for changed in sizes.values():
        with zipfile.ZipFile("u.pt", "w") as archive:
            for member, values in members.items():
                archive.writestr(member, changed if member == "u/data.pkl" else values)
        refused("u.pt", r"^u\.pt is .*(truncated or damaged|repeats)")


def test_without_torch_a_line_converts(monkeypatch: pytest.MonkeyPatch) -> None:
    torch.save(CLEAN, "u.pt")
    monkeypatch.setitem(sys.modules, "torch", None)
    np.save("p.npy", MAPS[1])
    message = (
        r"^u\.pt is a file of torch\.save, and torch is not installed: install it, or run, where it is, "
    )
    with pytest.raises(FormatError, match=message) as caught:
        import_maps("u.pt", "p.npy", "out.h5")
    line = str(caught.value).partition("where it is, ")[2]
    eval(line, {"torch": torch, "numpy": np})
    np.testing.assert_array_equal(imported("u.npy", "p.npy"), MAPS)


def test_memory_stays_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    maps = np.random.default_rng(0).normal(size=(400, 50, 50))  # 8 MB
    torch.save({"u": torch.from_numpy(maps), "p": torch.from_numpy(maps + 1).bfloat16()}, "both.pt")
    assert peak_bytes(monkeypatch, "both.pt:u", "both.pt:p") < 4e6
    with h5py.File("out.h5") as file:
        np.testing.assert_array_equal(file["unperturbed"][()], maps)


def test_one_side_is_another_kind_of_file() -> None:
    np.save("clean.npy", MAPS[0])
    torch.save(ADV, "adv.pt")
    np.testing.assert_array_equal(imported("clean.npy", "adv.pt"), MAPS)
    assert len(lm.PairStore("out.h5")) == 6
