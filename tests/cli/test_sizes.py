"""``score --k``: several sizes in one run, and shares of the pixels."""

import argparse
import decimal
from fractions import Fraction
from pathlib import Path

import pandas as pd
import pytest

import lensmetrics as lm
from lensmetrics.cli.sizes import in_pixels, size
from tests.cli.command import Run
from tests.pairfiles import write_file


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("100", 100),
        ("2%", Fraction(2, 100)),
        ("2.5%", Fraction(25, 1000)),
        (".5%", Fraction(5, 1000)),
        ("100%", Fraction(1)),
        *(
            (text, None)
            for text in ("0%", "101%", "%", "-1%", "1e1%", "2 %", "02%", "1_0%", "2%%", "nan%", "٣%")
        ),
        *((text, None) for text in ("", "0.05", "2.0", "k")),
    ],
)
def test_what_is_a_size(text: str, value: int | Fraction | None) -> None:
    if value is None:
        with pytest.raises(argparse.ArgumentTypeError, match=r"^expected "):
            size(text)
    else:
        assert size(text) == value


@pytest.mark.parametrize("shape", [(1, 1), (3, 5), (10, 5), (64, 64), (227, 227)])
def test_shares_are_rounded_to_the_nearest_pixel(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], shape: tuple[int, int]
) -> None:
    write_file(tmp_path / "a.h5", 1, shape)
    texts = ["0.001%", "1%", "2%", "3%", "12.5%", "50%", "99.99%", "100%"]
    with decimal.localcontext(rounding=decimal.ROUND_HALF_UP):
        exact = [decimal.Decimal(text[:-1]) * shape[0] * shape[1] / 100 for text in texts]
        expected = [max(1, int(value.to_integral_value())) for value in exact]
    for text, k in zip(texts, expected, strict=True):
        assert in_pixels([size(text)], [tmp_path / "a.h5"], lm.PairStore) == [k]
        line = f"lensmetrics: k = {text[:-1]} % of {shape[0]}x{shape[1]} = {k}\n"
        assert capsys.readouterr().err == line
    together = in_pixels([*map(size, texts), 7], [tmp_path / "a.h5"], lm.PairStore)
    assert together == list(dict.fromkeys([*expected, 7]))


@pytest.mark.usefixtures("files")
def test_several_sizes_are_scored_into_one_table(run: Run) -> None:
    words = ["--windows", "1", "2", "--workers", "1", "-o", "s.parquet"]
    status, _, err = run("score", "--k", "4", "10%", "20", "4", "a.h5", "b.h5", *words)
    assert status == 0
    # 10 % of 42 pixels are 4.2, and 4 was asked for already.
    metrics = lm.lens_suite([4, 20], windows=[1, 2], adjusted=True)
    pd.testing.assert_frame_equal(lm.read_scores("s.parquet"), lm.evaluate(["a.h5", "b.h5"], metrics))
    lines = err.splitlines()
    assert lines[0] == "lensmetrics: k = 10 % of 6x7 = 4"
    found = [line.partition(" random")[0] for line in lines if "random pixels reach" in line]
    levels = lm.evaluate(
        ["a.h5", "b.h5"], [f"lens_recall_chance(k={k},w={w})" for k in (4, 20) for w in (1, 2)]
    )
    assert found == [
        f"lensmetrics: k={k} is {100 * k / 42:.0f} % of 6x7: at w={w}"
        for k in (4, 20)
        for w in (1, 2)
        if levels[f"lens_recall_chance(k={k},w={w})"].mean() > 0.5
    ]


@pytest.mark.usefixtures("files")
def test_shares_need_maps_of_one_size(run: Run) -> None:
    write_file(Path("other.h5"), 2, (8, 8))
    Path("text.h5").write_text("text")
    status, out, err = run("score", "a.h5", "b.h5", "other.h5", "--k", "2%", "-o", "s.csv")
    assert (status, out) == (2, "")
    assert err == (
        "lensmetrics: --k as a share needs maps of one size, but a.h5 has 6x7 and other.h5 has 8x8 maps: "
        "score them separately, or give --k in pixels\n"
    )
    assert not Path("s.csv").exists()
    status, _, err = run("score", "text.h5", "--k", "2%")
    assert (status, err.count("\n")) == (1, 1)
    assert err.startswith("lensmetrics: text.h5 is not an HDF5 file")
    status, _, err = run(
        "score", "text.h5", "a.h5", "--k", "10%", "--windows", "1", "--workers", "1", "-o", "s.csv"
    )
    assert status == 1
    assert err.startswith("lensmetrics: k = 10 % of 6x7 = 4\n")
    assert "text.h5  all samples  text.h5 is not an HDF5 file" in err
    assert "lens_recall(k=4,w=1)" in lm.read_scores("s.csv")


@pytest.mark.usefixtures("files")
def test_published_says_what_to_type_where_the_scripts_have_no_pool(run: Run) -> None:
    status, out, err = run("score", "a.h5", "--k", "3", "--published", "--windows", "2", "--workers", "1")
    assert (status, out) == (2, "")
    assert err.splitlines()[0] == (
        "lensmetrics: the released scripts have no candidate pool for maps of 6x7 pixels and w=2, only for "
        "28x28, 128x128 with w=1 and 227x227 with w=1, 2 and 3: instead of --published, give a pool, as in "
        "-m 'lens_recall_div_published(k=3,w=2,pool=42)', or name metrics that need none, as in -m "
        "'lens_recall_published(k=3,w=2)'"
    )
    advice = ["lens_recall_div_published(k=3,w=2,pool=42)", "lens_recall_published(k=3,w=2)"]
    assert run("score", "-m", *advice, "a.h5", "--workers", "1")[0] == 0
