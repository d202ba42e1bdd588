"""Options with several values, and files before, between and after them."""

import argparse
import itertools
from pathlib import Path

import pytest

from lensmetrics.cli import Command, compare, correct, imports, report, score, summarize, worst
from lensmetrics.cli.parsing import CommandParser


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("maps", "deep/maps", "kendall"):
        Path(name).mkdir(parents=True)
    for name in ("maps/x.h5", "deep/u.npy"):
        Path(name).touch()


def parsed(command: Command, *words: str) -> argparse.Namespace:
    parser = CommandParser()
    command.add_arguments(parser)
    return parser.parse_args(words)


OPTIONS = {
    "metric": ["-m", "kendall", "lens_recall(k=3, w=1)"],
    "windows": ["--windows", "1", "2"],
    "exclude": ["--exclude", "not_attacked"],
    "output": ["-o", "t.csv"],
}


@pytest.mark.parametrize(
    "files", [["a.h5"], ["a.h5", "b b.h5"], ["deep/maps"], ["maps/*"], ["ü.h5", "deep/maps/"]]
)
def test_every_order_of_options_and_files_means_the_same(files: list[str]) -> None:
    for order in itertools.permutations([*OPTIONS.values(), files]):
        found = parsed(score, *itertools.chain(*order))
        assert list(map(str, found.files)) == [file.removesuffix("/") for file in files], order
        assert found.metric == ["kendall", "lens_recall(k=3, w=1)"]
        assert (found.windows, found.exclude, str(found.output)) == ([1, 2], ["not_attacked"], "t.csv")


@pytest.mark.parametrize(
    ("words", "files", "metrics"),
    [
        (["-m", "kendall", "a.h5", "-m", "cosine", "b.h5"], ["a.h5", "b.h5"], ["kendall", "cosine"]),
        (["a.h5", "-m", "cosine", "b.h5", "c.h5"], ["a.h5", "b.h5", "c.h5"], ["cosine"]),
        (["-m", "kendall", "--", "a.h5", "-m"], ["a.h5", "-m"], ["kendall"]),
        (["-m", "kendall", "--", "-a.h5"], ["-a.h5"], ["kendall"]),
        (["-mkendall", "a", "--metric=cosine", "b"], ["a", "b"], ["kendall", "cosine"]),
        (["--met", "kendall", "cosine", "a.h5"], ["a.h5"], ["kendall", "cosine"]),
        # A folder without a slash is a file only if there would be none.
        (["-m", "kendall", "maps"], ["maps"], ["kendall"]),
        (["-m", "kendall", "cosine", "maps", "kendall"], ["maps", "kendall"], ["kendall", "cosine"]),
        (["a.h5", "-m", "cosine", "kendall"], ["a.h5"], ["cosine", "kendall"]),
        (["-m", "cosine", "./kendall"], ["kendall"], ["cosine"]),
        (["-m", "kendall", "a.h5", "maps"], ["a.h5", "maps"], ["kendall"]),
    ],
)
def test_which_words_are_files(words: list[str], files: list[str], metrics: list[str]) -> None:
    found = parsed(score, *words)
    assert (list(map(str, found.files)), found.metric) == (files, metrics)


@pytest.mark.parametrize("table", ["t.parquet", "t.csv", "d/t.csv.gz"])
def test_a_table_is_neither_a_column_nor_a_pair_file(table: str) -> None:
    found = parsed(summarize, "--by", "training", "kendall", table, "--exclude", "not_attacked")
    assert (found.by, str(found.scores)) == (["training", "kendall"], table)
    found = parsed(report, "--maps", "maps", "deep/maps", "x.h5", table)
    assert (list(map(str, found.maps)), str(found.scores)) == (["maps", "deep/maps", "x.h5"], table)
    found = parsed(report, table, "--maps", "maps", "--exclude", "not_attacked")
    assert (list(map(str, found.maps)), str(found.scores)) == (["maps"], table)


@pytest.mark.parametrize(
    ("command", "options"),
    [
        (compare, [["--on", "file"], ["--between", "maps/x.h5", "kendall"], ["--by", "attack", "eps"]]),
        (
            compare,
            [["--on", "eps"], ["--between", "4/255", "-1", "nan"], ["-m", "lens_recall(k=3,w=1)", "mse"]],
        ),
        (worst, [["-m", "kendall"], ["--by", "training", "kendall"], ["--exclude", "not_attacked"]]),
        (summarize, [["--metric", "kendall", "mse"], ["--ignore", "seed", "maps"], ["-o", "s.tex"]]),
        (report, [["--maps", "maps", "deep/maps"], ["--exclude", "not_attacked", "tied_cut"]]),
    ],
)
def test_tables_in_every_order(command: Command, options: list[list[str]]) -> None:
    expected = parsed(command, "d/t.parquet", *itertools.chain(*options))
    for order in itertools.permutations([*options, ["d/t.parquet"]]):
        assert parsed(command, *itertools.chain(*order)) == expected
    assert parsed(command, *itertools.chain(*options), "--", "d/t.parquet") == expected


def test_files_and_settings_in_every_order() -> None:
    for words in itertools.permutations(["a.h5", "x=1", "maps", "eps=8/255"]):
        for order in (["--from-name", "{training}", *words], [*words, "--remove", "note", "seed"]):
            assert parsed(correct, *order).files == [*words]
        if words[0] == "a.h5":
            found = parsed(correct, "--remove", "note", "seed", *words)
            assert (found.files, found.remove) == ([*words], ["note", "seed"])


@pytest.mark.parametrize(
    "words",
    [
        ["--set", "a=b", "eps=8/255", "u.npy", "p.npz:x", "-o", "x.h5"],
        ["-o", "x.h5", "--set", "a=b", "eps=8/255", "--", "u.npy", "p.npz:x"],
        ["u.npy", "--set", "a=b", "--shape", "1", "2", "p.npz:x", "-o", "x.h5", "--set", "eps=8/255"],
    ],
)
def test_settings_do_not_swallow_arrays(words: list[str]) -> None:
    found = parsed(imports, *words)
    assert (found.unperturbed, found.perturbed) == ("u.npy", "p.npz:x")
    assert found.set == [("a", "b"), ("eps", 8 / 255)]


def test_settings_may_look_like_files() -> None:
    Path("training=natural").mkdir()
    words = ["--set", "source=u.npy", "training=natural", "deep/u.npy", "maps", "-o", "x.h5"]
    found = parsed(imports, *words)
    assert (found.unperturbed, found.perturbed) == ("deep/u.npy", "maps")
    assert found.set == [("source", "u.npy"), ("training", "natural")]


@pytest.mark.parametrize(
    ("command", "words", "message"),
    [
        (score, ["-m", "a.h5"], "argument -m/--metric: expected at least one argument"),
        (score, ["-m", "kendall"], "the following arguments are required: FILE"),
        (score, ["a.h5", "--windows", "1", "x"], "argument --windows: expected an integer, got 'x'"),
        (score, ["a.h5", "--windows", "-m", "kendall"], "argument --windows: expected at least one argument"),
        (score, ["a.h5", "--window"], "argument --windows: expected at least one argument"),
        (score, ["a.h5", "--nothing", "b.h5"], "unrecognized arguments: --nothing"),
        (summarize, ["--by", "training"], "the following arguments are required: TABLE"),
        (summarize, ["t.csv", "u.csv"], "unrecognized arguments: u.csv"),
        (imports, ["u.npy", "p.npy", "-o"], "argument -o/--output: expected one argument"),
        (imports, ["u.npy", "p.npy", "--shape", "1", "-o", "x.h5"], "argument --shape: expected 2 arguments"),
        (correct, ["--remove", "note", "x=1", "a.h5"], "got 'x=1'; write NAME=VALUE before --remove"),
        (imports, ["--set", "a=b", "novalue", "-o", "x.h5"], "expected NAME=VALUE, got 'novalue'"),
    ],
)
def test_mistakes_are_reported_as_argparse_does(
    capsys: pytest.CaptureFixture[str], command: Command, words: list[str], message: str
) -> None:
    with pytest.raises(SystemExit, match="2"):
        parsed(command, *words)
    assert message in capsys.readouterr().err


def test_long_values_are_no_names_of_files() -> None:
    long = "x" * 5000
    assert parsed(score, "-m", f"{long}/{long}", "[x]" * 2000, "a.h5").metric == [
        f"{long}/{long}",
        "[x]" * 2000,
    ]
    assert parsed(imports, "u.npy", "p.npy", "-o", "x.h5", "--set", f"a={long}", f"b={long}").set[1] == (
        "b",
        long,
    )
    assert parsed(summarize, "t.csv", "--by", "x", long).by == ["x", long]


def test_negative_numbers_are_values() -> None:
    assert parsed(score, "a.h5", "--windows", "-1", "2").windows == [-1, 2]


def test_help_names_all_options(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="0"):
        parsed(score, "a.h5", "-h")
    out = capsys.readouterr().out
    assert all(option in out for option in ("--k", "--windows", "--metric", "--exclude", "--output"))
