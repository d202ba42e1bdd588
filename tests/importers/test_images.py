"""Grey PNG and TIFF pictures as Pillow writes them; a page is a sample, and no value is changed silently."""

import struct
import sys
import zlib
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import PIL.Image
import pytest
from numpy.typing import NDArray

from tests.importers.toys import imported, peak_bytes, refused

pytestmark = pytest.mark.usefixtures("empty_folder")

RNG = np.random.default_rng(0)
LEVELS = {
    "u1": RNG.integers(0, 2**8, (2, 6, 8, 9)).astype("u1"),
    "u2": RNG.integers(0, 2**16, (2, 6, 8, 9)).astype("u2"),
    "f4": RNG.normal(size=(2, 6, 8, 9)).astype("f4"),
}


def save(path: str, maps: NDArray[Any], **options: Any) -> None:
    """Save maps as the pages of one file."""
    first, *others = (PIL.Image.fromarray(page) for page in maps)
    several: dict[str, Any] = {"save_all": True, "append_images": others} if others else {}
    first.save(path, **several, **options)


@pytest.mark.parametrize("dtype", ["u1", "u2"])
@pytest.mark.parametrize("suffix", [".png", ".tif", ".tiff", ".PNG", ".dat"])
def test_one_picture_is_one_map(dtype: str, suffix: str) -> None:
    for name, maps in zip("up", LEVELS[dtype], strict=True):
        save(name + suffix, maps[:1], format="PNG" if "png" in suffix.lower() else "TIFF")
    np.testing.assert_array_equal(imported(f"u{suffix}", f"p{suffix}"), LEVELS[dtype][:, :1])


@pytest.mark.parametrize("dtype", LEVELS)
@pytest.mark.parametrize("compression", [None, "tiff_lzw", "tiff_adobe_deflate"])
def test_pages_are_samples(dtype: str, compression: str | None) -> None:
    for name, maps in zip("up", LEVELS[dtype], strict=True):
        save(f"{name}.tif", maps, compression=compression)
    np.testing.assert_array_equal(imported("u.tif", "p.tif"), LEVELS[dtype])


def test_pages_are_read_in_any_order() -> None:
    maps, order = LEVELS["u2"], np.array([3, 0, 5, 4, 1, 2])
    save("u.tif", maps[0])
    with h5py.File("p.h5", "w") as file:
        file["maps"] = maps[1][order]
    np.save("ids.npy", np.arange(6))
    np.save("other.npy", order)
    found = imported("u.tif", "p.h5", samples=("ids.npy", "other.npy"))
    np.testing.assert_array_equal(found, maps)


@pytest.mark.parametrize("suffix", [".png", ".tif"])
def test_a_folder_of_pictures_is_read(suffix: str) -> None:
    for folder, maps in zip(("clean", "adv"), LEVELS["u1"], strict=True):
        Path(folder).mkdir()
        for number, page in enumerate(maps):
            save(f"{folder}/img {number}{suffix}", page[None])
    np.testing.assert_array_equal(imported("clean", "adv"), LEVELS["u1"])


def test_what_files_say_about_display_changes_no_value() -> None:
    page, other = LEVELS["u1"][:, 0]
    exif = PIL.Image.Exif()
    exif[274] = 6  # turned by 90 degrees
    save("u.png", page[None], exif=exif, dpi=(300, 300), transparency=3)
    save("p.png", other[None])
    np.testing.assert_array_equal(imported("u.png", "p.png")[:, 0], LEVELS["u1"][:, 0])
    save("u.tif", page[None], exif=exif)  # Pillow would turn this one
    refused("u.tif", r"^u\.tif is stored turned or mirrored: save the array that it was drawn from")


def picture(mode: str) -> PIL.Image.Image:
    return PIL.Image.fromarray(LEVELS["u1"][0, 0]).convert(mode)


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "P", "LA"])
def test_colours_are_refused_with_the_reason(mode: str) -> None:
    picture(mode).save("map.png")
    said = refused(
        "map.png", rf"^map\.png holds colours \({mode}\), whose order is not that of the values that they st"
    )
    line = "numpy.save('u.npy', numpy.asarray(PIL.Image.open('map.png').convert('RGB'))[None, ..., 0])"
    assert said.endswith(line)
    if mode != "P":  # whose colours are not those of the grey picture
        eval(line, {"numpy": np, "PIL": PIL})
        np.testing.assert_array_equal(np.load("u.npy")[0], LEVELS["u1"][0, 0])


def tagged(**tags: int) -> None:
    """Save a TIFF whose tags say something else about the same bytes."""
    save("map.tif", LEVELS["u1"][0, :1], tiffinfo={258: 8})
    content = bytearray(Path("map.tif").read_bytes())
    for number, value in ((int(name[1:]), value) for name, value in tags.items()):
        at = content.index(struct.pack("<HHI", number, 3, 1))
        content[at + 8 : at + 10] = struct.pack("<H", value)
    Path("map.tif").write_bytes(content)


def test_values_that_pillow_would_change_are_refused() -> None:
    tagged(t262=0)
    refused("map.tif", r"^map\.tif stores white as 0, which inverts the order of its values: save the array")
    picture("1").save("map.png")
    refused(
        "map.png", r"^map\.png has the mode 1, which is no grey of 8 or 16 bits, nor float32: save the arr"
    )
    info = {339: 2}  # signed
    save("map.tif", LEVELS["u1"][0, :1], tiffinfo=info)
    refused("map.tif", r"^map\.tif has 8 bits per value, signed: save the array")


def test_pages_of_several_sizes_are_refused() -> None:
    pages = [PIL.Image.fromarray(page) for page in (LEVELS["u1"][0, 0], LEVELS["u1"][0, 1, :5])]
    pages[0].save("map.tif", save_all=True, append_images=pages[1:])
    np.save("p.npy", np.zeros((2, 8, 9)))
    message = r"^map\.tif, page 1, is \(5, 9\), uint8, but page 0 is \(8, 9\), uint8; a pair file holds"
    with pytest.raises(ValueError, match=message):
        imported("map.tif", "p.npy")
    assert not Path("out.h5").exists()


def test_stacks_of_imagej_with_one_header_are_refused() -> None:
    text = "ImageJ=1.53k\nimages=700\nslices=700\nloop=false\n"
    save("map.tif", LEVELS["u1"][0, :1], description=text)
    message = r"^map\.tif is a stack of ImageJ with 700 pages, of which Pillow finds 1: numpy"
    refused("map.tif", message)


def chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


@pytest.mark.parametrize("side", [10_000, 20_000, 2**31 - 1])
def test_bombs_are_refused(side: int) -> None:
    head = chunk(b"IHDR", struct.pack(">IIBBBBB", side, side, 8, 0, 0, 0, 0))
    body = chunk(b"IDAT", zlib.compress(bytes(100))) + chunk(b"IEND", b"")
    Path("map.png").write_bytes(b"\x89PNG\r\n\x1a\n" + head + body)
    refused("map.png", r"^map\.png claims more than 89478485 pixels, too many for a map: save the array")


@pytest.mark.parametrize("name", ["map.png", "map.tif"])
def test_damaged_pictures_are_named_in_one_sentence(name: str) -> None:
    save(name, LEVELS["u1"][0, :1], **({"compression": "tiff_lzw"} if "tif" in name else {}))
    whole = Path(name).read_bytes()
    words = "is truncated|is damaged, or of a type|is empty"
    for length in (0, 2, 9, 30, len(whole) - 30):
        Path(name).write_bytes(whole[:length])
        refused(name, rf"^{name.replace('.', '[.]')} ({words})")
    if "png" in name:
        content = bytearray(whole)
        content[60] ^= 1
        Path(name).write_bytes(content)
        refused(name, r"^map\.png is truncated or damaged \(")


def test_a_picture_has_no_names_and_no_columns() -> None:
    save("map.png", LEVELS["u1"][0, :1])
    refused("map.png:u", r"^map\.png is a picture, which has no array named 'u': leave the name", ValueError)
    np.save("u.npy", np.ones((6, 8, 9)))
    refused("u.npy", r"^map\.png is a picture; labels must be integers", labels="map.png")


def test_without_the_package_a_line_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    save("map.png", LEVELS["u1"][0, :1])
    monkeypatch.setitem(sys.modules, "PIL", None)
    refused("map.png", r"^map\.png is a picture, which needs a package: pip install 'lensmetrics\[files\]'$")


def test_memory_stays_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    maps = RNG.integers(0, 2**16, (40, 200, 250)).astype("u2")  # 4 MB
    save("u.tif", maps)
    save("p.tif", maps[::-1])
    assert peak_bytes(monkeypatch, "u.tif", "p.tif") < 2e6
    with h5py.File("out.h5") as file:
        np.testing.assert_array_equal(file["perturbed"][()], maps[::-1])
