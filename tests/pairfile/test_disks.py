"""Full disks and read-only places: a sentence, and nothing torn."""

import contextlib
import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np

import lensmetrics as lm
from lensmetrics.pairfile.store import PairStore
from lensmetrics.pairfile.verification import verify
from tests.pairfile.faults import (
    METRICS,
    SHAPE,
    Helper,
    command,
    fill,
    maps_of,
    mounted,
    once,
    one_sentence,
    write,
)

WRITE_UNTIL_FULL = """
import json, sys
import numpy as np
from lensmetrics.pairfile.writer import PairWriter
for folder in sys.argv[1:]:
    compression = "gzip" if folder.endswith("gzip") else None
    maps = np.random.default_rng(0).normal(size=(2, 20, 64, 64)).astype(np.float32)
    done, words = 0, ""
    try:
        options = {"n_samples": 20, "shape": (64, 64), "attrs": {}, "compression": compression}
        with PairWriter(f"{folder}/a.h5", **options) as writer:
            for i in range(20):
                writer.write(i, maps[0, i], maps[1, i], label=i)
                done += 1
    except OSError as error:
        words = str(error)
    print(json.dumps([done, words]))
"""
ROOM = (4, 60, 140, 200, 280, 400, 700, 900)  # kB; the file needs 660


@once
def test_full_disk_while_writing(tmp_path: Path) -> None:
    maps = np.random.default_rng(0).normal(size=(2, 20, 64, 64)).astype(np.float32)
    n_resumed = 0
    with contextlib.ExitStack() as stack:
        folders = [
            stack.enter_context(mounted(tmp_path / f"{room}{name}", f"size={room}k"))
            for room in ROOM
            for name in ("", "gzip")
        ]
        # In a separate process, because HDF5 once crashed at exit after failing to write.
        words = [sys.executable, "-W", "error", "-c", WRITE_UNTIL_FULL, *map(str, folders)]
        done = subprocess.run(words, capture_output=True, text=True, check=False)
        assert (done.returncode, done.stderr) == (0, "")
        for folder, line in zip(folders, done.stdout.splitlines(), strict=True):
            n_reported, words_said = json.loads(line)
            path, part = folder / "a.h5", folder / "a.h5.part"
            if not words_said:
                assert verify(path) == []
                continue
            assert "a.h5" in words_said
            assert "\n" not in words_said
            assert not path.exists()
            subprocess.run(["mount", "-o", "remount,size=9m", str(folder)], check=True)
            if not part.exists():
                assert list(folder.iterdir()) == []
                assert n_reported == 0
                continue
            n_resumed += 1
            with lm.PairWriter.resume(path, {}) as writer:
                assert writer.missing.tolist() == list(range(n_reported, 20)), folder
                for i in writer.missing.tolist():
                    writer.write(i, maps[0, i], maps[1, i], label=i)
            assert verify(path) == []
            np.testing.assert_array_equal(PairStore(path).read_block(0, 20)[0], maps[0])
    assert n_resumed >= 6


@once
def test_full_disk_of_commands(tmp_path: Path, helper: Helper) -> None:
    pairs, scores = write(tmp_path / "pairs.h5", 40), tmp_path / "scores.parquet"
    inputs, others = tmp_path / "maps.npy", tmp_path / "others.npy"
    for path, maps in zip((inputs, others), maps_of(40), strict=True):
        np.save(path, maps)
    lm.evaluate(pairs, METRICS, output=scores)
    with mounted(tmp_path / "disk", "size=2m") as disk:
        commands: dict[str, list[Any]] = {
            "score": ["score", pairs, "-m", *METRICS, "--workers", 1, "-o", disk / "s.parquet", "--resume"],
            "score csv": ["score", pairs, "-m", *METRICS, "--workers", 1, "-o", disk / "s.csv", "--resume"],
            "import": ["import", inputs, others, "-o", disk / "i.h5"],
            "summarize": ["summarize", scores, "-o", disk / "s2.csv"],
            "report": ["report", scores, "-o", disk / "r.html"],
        }
        for name, words in commands.items():
            output = next(Path(word) for word in words if str(word).startswith(str(disk)))
            for left in (0, 4096, 8192):
                filler = fill(disk, left)
                answer = helper.ask(command, *words)
                assert answer[0] == "value", (name, left, answer)
                status, _, err = answer[1]
                filler.unlink()
                if status == 0:
                    assert output.exists()
                    output.unlink()
                    continue
                assert status == 1, (name, left)
                assert one_sentence(err), (name, left, err)
                assert output.name in err, (name, left, err)
                left_behind = {path.name for path in disk.iterdir()} - {f"{output.name}.part"}
                assert left_behind == set(), (name, left)
            answer = helper.ask(command, *words)
            assert answer[1][0] == 0, (name, answer)
            assert sorted(path.name for path in disk.iterdir()) == [output.name]
            output.unlink()


@once
def test_read_only_places(tmp_path: Path, helper: Helper) -> None:
    pairs = write(tmp_path / "pairs.h5")
    scores = tmp_path / "scores.parquet"
    lm.evaluate(pairs, METRICS, output=scores)
    others = tmp_path / "others.npy"
    for path, maps in zip((tmp_path / "maps.npy", others), maps_of(6), strict=True):
        np.save(path, maps)
    with mounted(tmp_path / "disk", "size=4m") as disk:
        for file in (pairs, scores, tmp_path / "maps.npy"):
            shutil.copy(file, disk)
        part = disk / "half.h5"
        with lm.PairWriter(part, n_samples=2, shape=SHAPE, attrs={}) as writer:
            writer.write(0, *maps_of(1)[:, 0])
        subprocess.run(["mount", "-o", "remount,ro", str(disk)], check=True)
        here = disk / "pairs.h5"
        reading = [["score", here, "-m", *METRICS, "--workers", 1], ["verify", here], ["inspect", here]]
        for words in (*reading, ["summarize", disk / "scores.parquet"]):
            answer = helper.ask(command, *words)
            assert answer[1][0] == 0, answer
        here_too = disk / "maps.npy"
        writing = [
            ["score", here, "-m", *METRICS, "--workers", 1, "-o", disk / "s.parquet"],
            ["summarize", disk / "scores.parquet", "-o", disk / "s.csv"],
            ["report", disk / "scores.parquet", "-o", disk / "r.html"],
            ["import", here_too, others, "-o", disk / "i.h5"],
            ["demo", "-o", disk],
        ]
        for words in writing:
            answer = helper.ask(command, *words)
            assert answer[0] == "value", answer
            status, _, err = answer[1]
            assert status == 2, words
            said = [line for line in err.splitlines() if not line.startswith("scoring the embedded")]
            assert one_sentence("\n".join(said)), (words, err)
        answer = helper.ask(_resume, part, {})
        assert answer[0] == "error"
        assert issubclass(answer[1], OSError)
        assert "half.h5" in answer[2]


def _resume(path: Path, attrs: dict[str, Any]) -> None:
    with lm.PairWriter.resume(path, attrs):
        pass
