"""Say what a file is that cannot be imported, and the one line of code that converts it to an array.

No file is parsed: its first bytes and its name decide. A pickle, or a file that may hold one, is never
loaded, and no message advises anyone to load one unsafely.
"""

import codecs
import contextlib
import re
from pathlib import Path

_SAVE = "numpy.save('u.npy', {})"
_HEAD_BYTES = 512

_IMAGE = (
    "an image of a kind that holds colours or loses levels, not attributions: save the array that it was "
    "drawn from with numpy.save, or its grey levels: "
    + _SAVE.format("numpy.asarray(PIL.Image.open({name!r}).convert('F'))[None]")
)
_PICKLE = (
    "a Python pickle, which import does not open, because opening one runs the code in it: save the array "
    "where the pickle was created, numpy.save('u.npy', array)"
)
_OLD_TORCH = (
    "a file of torch.save in its format before torch 1.6, which cannot be mapped: "
    "torch.save(torch.load({name!r}, map_location='cpu', weights_only=True), 'u.pt')"
)
_TEXT = "text: " + _SAVE.format("numpy.loadtxt({name!r}{options}, ndmin=2)") + " saves the numbers in it"
_JSON = (
    "text: "
    + _SAVE.format("numpy.array(json.loads(pathlib.Path({name!r}).read_text()))")
    + " saves lists of numbers"
)
_MEMBER = "['NAME']"
_NUMBER = re.compile(r"([-+]?([0-9.]+([eE][-+]?[0-9]+)?|nan|inf))?", re.IGNORECASE)
_COMPRESSED = "compressed with {}: unpack it first"
_TABLE = (
    "a table: "
    + _SAVE.format("pandas.read_{kind}({{name!r}}).to_numpy(float)")
    + "; of a column that holds a list per row, "
    + _SAVE.format("numpy.stack(pandas.read_{kind}({{name!r}})['NAME'])")
)

_BY_FIRST_BYTES = (
    (b"\xff\xd8\xff", _IMAGE),
    (b"GIF8", _IMAGE),
    (b"BM", _IMAGE),
    (
        b"version https://git-lfs",
        "a Git LFS pointer, not the file itself: fetch that with git lfs pull",
    ),
    (
        b"/annex/objects/",
        "a git-annex pointer, not the file itself: fetch that with git annex get",
    ),
    # The number with which the legacy format of torch.save begins.
    (b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19.", _OLD_TORCH),
    (b"\x80\x02", _PICKLE),
    (b"\x80\x03", _PICKLE),
    (b"\x80\x04", _PICKLE),
    (b"\x80\x05", _PICKLE),
    (
        b"CDF",
        "a netCDF-3 file: convert it with xarray.open_dataset({name!r}).to_netcdf('u.nc', engine='h5netcdf')",
    ),
    (b"\x1f\x8b", _COMPRESSED.format("gzip")),
    (b"BZh", _COMPRESSED.format("bzip2")),
    (b"\xfd7zXZ\0", _COMPRESSED.format("xz")),
    (b"\x28\xb5\x2f\xfd", _COMPRESSED.format("zstd")),
    (b"7z\xbc\xaf", _COMPRESSED.format("7-Zip")),
    (b"PAR1", _TABLE.format(kind="parquet")),
    (b"ARROW1", _TABLE.format(kind="feather")),
)
_BY_SUFFIX = {
    **dict.fromkeys((".csv", ".tsv", ".txt", ".dat"), _TEXT),
    ".json": _JSON,
    ".pkl": _PICKLE,
    ".pickle": _PICKLE,
    ".joblib": _PICKLE,
    ".npz": "truncated, or not an .npz file: save it again with numpy.savez",
    **dict.fromkeys(
        (".h5", ".hdf5", ".hdf", ".nc"), "truncated, or not an HDF5 file: regenerate or copy it again"
    ),
    **{
        suffix: f"truncated, or not {kind}: save it again, or copy it again"
        for suffix, kind in (
            (".pt", "a file of torch.save"),
            (".pth", "a file of torch.save"),
            (".safetensors", "a safetensors file"),
            (".mat", "a MATLAB file"),
            (".png", "a PNG picture"),
            (".tif", "a TIFF picture"),
            (".tiff", "a TIFF picture"),
        )
    },
}
_KINDS = ".npy, .npz or HDF5 file"


def first_bytes(path: Path, n: int) -> bytes:
    """Return the first bytes of a file; none if it cannot be read, as the last kind in the list explains."""
    with contextlib.suppress(OSError), path.open("rb") as file:
        return file.read(n)
    return b""


def what_it_is(path: Path) -> str:
    """Return a sentence about a regular file that import cannot read."""
    with path.open("rb") as file:
        head = file.read(_HEAD_BYTES)
    if not head:
        return f"{path} is empty (0 bytes); give a {_KINDS}"
    return f"{path} is {_kind(path, head).format(name=path.name, options=_options(head))}"


def _kind(path: Path, head: bytes) -> str:
    for first, words in _BY_FIRST_BYTES:
        if head.startswith(first):
            return words
    if head.startswith(b"RIFF") and head[8:12] == b"WEBP":
        return _IMAGE
    if head[257:262] == b"ustar":
        return _COMPRESSED.format("tar")
    if head.lstrip()[:14].lower().startswith((b"<!doctype html", b"<html")):
        return f"a web page, perhaps from a failed download: download the {_KINDS} again"
    suffix = path.suffix.lower()
    if suffix in _BY_SUFFIX:
        return _BY_SUFFIX[suffix]
    if _is_text(head):
        return (
            f"text, not a {_KINDS}: save the array with numpy.save, a table of numbers with "
            + _SAVE.format("numpy.loadtxt({name!r}{options}, ndmin=2)")
        )
    return f"not a {_KINDS}, or a damaged one: save the array with numpy.save"


def _options(head: bytes) -> str:
    """Return the arguments with which numpy.loadtxt reads a text that begins like this."""
    first = head.partition(b"\n")[0].decode("utf-8", "replace").strip()
    delimiter = next((letter for letter in "\t;," if letter in first), None)
    options = "" if delimiter is None else f", delimiter={delimiter!r}"
    if first.startswith("\ufeff"):  # of Excel
        options += ", encoding='utf-8-sig'"
    fields = first.lstrip("\ufeff").split(delimiter)
    has_header = not first.startswith("#") and any(not _NUMBER.fullmatch(field.strip()) for field in fields)
    return options + (", skiprows=1" if has_header else "")


def _is_text(head: bytes) -> bool:
    try:
        text = codecs.getincrementaldecoder("utf-8-sig")().decode(head)  # which may end within a letter
    except UnicodeDecodeError:
        return False
    return all(letter.isprintable() or letter in "\t\r\n" for letter in text)


def what_archive_it_is(path: Path) -> str:
    """Return a sentence about a zip archive without any .npy file."""
    return f"{path} is a zip archive without arrays, not a {_KINDS}: save the arrays with numpy.savez"


def is_zarr(path: Path) -> bool:
    """Return whether a directory is a Zarr store."""
    return path.suffix == ".zarr" or any(
        (path / name).exists() for name in ("zarr.json", ".zarray", ".zgroup")
    )


def _is_zarr_array(path: Path) -> bool:
    """Return whether a Zarr store is one array, not a group of them."""
    described = path / "zarr.json"
    is_array = described.is_file() and re.search(
        r'"node_type": *"array"', described.read_text("utf-8", "replace")
    )
    return bool(is_array) or (path / ".zarray").exists()


def what_folder_it_is(path: Path) -> str:
    """Return a sentence about a directory."""
    if is_zarr(path):
        line = _SAVE.format(f"zarr.open({path.name!r}){'' if _is_zarr_array(path) else _MEMBER}[:]")
        return f"{path} is a Zarr folder; give a {_KINDS}: {line}"
    return f"{path} is a directory, which only maps may be: give a file with one value per sample"
