"""Say what a file is that cannot be imported, and the one line of code that converts it to an array.

No file is parsed: its first bytes and its name decide. A pickle, or a file that may hold one, is never
loaded, and no message advises anyone to load one unsafely.
"""

from pathlib import Path

_SAVE = "numpy.save('u.npy', {})"
_HEAD_BYTES = 512
_MATLAB_73 = b"MATLAB 7.3 MAT-file"

_IMAGE = (
    "an image, which holds colours, not attributions: save the array that it was drawn from with numpy.save, "
    "or its grey levels: " + _SAVE.format("numpy.asarray(PIL.Image.open({name!r}).convert('F'))[None]")
)
_PICKLE = (
    "a Python pickle, which import does not open, because opening one runs the code in it: save the array "
    "with numpy.save where the pickle was created"
)
_TORCH = "a file of torch.save: " + _SAVE.format(
    "torch.load({name!r}, map_location='cpu', weights_only=True).numpy()"
)
_TEXT = "text: " + _SAVE.format("numpy.loadtxt({name!r}, delimiter=',')") + " saves the numbers of a CSV file"
_COMPRESSED = "compressed with {}: unpack it first"
_MATLAB = "a MATLAB file: " + _SAVE.format("scipy.io.loadmat({name!r})['NAME']")
_TABLE = "a table: " + _SAVE.format("pandas.read_{kind}({{name!r}}).to_numpy()")
_TENSORS = "a safetensors file: " + _SAVE.format("safetensors.numpy.load_file({name!r})['NAME']")

_BY_FIRST_BYTES = (
    (b"\x89PNG", _IMAGE),
    (b"\xff\xd8\xff", _IMAGE),
    (b"GIF8", _IMAGE),
    (b"II*\0", _IMAGE),
    (b"MM\0*", _IMAGE),
    (b"BM", _IMAGE),
    (
        _MATLAB_73,
        "a MATLAB 7.3 file, whose axes are all reversed in HDF5: "
        + _SAVE.format("h5py.File({name!r})['NAME'][()].T"),
    ),
    (b"MATLAB 5.0 MAT-file", _MATLAB),
    (
        b"version https://git-lfs",
        "a Git LFS pointer, not the file itself: fetch that with git lfs pull",
    ),
    (
        b"/annex/objects/",
        "a git-annex pointer, not the file itself: fetch that with git annex get",
    ),
    # The number with which the legacy format of torch.save begins.
    (b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19.", _TORCH),
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
    ".csv": _TEXT,
    ".tsv": _TEXT.replace("delimiter=','", "delimiter='\\t'"),
    ".txt": _TEXT.replace(", delimiter=','", "").replace("a CSV file", "a text file"),
    ".mat": _MATLAB,
    ".pkl": _PICKLE,
    ".pickle": _PICKLE,
    ".joblib": _PICKLE,
    ".pt": _TORCH,
    ".pth": _TORCH,
    ".safetensors": _TENSORS,
    ".npz": "truncated, or not an .npz file: save it again with numpy.savez",
    **dict.fromkeys(
        (".h5", ".hdf5", ".hdf", ".nc"), "truncated, or not an HDF5 file: regenerate or copy it again"
    ),
}
_KINDS = ".npy, .npz or HDF5 file"


def what_it_is(path: Path) -> str:
    """Return a sentence about a regular file that import cannot read."""
    with path.open("rb") as file:
        head = file.read(_HEAD_BYTES)
    if not head:
        return f"{path} is empty (0 bytes); give a {_KINDS}"
    return f"{path} is {_kind(path, head).format(name=path.name)}"


def is_matlab_73(path: Path) -> bool:
    """Return whether a file is a MATLAB file in HDF5, whose axes are reversed."""
    with path.open("rb") as file:
        return file.read(len(_MATLAB_73)) == _MATLAB_73


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
    if head[8:9] == b"{" and int.from_bytes(head[:8], "little") < 2**27:
        return _TENSORS
    suffix = path.suffix.lower()
    if suffix in _BY_SUFFIX:
        return _BY_SUFFIX[suffix]
    if _is_text(head):
        return f"text, not a {_KINDS}: save the array with numpy.save, a CSV file with " + _SAVE.format(
            "numpy.loadtxt({name!r}, delimiter=',')"
        )
    return f"not a {_KINDS}, or a damaged one: save the array with numpy.save"


def _is_text(head: bytes) -> bool:
    try:
        text = head.decode("ascii")
    except UnicodeDecodeError:
        return False
    return all(letter.isprintable() or letter in "\t\r\n" for letter in text)


def what_archive_it_is(path: Path, names: list[str]) -> str:
    """Return a sentence about a zip archive without any .npy file."""
    kind = f"a zip archive without arrays, not a {_KINDS}: save the arrays with numpy.savez"
    if any(name.endswith("/data.pkl") or name == "data.pkl" for name in names):
        kind = _TORCH.format(name=path.name)
    return f"{path} is {kind}"


def is_zarr(path: Path) -> bool:
    """Return whether a directory is a Zarr store."""
    return path.suffix == ".zarr" or any(
        (path / name).exists() for name in ("zarr.json", ".zarray", ".zgroup")
    )


def what_folder_it_is(path: Path) -> str:
    """Return a sentence about a directory."""
    if is_zarr(path):
        line = _SAVE.format(f"zarr.open({path.name!r})['NAME'][:]")
        return f"{path} is a Zarr folder; give a {_KINDS}: {line}"
    line = _SAVE.format(
        f"numpy.stack([numpy.load(file) for file in sorted(pathlib.Path({path.name!r}).glob('*.npy'))])"
    )
    return f"{path} is a directory; give a {_KINDS}; if it holds one .npy file per map: {line}"
