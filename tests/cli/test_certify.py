"""``lensmetrics certify``."""

import math
import re
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest

import lensmetrics as lm
from lensmetrics.certificates.bounds import smallest_radius
from lensmetrics.certificates.table import Wanted
from lensmetrics.cli.certify import _note_confidence
from tests.cli.command import Run
from tests.pairfiles import edit, flip_byte

ATTRS = {
    "dataset": "toy",
    "explanation": "uniform_smooth",
    "training": "natural",
    "attack": "topk",
    "eps": 0.1,
    "radius": 1.0,
    "n_draws": 10_000,
    "dim": 42,
    "bound": 1.0,
    "nonnegative": 1,
}
COLUMNS = [
    "smoothed_norm",
    *("certified_cosine(eps=0.02)", "certified_cosine(eps=0.1)", "certified_eps(cosine=0.9)"),
    *("certified_radius(cosine=0.9,eps=0.02)", "certified_radius(cosine=0.9,eps=0.1)"),
]
WORDS = ("--eps", "0.02", "0.1", "--cosine", "0.9")


def write(
    path: str, norms: Any = (0.3, 0.5, 0.9), *, signed: bool = False, missing: Any = (), **attrs: Any
) -> None:
    """Write a file of maps with these norms; an attribute that is None is left out."""
    maps = np.random.default_rng(0).random((2, len(norms), 6, 7)) - 0.5 * signed
    maps /= np.linalg.norm(maps, axis=(2, 3), keepdims=True)
    maps[0] *= np.reshape(norms, (-1, 1, 1))
    given = {name: value for name, value in {**ATTRS, **attrs}.items() if value is not None}
    with lm.PairWriter(path, n_samples=len(norms), shape=(6, 7), attrs=given) as writer:
        for i in sorted({*range(len(norms))} - {*missing}):
            writer.write(i, *maps[:, i].astype(np.float32), sample=10 + i, label=i)


def test_table_holds_the_certificates_of_every_sample(run: Run) -> None:
    write("a.h5")
    write("b.h5", (0.2, 0.6, 1.0), signed=True, training="pgd", nonnegative=0, bound=1.5, radius=2)
    status, out, err = run("certify", "a.h5", "b.h5", *WORDS, "--alpha", "0.01", "-o", "c.parquet")
    assert status == 0
    table = lm.read_scores("c.parquet")
    assert table.columns.tolist()[-6:] == COLUMNS
    assert table["file"].tolist() == ["a.h5"] * 3 + ["b.h5"] * 3
    assert table["training"].tolist() == ["natural"] * 3 + ["pgd"] * 3
    assert table["radius"].tolist() == [1] * 3 + [2] * 3
    assert table["certified_alpha"].tolist() == [0.01] * 6
    assert table["sample"].tolist() == [10, 11, 12] * 2
    assert table["label"].tolist() == [0, 1, 2] * 2
    assert table["smoothed_norm"].tolist() == pytest.approx([0.3, 0.5, 0.9, 0.2, 0.6, 1.0], rel=1e-6)
    for i, row in enumerate(table.to_dict("records")):
        how: dict[str, Any] = {"dim": 42, "bound": 1.5 if i > 2 else 1, "nonnegative": i < 3}
        radius = 2 if i > 2 else 1
        norm = row["smoothed_norm"] - how["bound"] * (1 + math.sqrt(2 * math.log(100))) / 100
        expected = [
            *(lm.certified_cosine(norm, eps=eps, radius=radius, **how) for eps in (0.02, 0.1)),
            lm.certified_eps(norm, cosine=0.9, radius=radius, **how),
            *(smallest_radius(norm, cosine=0.9, eps=eps, **how) for eps in (0.02, 0.1)),
        ]
        assert [row[name] for name in COLUMNS[1:]] == pytest.approx(expected, rel=1e-9, nan_ok=True)
        assert row["status"] == ("uncertified" if np.isnan(expected).any() else "ok")
    assert table["status"].tolist() == ["ok"] * 3 + ["uncertified", "ok", "ok"]
    assert "uncertified" in out
    assert re.findall(r"certified_eps\(cosine=0.9\) +(\S+)", out) == [
        f"{mean:.3f}" for mean in table.groupby("training", observed=True)["certified_eps(cosine=0.9)"].mean()
    ]
    assert err.splitlines()[1:4] == [
        "lensmetrics: the certificates of a sample hold with a confidence of 99 %, those of all 6 together "
        "with 94 %",
        "lensmetrics: certified_radius is an estimate, because the norm changes with the radius: make the "
        "maps again with that radius, and certify them",
        "lensmetrics: at eps=0.1, 1 of 6 samples have no certificate, and no number of draws is enough: that "
        "takes a larger radius or a smaller eps",
    ]


def test_it_says_how_many_draws_a_certificate_needs(run: Run) -> None:
    write("a.h5", (0.2, 0.3, 0.4, 0.6), n_draws=64)
    status, _, err = run("certify", "a.h5", "--eps", "0.01", "-o", "c.csv")
    assert status == 0  # that nothing is proved is no failure
    table = lm.read_scores("c.csv")
    assert table["status"].tolist() == ["uncertified"] * 3 + ["ok"]
    assert table["certified_cosine(eps=0.01)"].isna().tolist() == [True] * 3 + [False]
    found = re.search(
        r"at eps=0.01, 3 of 4 samples have no certificate: n_draws of about (\d+) would be enough for half "
        r"of them, (\d+) for all, if their norms stayed as they are\n"
        r"lensmetrics: n_draws is an estimate, because the mean of few draws is longer than that of many: ",
        err,
    )
    assert found is not None
    assert "for all 4 samples together, use --alpha 0.012\n" in err
    counts = lm.summarize(table).iloc[1]
    assert (counts["n"], counts["n_undefined"], counts["n_uncertified"]) == (1, 3, 3)
    for n_draws in found.groups():
        write(f"{n_draws}.h5", (0.2, 0.3, 0.4, 0.6), n_draws=int(n_draws))
    _, _, err = run("certify", f"{found[1]}.h5", f"{found[2]}.h5", "--cosine", "0.5", "-o", "d.csv")
    assert "lensmetrics: 1 of 8 samples have no certificate: n_draws of about" in err
    missing = lm.read_scores("d.csv")["certified_eps(cosine=0.5)"].isna()
    assert np.flatnonzero(missing).tolist() == [0]


def test_bad_samples_are_rows_without_certificates(run: Run) -> None:
    """A map of zeros has no direction, so nothing is proved of it; a bound of 0 is none."""
    write("a.h5", (0.05, 0.5, 0.9, 0.8), missing=[1])
    flip_byte(Path("a.h5"), "perturbed", 2 * 42 * 4)
    with lm.PairWriter("nan.h5", n_samples=2, shape=(6, 7), attrs=ATTRS) as writer:
        writer.write(0, np.full((6, 7), np.nan, np.float32), np.zeros((6, 7), np.float32))
        writer.write(1, np.zeros((6, 7), np.float32), np.full((6, 7), np.nan, np.float32))
    status, _, err = run("certify", "a.h5", "nan.h5", "--eps", "0.01", "-o", "c.csv")
    assert status == 1
    table = lm.read_scores("c.csv")
    assert table["status"].tolist() == ["ok", "incomplete", "checksum", "ok", "nan_map", "uncertified"]
    assert table["certified_cosine(eps=0.01)"].notna().tolist() == [True, False, False, True, False, False]
    assert err.splitlines()[-4:] == [
        "lensmetrics: at eps=0.01, 1 of 3 samples have the bound 0, which says nothing: the cosine of "
        "nonnegative maps is never below it",
        "lensmetrics: not certified:",
        "  a.h5  1 sample  checksum: 12",
        "  a.h5  1 sample  incomplete",
    ]


def zeros(path: str, *shape: int, channels: int | None = None, dim: int = 42, **variables: Any) -> None:
    """Write a file with one pair of zeros."""
    attrs = {**ATTRS, "dim": dim}
    with lm.PairWriter(path, n_samples=1, shape=(6, 7), channels=channels, attrs=attrs) as writer:
        writer.write(0, np.zeros(shape, np.float32), np.zeros(shape, np.float32), **variables)


ATTRIBUTES = ("radius", "n_draws", "dim", "bound", "nonnegative")
# What is wrong with each file, and what is said about it, after its name.
WRONG_ATTRIBUTES: dict[str, tuple[dict[str, Any], str]] = {
    "unsmoothed": (
        dict.fromkeys(ATTRIBUTES),
        r" lacks radius, n_draws, dim, bound, nonnegative: certificates are for maps of uniform_smooth, ",
    ),
    "unbounded": ({"bound": None}, r" lacks bound: .*; if you know .* lensmetrics set \S+ bound=1$"),
    "text": (
        {"n_draws": "64x"},
        " has n_draws='64x', which is text, but it must be a whole number from 1 on, .*n_draws=10000$",
    ),
    "word": ({"bound": "1"}, " has bound='1', which is text, but it must be a number above 0, .* bound=1$"),
    "gradient": (
        dict.fromkeys(ATTRIBUTES) | {"explanation": "gradient"},
        " has explanation=gradient and lacks radius, n_draws, dim, bound, nonnegative: only means over an l2 "
        "ball, such as maps of uniform_smooth, have certificates, and their files have these attributes$",
    ),
    "none": ({"n_draws": 0}, " has n_draws=0, but it must be a whole number from 1 on"),
    "part": ({"n_draws": 2.5}, r" has n_draws=2\.5, but it must be a whole number"),
    "nan": ({"radius": math.nan}, " has radius=nan, but it must be a number above 0"),
    "list": ({"radius": [1.0, 2.0]}, r" has radius=\[1.0, 2.0\], but it must be a number above 0"),
    "below": ({"bound": -1.0}, r" has bound=-1.0, but it must be a number above 0"),
    "neither": ({"nonnegative": 2}, " has nonnegative=2, but it must be 1 if"),
    "flat": ({"dim": 41}, " has dim=41, but its maps have 42 pixels: dim is the number of elements"),
    "signed": ({"signed": True}, " has nonnegative=1, but sample 10 has a pixel of -.* nonnegative=0$"),
    "long": (
        {"norms": (0.3, 1.01, 0.9)},
        r" has bound=1, but the map of sample 11 has the norm 1\.01.*: a mean cannot be longer than",
    ),
    "damaged": ({}, ": checksum_metadata does not match"),
}
OTHERWISE_WRONG = {
    "image": r" has dim=42, but its images have 126 elements \(3x6x7\): .* dim=126$",
    "channels": " stores 3 channels per map, which are reduced after the draws were averaged",
    "foreign": " is not an HDF5 file",
}


def test_files_that_prove_nothing_are_named_and_the_others_are_certified(run: Run) -> None:
    write("a.h5")
    for name, (change, _) in WRONG_ATTRIBUTES.items():
        write(f"{name}.h5", **change)
    edit(Path("damaged.h5"), lambda file: file.attrs.modify("radius", 3.0))
    zeros("image.h5", 6, 7, image=np.zeros((3, 6, 7), np.float32))
    zeros("channels.h5", 3, 6, 7, channels=3, dim=126)
    Path("foreign.h5").write_text("no")
    problems = {name: problem for name, (_, problem) in WRONG_ATTRIBUTES.items()} | OTHERWISE_WRONG
    files = [f"{name}.h5" for name in problems]
    status, _, err = run("certify", *files, "a.h5", "--eps", "0.01", "-o", "c.csv")
    assert status == 1
    lines = err.splitlines()[-len(problems) :]
    for line, (name, problem) in zip(lines, problems.items(), strict=True):
        assert re.search(rf"^  {name}.h5 +all samples  {name}.h5{problem}", line), line
    assert lm.read_scores("c.csv")["file"].unique().tolist() == ["a.h5"]


def test_nothing_is_written_if_no_file_can_be_certified(run: Run) -> None:
    write("bad.h5", bound=None)
    status, out, err = run("certify", "bad.h5", "--eps", "0.01", "-o", "c.csv")
    assert (status, out) == (1, "")
    assert err.startswith("lensmetrics: nothing is written to c.csv\n")
    assert not Path("c.csv").exists()


def test_mistakes_are_reported_before_any_work(run: Run) -> None:
    write("a.h5")
    for table in ("c.csv", "c.parquet", "c.csv"):  # the same certificates may be written again
        assert run("certify", "a.h5", "--eps", "0.1", "-o", table)[0] == 0
    before = Path("c.csv").read_bytes()
    for words, problem in (
        ((), "nothing to certify: give --eps, the sizes of perturbations, --cosine, or both"),
        (("--eps", "0"), "expected an l2 norm above 0, got '0'"),
        (("--eps", "-1"), "expected an l2 norm above 0, got '-1'"),
        (("--eps", "0.1,0.2"), "expected a number or a fraction, got '0.1,0.2'"),
        (("--eps", "8/0"), "expected a number or a fraction, got '8/0'"),
        (("--eps", "9" * 400), "expected a number or a fraction, got '999"),
        (("--cosine", "9/8"), "expected a cosine above 0 and below 1, got '9/8'"),
        (("--cosine", "1"), "expected a cosine above 0 and below 1, got '1'"),
        (("--eps", "0.1", "--alpha", "5"), "expected a probability above 0 and below 1, got '5'"),
        (("--eps", "0.1", "-o", "a.h5"), "a.h5: unknown kind of table"),
        (
            ("--eps", "0.3", "-o", "c.csv"),
            "c.csv holds the scores of other metrics: choose another output, or",
        ),
        *(
            (
                ("--eps", "0.1", "--alpha", "0.01", "-o", table),
                f"{table} holds the scores of other certificates, with another alpha: choose another output, "
                "or replace it with --overwrite",
            )
            for table in ("c.csv", "c.parquet")
        ),
    ):
        status, out, err = run("certify", "a.h5", *words)
        assert (status, out) == (2, "")
        assert problem in err
    assert Path("c.csv").read_bytes() == before
    assert run("certify", "a.h5", "--eps", "0.3", "-o", "c.csv", "--overwrite")[0] == 0


def test_fractions_are_numbers_and_options_may_be_repeated(run: Run) -> None:
    write("a.h5")
    words = (
        "--eps",
        "8/255",
        "--eps",
        "0.1",
        "a.h5",
        "--cosine",
        "9/10",
        "--cosine",
        "1/2",
        "--alpha",
        "1/8",
    )
    status, _, _ = run("certify", *words, "-o", "c.csv")
    assert status == 0
    table = lm.read_scores("c.csv")
    assert {f"certified_cosine(eps={8 / 255})", "certified_cosine(eps=0.1)"} < set(table)
    assert {"certified_eps(cosine=0.9)", "certified_eps(cosine=0.5)"} < set(table)
    assert table["certified_alpha"].tolist() == [0.125] * 3


@pytest.mark.parametrize(
    ("alpha", "said"),
    [
        (0.05, "95 %; for all 7 samples together, use --alpha 0.0071"),
        (0.07, "93 %; for all 7 samples together, use --alpha 0.01"),
        (0.01, "99 %, those of all 7 together with 93 %"),
        (0.00046, "99.95 %, those of all 7 together with 99.67 %"),
        (0.00004, "1 - 4e-05, those of all 7 together with 99.97 %"),
        (1e-300, "1 - 1e-300, those of all 7 together with 1 - 7e-300"),
    ],
)
def test_no_more_confidence_is_said_than_there_is(
    alpha: float, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Confidence and the recommended alpha are rounded down, but numbers that are exact stay."""
    _note_confidence([SimpleNamespace(status=["ok"] * 7)], Wanted([0.1], [], alpha))  # type: ignore[list-item]
    assert capsys.readouterr().err == (
        f"lensmetrics: the certificates of a sample hold with a confidence of {said}\n"
    )


def test_tables_of_certificates_are_tables_of_scores(run: Run) -> None:
    for i, training in enumerate(("natural", "pgd")):
        for radius in (1.0, 2.0):
            norms = np.linspace(0.3, 0.8, 9) + 0.1 * i
            write(f"{training}-{radius:g}.h5", norms, training=training, radius=radius)
    run("certify", ".", *WORDS, "-o", "c.parquet")
    bound = "certified_cosine(eps=0.1)"
    lines = {
        "summarize": ("-m", "certified_cosine", "--wide", "training", "-o", "s.tex"),
        "compare": ("--on", "training", "-o", "c.md"),
        "worst": ("-m", "certified_eps", "-n", "2"),
        "report": ("-o", "r.html"),
    }
    printed = {}
    for command, words in lines.items():
        status, printed[command], _ = run(command, "c.parquet", *words)
        assert status == 0, command
    for kind, words in (
        ("comparison", ("-m", "certified_cosine")),
        ("scores", ("-m", bound, "--x", "radius")),
    ):
        assert run("figure", "c.parquet", "--kind", kind, *words, "-o", f"{kind}.svg")[0] == 0
    assert f"pgd is more robust than natural by {bound}: higher by" in printed["compare"].replace("\n  ", " ")
    assert "robust than natural by certified_radius(cosine=0.9,eps=0.1): lower by" in printed["compare"]
    assert "natural-1.h5" in printed["worst"].splitlines()[1]
    table = lm.read_scores("c.parquet")
    cube = lm.to_xarray(table)
    assert cube["certified_radius"].dims == ("file", "sample", "metric_cosine", "metric_eps")
    assert cube["certified_cosine"].sel(file="pgd-2.h5", sample=10, metric_eps=0.1) == table[bound].iloc[27]
    long = lm.tidy(table)
    chosen = long[(long["metric"] == "certified_cosine") & (long["metric_eps"] == 0.1)]
    assert chosen["value"].tolist() == table[bound].tolist()
    assert set(long["eps"]) == {0.1}  # that of the attack
    lm.write_scores(table, "c.csv")
    pd.testing.assert_frame_equal(
        lm.summarize(lm.read_scores("c.csv")), lm.summarize(table), check_dtype=False
    )


def test_infinite_certificates_are_kept_and_counted(tmp_path: Path) -> None:
    column = "certified_eps(cosine=0)"
    table = pd.DataFrame({"sample": [0, 1, 2], "status": "ok", column: [math.inf, 0.5, math.nan]})
    for name in ("c.csv", "c.parquet"):
        lm.write_scores(table, tmp_path / name)
        again = lm.read_scores(tmp_path / name)
        assert again[column].tolist() == pytest.approx([math.inf, 0.5, math.nan], nan_ok=True)
        assert lm.summarize(again)[["mean", "n", "n_undefined"]].iloc[0].tolist() == [0.5, 1, 2]
