"""``lensmetrics import``."""

import contextlib
import os
import re
import tempfile
from pathlib import Path

import numpy as np
import pytest

import lensmetrics as lm
from lensmetrics.cli.arguments import attribute
from tests.cli.command import Run


@pytest.mark.parametrize("layout", ["flat", "maps", "channels", "npz"])
def test_import_then_score(run: Run, layout: str) -> None:
    maps = np.random.default_rng(0).normal(size=(2, 5, 6, 7)).astype(np.float32)
    reduced = maps
    shape = ["--shape", "6", "7"] if layout == "flat" else []
    sources = ["u.npy", "p.npy"]
    if layout == "flat":
        maps = maps.reshape(2, 5, 42)
    elif layout == "channels":
        maps = np.random.default_rng(0).normal(size=(2, 5, 3, 6, 7)).astype(np.float32)
        reduced = np.abs(maps).sum(2)
    if layout == "npz":
        np.savez("both.npz", unperturbed=maps[0], perturbed=maps[1])
        sources = ["both.npz", "both.npz"]
    else:
        for source, array in zip(sources, maps, strict=True):
            np.save(source, array)
    np.save("labels.npy", np.arange(5))
    np.save("samples.npy", np.array([9, 3, 4, 5, 8]))
    options = ["--labels", "labels.npy", "--samples", "samples.npy"]
    settings = ["--set", "dataset=toy", "eps=8/255", "--set", "seed=3", "note=a=b", "rate=1e-3"]
    status, out, err = run("import", *sources, *shape, "-o", "a.h5", *options, *settings)
    assert (status, out) == (0, "")
    assert err.startswith("wrote a.h5: 5 pairs of 6x7 maps")
    attrs = lm.PairStore("a.h5").attrs
    found = {name: attrs[name] for name in ("dataset", "eps", "seed", "note", "rate")}
    assert found == {"dataset": "toy", "eps": 8 / 255, "seed": 3, "note": "a=b", "rate": 1e-3}
    assert run("score", "a.h5", "--k", "5", "-o", "s.parquet", "--workers", "1")[0] == 0
    scores = lm.read_scores("s.parquet")
    assert scores["sample"].tolist() == [9, 3, 4, 5, 8]
    assert scores["label"].tolist() == [0, 1, 2, 3, 4]
    expected = lm.score(reduced[0], reduced[1], lm.lens_suite(5))
    for metric in lm.lens_suite(5):
        np.testing.assert_array_equal(scores[str(metric)], expected[str(metric)])


@pytest.mark.parametrize(
    ("words", "expected", "message"),
    [
        (["u.npy", "p.npy", "-o", "no/x.h5"], 2, "no/x.h5 cannot be written: there is no directory no"),
        (["u.npy", "p.npy", "-o", "there.h5"], 2, "there.h5 exists already"),
        (["u.npy", ".", "-o", "x.h5"], 2, r"\. holds files of several kinds, \.npy \(6\)"),
        (["u.npy", "none.npy", "-o", "x.h5"], 2, "none.npy does not exist"),
        (["a.npy", "b.npy:x", "-o", "x.h5", "--samples", "c.npy", "--labels", "a.npy"], 2,
         r"a\.npy, b\.npy:x and c\.npy do not exist"),
        (["u.npy", "v.npy", "-o", "x.h5"], 1, r"u\.npy has maps \(5, 6, 7\) but v\.npy has \(4, 6, 7\)"),
        (["text.npy", "u.npy", "-o", "x.h5"], 1, "text.npy is text, no"),
        (["u.npy", "./u.npy", "-o", "x.h5"], 2, r"u\.npy and u\.npy are one array"),
        (["u.npy:x", "p.npy", "-o", "x.h5"], 2, r"u\.npy is not an \.npz file: it has no array named 'x'"),
        (["both.npz:x", "p.npy", "-o", "x.h5"], 2, r"both\.npz has no array 'x'; it has 2: u, p; name one"),
        (["both.npz", "p.npy", "-o", "x.h5"], 2, r"both\.npz has no array 'unperturbed'; it has 2: u, p"),
        (["u.npy", "p.npy", "-o", "x.h5", "--labels", "u.npy"], 1, r"u\.npy is \(5, 6, 7\); labels must"),
        (["flat.npy", "flat.npy", "-o", "x.h5"], 2, r"flat\.npy is \(5, 42\).*--shape"),
        (["flat.npy", "flat.npy", "-o", "x.h5", "--shape", "6", "8"], 1, "48 pixels"),
        (["u.npy", "p.npy", "-o", "x.h5", "--set", "format=x"], 2, "attribute 'format'"),
        (["u.npy", "p.npy", "-o", "x.h5", "--set", "seed=" + "9" * 20], 2, "attribute 'seed' is 9.* int64"),
        (["u.npy", "p.npy", "-o", "x.h5", "--method", "1"], 2, "--method 1 is for LATEC's .* leave it out"),
        (["huge.npy", "u.npy", "-o", "x.h5", "--dtype", "float32"], 2, "'unperturbed' holds .* beyond"),
    ],
)  # fmt: skip
def test_mistakes_of_import(run: Run, words: list[str], expected: int, message: str) -> None:
    maps = np.random.default_rng(0).normal(size=(5, 6, 7))
    np.save("u.npy", maps)
    np.save("p.npy", maps + 1)
    np.save("huge.npy", maps * 1e60)
    np.savez("both.npz", u=maps, p=maps + 1)
    np.save("v.npy", maps[:4])
    np.save("flat.npy", maps.reshape(5, 42))
    Path("text.npy").write_text("text")
    Path("there.h5").touch()
    before = sorted(Path().iterdir())
    status, out, err = run("import", *words)
    assert (status, out) == (expected, "")
    assert re.fullmatch(f"lensmetrics: .*{message}.*\n", err)
    assert sorted(Path().iterdir()) == before


@pytest.mark.parametrize("word", ["novalue", "=3", ""])
def test_attribute_needs_name_and_value(run: Run, word: str) -> None:
    status, _, err = run("import", "u.npy", "p.npy", "-o", "a.h5", "--set", word)
    assert status == 2
    assert f"expected NAME=VALUE, got '{word}'" in err


@pytest.mark.parametrize(
    "text",
    [
        *("eps=8/0", "eps=1e999", "seed=1e999", "x=8e999/255", "eps=", "=3", "eps=8_255", "eps=linf"),
        *("eps= 1", "eps=+1", "eps=8/25_5", "eps=1/2/3", "eps=infinity", "eps=\u0663", "eps=01"),
    ],
)
def test_settings_that_are_not_values_are_refused(run: Run, text: str) -> None:
    status, _, err = run("import", "u.npy", "p.npy", "-o", "a.h5", "--set", text)
    assert status == 2
    assert text in err


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("8/255", 8 / 255),
        ("0.5/255", 0.5 / 255),
        ("3", 3),
        ("-3", -3),
        ("0", 0),
        ("0.10", 0.1),
        (".5", 0.5),
        ("-1e-3", -1e-3),
        ("1E3", 1000.0),
        *((text, text) for text in ("2026/11", "8/256", "8_255", "1_0", "2026_11", "018", "+5", " 7 ", "7 ")),
        *(
            (text, text)
            for text in ("nan", "inf", "infinity", "1e", "1.", "0x10", "\u0663", "1/2/255", "/255")
        ),
        *((text, text) for text in ("8/255 ", "1,5", "--3", "True", "a=b")),
    ],
)
def test_what_is_a_number_in_a_setting(text: str, value: object) -> None:
    name, found = attribute(f"note={text}")
    assert name == "note"
    assert type(found) is type(value)
    assert found == value


@pytest.mark.parametrize(("text", "value"), [("1/16", 0.0625), ("8/255", 8 / 255), (".25", 0.25), ("1", 1)])
def test_eps_is_a_number(text: str, value: float) -> None:
    assert attribute(f"eps={text}") == ("eps", value)


def test_eps_of_an_attack_without_a_bound_is_nan() -> None:
    assert np.isnan(attribute("eps=nan")[1])


@pytest.mark.parametrize("option", ["--shape", "--method"])
@pytest.mark.parametrize("text", ["1_0", "\u0663", " 3", "+3", "03", "3.0", "x", ""])
def test_integers_of_import_are_written_as_integers(run: Run, option: str, text: str) -> None:
    words = [option, text, "3"] if option == "--shape" else [option, text]
    status, _, err = run("import", "u.npy", "p.npy", "-o", "a.h5", *words)
    assert status == 2
    assert f"argument {option}: expected an integer, got {text!r}" in err


@pytest.mark.parametrize("given", ["x.npy", "x.h5", "x.npz", "folder", "folder/x.npy"])
def test_files_that_may_not_be_read_are_named(given: str, run: Run) -> None:
    with tempfile.TemporaryDirectory() as folder, contextlib.chdir(folder):
        Path("folder").mkdir()
        np.save("u.npy", np.ones((5, 6, 7)))
        np.save("folder/x.npy", np.ones((5, 6, 7)))
        Path("x.h5").write_bytes(b"x")
        Path("x.npz").write_bytes(b"x")
        np.save("x.npy", np.ones((5, 6, 7)))
        for path in (Path(), *Path().iterdir()):
            path.chmod(0o777)
        run("import", "u.npy", "x.npy", "-o", "b.h5")  # loads what another user may not read
        Path(given.split("/", maxsplit=1)[0]).chmod(0)
        user = os.geteuid()
        if user == 0:  # who may read everything
            os.seteuid(65534)
        try:
            status, out, err = run("import", "u.npy", given, "-o", "a.h5")
        finally:
            os.seteuid(user)
            Path("folder").chmod(0o777)
        assert not Path("a.h5").exists()
    assert (status, out) == (1, "")
    assert re.fullmatch(
        rf"lensmetrics: {given}\S* may not be read: allow it with chmod, or read a copy\n", err
    )


def test_import_says_what_negative_values_mean_and_how_many_ties_it_made(run: Run) -> None:
    maps = np.random.default_rng(0).normal(size=(2, 3, 8, 8))
    maps[0, 1, 0, :2] = 1, np.nextafter(1, 2)
    np.save("u.npy", maps[0])
    np.save("p.npy", maps[1])
    status, out, err = run("import", "u.npy", "p.npy", "-o", "a.h5", "--dtype", "float32")
    assert (status, out) == (0, "")
    wrote, ties, signs = err.splitlines()
    assert wrote == "wrote a.h5: 3 pairs of 8x8 maps"
    assert ties == "lensmetrics: new ties in float32: 1 (values of one map that differed and are now equal)"
    assert signs == (
        "lensmetrics: the maps hold negative values: top-k sets are of the largest signed values, so that "
        "negative attributions rank last; import absolute values where the sign does not matter"
    )
