"""Child processes: a hang or crash costs one call, and a mistake of the package is not blamed on a file."""

import multiprocessing
import os
import signal
import sys
import time
from pathlib import Path
from types import ModuleType
from typing import Literal

import pytest

from lensmetrics.children import Alive, Child, ChildCrashed, ChildHung, Isolated
from lensmetrics.errors import FormatError
from lensmetrics.pairfile.verification import verify_files
from lensmetrics.processes import starting
from tests.pairfile.hostile_openers import die_once, fail_oddly, hang_or_die, hold_in_a_child


def answer(word: str, alive: Alive) -> str:
    if word == "hang":
        time.sleep(60)
    if word == "crash":
        os.kill(os.getpid(), signal.SIGSEGV)
    if word == "slow":
        for _ in range(8):
            time.sleep(0.25)
            alive()
    if word == "connection":
        raise ConnectionResetError(word)
    return word


def mistake(path: Path, _: object) -> list[tuple[int, int, str]]:
    raise ValueError("ours")


def damage(path: Path, _: object) -> list[tuple[int, int, str]]:
    raise FormatError("theirs")


@pytest.mark.skipif(sys.platform == "win32", reason="has no such signals")
@pytest.mark.parametrize("method", ["spawn", "forkserver"])
def test_a_hang_or_crash_costs_one_call(method: Literal["spawn", "forkserver"]) -> None:
    with Child(answer, seconds=1, method=method) as child:
        assert child("a") == "a"
        assert child("slow") == "slow"
        with pytest.raises(ChildHung):
            child("hang")
        assert child("b") == "b"
        with pytest.raises(ChildCrashed, match=f"exit code -{int(signal.SIGSEGV)}") as caught:
            child("crash")
        assert caught.value.exitcode == -signal.SIGSEGV
        with pytest.raises(ConnectionResetError, match="connection"):  # of the function, not of the child
            child("connection")
        assert child("c") == "c"


def test_a_mistake_of_ours_is_not_blamed_on_the_file() -> None:
    with Isolated(mistake) as isolated, pytest.raises(ValueError, match=r"^ours") as caught:
        isolated(Path("a.h5"))
    assert type(caught.value) is ValueError
    assert "in mistake" in caught.value.__notes__[0]
    with pytest.raises(ValueError, match=r"^ours"):
        list(verify_files([Path("a.h5")], verifier=mistake))
    (verdict,) = verify_files([Path("a.h5")], verifier=damage)
    assert verdict.error == "theirs"


def test_verify_never_hangs() -> None:
    paths = [Path(name) for name in ("long", "hang", "die", "a")]
    began = time.monotonic()
    first, *others, last = verify_files(paths, seconds=2, verifier=hang_or_die)
    assert time.monotonic() - began < 50
    assert first == (paths[0], [(0, 0, "checksum")], "")
    assert last == (paths[3], [(0, 0, "checksum")], "")
    assert [verdict.error for verdict in others] == [
        "hang: no response within 2 s; the file may be damaged or its disk unresponsive",
        "die: HDF5 crashed while reading it, so the file is damaged; regenerate or copy it again",
    ]


def refuse(word: str, _: object) -> str:
    if word == "hang":
        time.sleep(60)
    if word == "die":
        os.kill(os.getpid(), signal.SIGKILL)
    if word == "damaged":
        raise FormatError(word)
    if word == "bug":
        raise ValueError(word)
    return word


@pytest.mark.parametrize(
    "words",
    [
        [],
        ["a", "damaged", "b", "damaged"],
        ["die", "damaged", "b"],
        ["a", "hang", "b", "die"],
    ],
    ids="-".join,
)
def test_each_path_has_its_outcome_in_order(words: list[str]) -> None:
    said = {"damaged": "damaged", "hang": "hang: no response within 1 s", "die": "die: HDF5 crashed while"}
    with Isolated(refuse, seconds=1) as isolated:
        outcomes = list(isolated.each(iter(words)))
        assert isolated("after") == "after"
    for outcome, word in zip(outcomes, words, strict=True):
        if word in said:
            assert isinstance(outcome, FormatError)
            assert str(outcome).startswith(said[word])
        else:
            assert outcome == word


def die_and_say_so(path: Path, _: object) -> None:
    if path.name != "sound":
        with path.open("a") as file:
            file.write("x")
        os.kill(os.getpid(), signal.SIGKILL)


@pytest.mark.parametrize("names", [["a"], ["a", "b"], ["sound", "a", "sound"], ["a", "sound"]], ids="-".join)
def test_a_file_that_crashes_its_process_is_tried_twice(tmp_path: Path, names: list[str]) -> None:
    with Isolated(die_and_say_so) as isolated:
        outcomes = list(isolated.each(tmp_path / name for name in names))
        assert [isinstance(outcome, FormatError) for outcome in outcomes] == [
            name != "sound" for name in names
        ]
        with pytest.raises(FormatError, match="HDF5 crashed"):
            isolated(tmp_path / "c")
    for name in {*names, "c"} - {"sound"}:
        assert (tmp_path / name).read_text() == "xx"


def test_an_answer_that_nobody_asked_for_is_not_given_to_the_next_call() -> None:
    with Isolated(refuse) as isolated:
        for outcome in isolated.each(["a", "b", "c"]):
            assert outcome == "a"
            break
        assert isolated("d") == "d"
        with pytest.raises(ValueError, match="bug"):
            list(isolated.each(["a", "bug", "b"]))
        assert list(isolated.each(["e"])) == ["e"]


def test_a_killed_process_does_not_condemn_its_file(tmp_path: Path) -> None:
    with Isolated(die_once) as isolated:
        assert isolated(tmp_path / "killed") == 1
    with Isolated(fail_oddly) as isolated, pytest.raises(FormatError, match=r"a cannot be read \(Memory"):
        isolated(Path("a"))


@pytest.mark.usefixtures("capfd")  # the process prints why it cannot start
def test_a_process_that_cannot_start_condemns_no_file(monkeypatch: pytest.MonkeyPatch) -> None:
    module = ModuleType("only_here")
    exec("def function(path, alive): pass", vars(module))
    monkeypatch.setitem(sys.modules, "only_here", module)
    with Isolated(module.function) as isolated, pytest.raises(RuntimeError, match="does not start"):
        isolated(Path("a"))


@pytest.mark.skipif(sys.platform == "win32", reason="has no timers of this kind")
def test_a_hanging_process_does_not_outlive_its_parent_for_long(tmp_path: Path) -> None:
    parent = multiprocessing.get_context("spawn").Process(target=hold_in_a_child, args=(tmp_path / "pid",))
    parent.start()
    while not (tmp_path / "held").exists():
        time.sleep(0.01)
    parent.kill()
    parent.join()
    pid = int((tmp_path / "held").read_text())
    began = time.monotonic()
    while Path(f"/proc/{pid}/cmdline").exists() and Path(f"/proc/{pid}/cmdline").read_text():
        assert time.monotonic() - began < 20
        time.sleep(0.1)


def test_ctrl_c_while_a_process_is_forked_takes_effect_afterwards() -> None:
    steps = []

    def fork() -> None:
        with starting(forks=True):
            signal.raise_signal(signal.SIGINT)
            steps.append("forked")

    with pytest.raises(KeyboardInterrupt):
        fork()
    assert steps == ["forked"]
    with starting():  # the new process ignores it as this one does
        signal.raise_signal(signal.SIGINT)
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
