"""``lensmetrics set``, and conditions from file names."""

import itertools
import re
import shutil
from pathlib import Path

import h5py
import numpy as np
import pytest

import lensmetrics as lm
from lensmetrics.cli.conditions import from_names
from tests.cli.command import Run
from tests.pairfiles import edit, flip_byte, names_in, write_file

GRID = list(
    itertools.product([f"training{i}" for i in range(4)], ["grad", "smooth grad", "ig"], range(1, 13))
)


def attrs_of(path: str) -> dict[str, object]:
    attrs = lm.PairStore(path).attrs
    return {
        name: attrs[name] for name in attrs if name not in ("format", "format_version", "checksum_metadata")
    }


def test_144_files_get_their_conditions_from_their_names(run: Run) -> None:
    write_file(Path("one.h5"), 1, (3, 3), attrs={"note": "x"})
    Path("grid").mkdir()
    for training, explanation, attack in GRID:
        shutil.copy("one.h5", f"grid/{training}-{explanation}-attack{attack}.h5")
    words = ["set", "grid", "dataset=toy", "--from-name", "{training}-{explanation}-{attack}"]
    shutil.copy("one.h5", "grid/odd.h5")
    shutil.copy("one.h5", "grid/a-b-c-d.h5")
    before = {path: path.read_bytes() for path in Path("grid").iterdir()}
    status, out, err = run(*words)
    assert (status, out) == (2, "")
    assert err.splitlines() == [
        "lensmetrics: 2 of 146 names cannot be read with --from-name; nothing is changed:",
        "  grid/a-b-c-d.h5 matches --from-name '{training}-{explanation}-{attack}' in several ways ("
        "training 'a', explanation 'b', attack 'c-d'; or training 'a-b', explanation 'c', attack 'd'): write "
        "the fixed part of the name into the pattern",
        "  grid/odd.h5 does not match --from-name '{training}-{explanation}-{attack}'",
    ]
    assert {path: path.read_bytes() for path in Path("grid").iterdir()} == before
    Path("grid/odd.h5").unlink()
    Path("grid/a-b-c-d.h5").unlink()
    status, out, err = run(*words)
    assert (status, err) == (0, "changed 144 of 144 files; tables scored before still hold what was there\n")
    # In natural order: attack2 before attack10.
    assert re.findall(r"training0-grad-attack(\d+)\.h5: ", out) == list(map(str, range(1, 13)))
    for training, explanation, attack in GRID:
        expected = {"training": training, "explanation": explanation, "attack": f"attack{attack}"}
        found = attrs_of(f"grid/{training}-{explanation}-attack{attack}.h5")
        assert found == {**expected, "dataset": "toy", "note": "x"}
    assert run(*words)[1].count(": unchanged\n") == 144


@pytest.mark.usefixtures("files")
def test_set_changes_adds_and_removes(run: Run) -> None:
    before = {name: Path(name).read_bytes() for name in ("a.h5", "b.h5")}
    status, out, err = run(
        "set", "a.h5", "training=pgd", "eps=8/255", "seed=3", "b.h5", "--remove", "dataset"
    )
    assert (status, out.splitlines()) == (0, [
        f"a.h5: dataset: toy -> (none), eps: 0.1 -> {8 / 255}, training: natural -> pgd, seed: (none) -> 3",
        f"b.h5: dataset: toy -> (none), eps: 0.1 -> {8 / 255}, seed: (none) -> 3",
    ])  # fmt: skip
    assert err == "changed 2 of 2 files; tables scored before still hold what was there\n"
    for name in before:
        assert attrs_of(name) == {"training": "pgd", "attack": "topk", "eps": 8 / 255, "seed": 3}
    status, out, err = run("set", "b.h5", "./a.h5", "--from-name", "{training}.h5", "seed=3")
    assert (status, attrs_of("a.h5")["training"], attrs_of("b.h5")["training"]) == (0, "a", "b")
    assert run("verify", "a.h5", "b.h5")[:2] == (0, "a.h5: good\nb.h5: good\n")
    assert run("set", "a.h5", f"note={'x' * 5000}")[0] == 0
    inode = Path("a.h5").stat().st_ino
    assert run("set", "a.h5", "seed=3") == (0, "a.h5: unchanged\n", "")
    assert Path("a.h5").stat().st_ino == inode


@pytest.mark.usefixtures("files")
def test_a_resumed_run_scores_corrected_files_again(run: Run) -> None:
    words = ["score", "a.h5", "b.h5", "-m", "kendall", "--workers", "1", "-o", "s.parquet"]
    assert run(*words)[0] == 0
    assert run("set", "a.h5", "training=trades")[0] == 0
    assert run(*words, "--resume")[0] == 0
    assert set(lm.read_scores("s.parquet")["training"]) == {"trades", "pgd"}


@pytest.mark.parametrize(
    ("words", "status", "messages"),
    [
        (["a.h5"], 2, ["nothing to change: give NAME=VALUE, --from-name or --remove"]),
        (["x=1"], 2, ["no pair files given: name at least one"]),
        (["a.h5", "none.h5", "x=1"], 2, ["none.h5 does not exist"]),
        (["a.h5", "./a.h5", "x=1"], 2, ["a.h5 is named twice"]),
        (["a.h5", "x=1", "x=2"], 2, ["x is given twice"]),
        (["a.h5", "x="], 2, ["a value may not be empty; --remove x removes an attribute"]),
        (["a.h5", "=x"], 2, ["expected NAME=VALUE, got '=x'"]),
        (["a.h5", "eps=8_255"], 2, ["eps must be a number"]),
        (["a.h5", "b.h5", "kendall=1"], 2, ["attribute name 'kendall' is reserved"]),
        (["a.h5", "reduction=mean"], 2, ["unknown reduction 'mean'"]),
        (["a.h5", "format_version=2"], 2, ["attribute 'format_version' belongs to the file format"]),
        (["a.h5", "big=" + "9" * 20], 2, ["attribute 'big' is 9"]),
        (["a.h5", "b.h5", "--remove", "note"], 2, ["a.h5 has no attribute 'note' to remove; it has: attack"]),
        (["a.h5", "eps=1", "--remove", "eps"], 2, ["eps is both set and removed"]),
        (["half.h5.part", "x=1"], 2, [r"half\.h5\.part is not finished: finish it with PairWriter\.resume"]),
        (["half.h5", "x=1"], 2, ["half.h5 does not exist", "half.h5.part does: finish it"]),
        (["folder=1", "x=1"], 2, ["folder=1 could be a setting, .* write ./folder=1"]),
        (["a.h5", "text.h5", "newer.h5", "x=1"], 1, ["text.h5 is not an HDF5 file",
                                                     "newer.h5 has format version 2", "no file is changed"]),
        (["a.h5", "changed.h5", "x=1"], 1, ["checksum_metadata does not match: .* delete the attribute",
                                            "no file is changed"]),
        (["a.h5", "--from-name", "{training}-{attack}"], 2, ["a.h5 does not match --from-name"]),
        (["a.h5", "--from-name", "training"], 2, ["--from-name 'training' needs fields in braces"]),
        (["a.h5", "--from-name", "{kendall}"], 2, ["attribute name 'kendall' is reserved"]),
        (["a.h5", "x=1", "--from-name", "{x}"], 2, ["x is given twice"]),
    ],
)  # fmt: skip
@pytest.mark.usefixtures("files")
def test_mistakes_of_set_change_nothing(run: Run, words: list[str], status: int, messages: list[str]) -> None:
    Path("folder=1").mkdir()
    Path("text.h5").write_text("text")
    shutil.copy("a.h5", "half.h5.part")
    for name in ("newer.h5", "changed.h5"):
        shutil.copy("a.h5", name)
    change_attribute("newer.h5", "format_version", 2)
    change_attribute("changed.h5", "eps", 0.5)
    before = {path: path.read_bytes() for path in Path().iterdir() if path.is_file()}
    found, out, err = run("set", *words)
    assert (found, out) == (status, "")
    lines = err.splitlines()
    assert len(lines) == len(messages)
    for line, message in zip(lines, messages, strict=True):
        assert re.search(message, line), line
    assert {path: path.read_bytes() for path in Path().iterdir() if path.is_file()} == before


def change_attribute(path: str, name: str, value: object) -> None:
    edit(Path(path), lambda file: file.attrs.__setitem__(name, value))


@pytest.mark.usefixtures("files")
def test_a_file_that_is_being_written_keeps_all_files_as_they_are(run: Run) -> None:
    before = Path("b.h5").read_bytes()
    with h5py.File("a.h5", "r+"):
        status, out, err = run("set", "b.h5", "a.h5", "x=1")
    assert (status, out) == (1, "")
    assert err == (
        "lensmetrics: a.h5 is being written by another process; wait until it ends\n"
        "lensmetrics: no file is changed\n"
    )
    assert Path("b.h5").read_bytes() == before


def test_bad_samples_do_not_keep_a_file_from_being_corrected(run: Run) -> None:
    write_file(Path("a=1.h5"), missing=[2])
    flip_byte(Path("a=1.h5"), "perturbed")
    assert run("set", "a=1.h5", "training=pgd")[0] == 0
    assert attrs_of("a=1.h5") == {"training": "pgd"}
    assert names_in(Path()) == ["a=1.h5"]


@pytest.mark.parametrize(
    ("pattern", "path", "expected"),
    [
        ("{training}-{attack}", "natural-topk.h5", {"training": "natural", "attack": "topk"}),
        ("{training}-{attack}.h5", "x/natural-topk.h5", {"training": "natural", "attack": "topk"}),
        ("{training}-smooth-grad-{eps}", "pgd-smooth-grad-0.05.h5", {"training": "pgd", "eps": 0.05}),
        ("{}_{attack}_s{seed}", "run7_top-k_s018.h5", {"attack": "top-k", "seed": "018"}),
        ("run{seed}", "run18.h5", {"seed": 18}),
        ("{training}/{}/{attack}", "deep/natural/gpu 0/topk.h5", {"training": "natural", "attack": "topk"}),
        ("{a}.{b}", "größer.x\n.h5", {"a": "größer", "b": "x\n"}),
        ("[{a}]*{b}", "[x]*y.h5", {"a": "x", "b": "y"}),
    ],
)
def test_what_names_say(pattern: str, path: str, expected: dict[str, object]) -> None:
    assert [dict(settings) for settings in from_names(pattern, [Path(path)])] == [expected]


@pytest.mark.parametrize(
    ("pattern", "path", "message"),
    [
        (
            "{training}-{attack}",
            "natural.h5",
            "^natural.h5 does not match --from-name '{training}-{attack}'$",
        ),
        ("{training}-{attack}", "natural-.h5", "does not match"),
        (
            "{a}-{b}",
            "a-b-c.h5",
            r"in several ways \(a 'a', b 'b-c'; or a 'a-b', b 'c'\): write the fixed part",
        ),
        ("{}-{b}", "a-b-c.h5", r"several ways \(text 'a', b 'b-c'; or text 'a-b', b 'c'\)"),
        ("{a}{b}", "x.h5", "two fields without text between them"),
        ("{a}-{a}", "x-x.h5", "has the field a twice"),
        ("{a", "x.h5", "needs fields in braces"),
        ("{}", "x.h5", "needs fields in braces"),
        ("e{eps}", "e8_255.h5", "^e8_255.h5 eps must be a number, such as 0.1 or 8/255, got 'eps=8_255'$"),
    ],
)
def test_names_and_patterns_that_are_refused(pattern: str, path: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        from_names(pattern, [Path(path)])


def test_all_splittings_of_a_name_are_considered() -> None:
    """The shortest and the longest first fields tell whether there are several."""
    rng = np.random.default_rng(0)
    for _ in range(300):
        text = "".join(rng.choice(list("ab-"), rng.integers(1, 9)))
        ways = [cuts for cuts in splittings(text, 3) if all(cuts)]
        if len(ways) == 1:
            (settings,) = from_names("{x}-{y}-{z}", [Path(f"{text}.h5")])
            assert [tuple(value for _, value in settings)] == ways
        else:
            message = "in several ways" if ways else "does not match"
            with pytest.raises(ValueError, match=message):
                from_names("{x}-{y}-{z}", [Path(f"{text}.h5")])


def splittings(text: str, n: int) -> list[tuple[str, ...]]:
    if n == 1:
        return [(text,)]
    cuts = [i for i, character in enumerate(text) if character == "-"]
    return [(text[:i], *rest) for i in cuts for rest in splittings(text[i + 1 :], n - 1)]


def test_import_takes_conditions_from_the_name_of_its_output(run: Run) -> None:
    np.save("u.npy", np.random.default_rng(0).random((2, 5, 5)))
    np.save("p.npy", np.random.default_rng(1).random((2, 5, 5)))
    words = ["import", "u.npy", "p.npy", "--from-name", "{training}-{attack}", "--set", "eps=8/255", "-o"]
    status, _, err = run(*words, "natural.h5")
    assert (status, err) == (2, "lensmetrics: natural.h5 does not match --from-name '{training}-{attack}'\n")
    assert names_in(Path()) == ["p.npy", "u.npy"]
    assert run(*words, "natural-topk.h5")[0] == 0
    found = lm.PairStore("natural-topk.h5").attrs
    assert (found["training"], found["attack"], found["eps"]) == ("natural", "topk", 8 / 255)
    status, _, err = run(*words, "pgd-topk.h5", "--set", "training=x")
    assert (status, err) == (2, "lensmetrics: training is given twice; give every attribute once\n")


def test_a_pattern_that_no_name_matches_is_one_sentence(run: Run) -> None:
    for name in ("a", "b", "c"):
        write_file(Path(f"{name}.h5"))
    status, out, err = run("set", ".", "--from-name", "{training}-{attack}")
    assert (status, out) == (2, "")
    assert err == (
        "lensmetrics: none of the 3 names can be read with --from-name, and nothing is changed; the first: "
        "a.h5 does not match --from-name '{training}-{attack}'\n"
    )
