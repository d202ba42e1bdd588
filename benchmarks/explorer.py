"""Time the page of ``explore``: sliders in a real browser, the list of a million samples, memory.

    python -m benchmarks.explorer --out benchmarks/explorer.json

It needs chromium and ``pip install ".[test]"``. The time of a slider is that from its event to changed
numbers in the page; beside it stands the time that the library itself takes for these numbers, alternately
in the same process. Run this on a quiet machine.
"""

import argparse
import datetime
import json
import os
import platform
import random
import shutil
import statistics
import tempfile
import time
import urllib.request
from pathlib import Path
from typing import Any

import numpy as np
import psutil
from playwright.sync_api import sync_playwright
from scipy.ndimage import gaussian_filter

import lensmetrics as lm
from lensmetrics.explorer import live
from lensmetrics.explorer.serving import Server

SIDE, N_PAIRS, N_MOVES = 227, 400, 200
N_FILES, N_SAMPLES = 100, 10_000
OPTIONS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update"]
# Moves a slider and resolves with the milliseconds until the page shows the numbers of the new place.
MOVE = """([name, value]) => new Promise((resolve) => {
  const slider = document.getElementById(name), began = performance.now();
  new MutationObserver((_, observer) => {
    const { k, w } = { k: document.getElementById("k").value, w: document.getElementById("w").value };
    if (document.body.dataset.shown !== `${k},${w}`) return;
    observer.disconnect();
    resolve(performance.now() - began);
  }).observe(document.body, { attributes: true, attributeFilter: ["data-shown"] });
  slider.value = value;
  slider.dispatchEvent(new Event("input", { bubbles: true }));
})"""


def write_maps(path: Path, n: int) -> None:
    """Write pairs of smooth maps with an image each."""
    rng = np.random.default_rng(0)
    with lm.PairWriter(
        path, n_samples=n, shape=(SIDE, SIDE), image_shape=(3, SIDE, SIDE), attrs={"attack": "topk"}
    ) as writer:
        for i in range(n):
            u, noise = (gaussian_filter(rng.normal(size=(SIDE, SIDE)), 3).astype(np.float32) for _ in "un")
            image = rng.integers(0, 255, (3, SIDE, SIDE), dtype=np.uint8)
            writer.write(i, np.abs(u), np.abs(u + noise / 2), sample=i, image=image)


def own_time(pair: lm.MapPair, k: int, w: int) -> float:
    """Return the milliseconds that the library takes for the numbers that the sliders change."""
    metrics = [lm.parse_metric(text) for text in live.texts(k, w) if "(" in text]
    began = time.perf_counter()
    for metric in metrics:
        metric(pair)
    return 1000 * (time.perf_counter() - began)


def wait(server: Server) -> dict[str, Any]:
    """Wait until nothing happens in the background; return the state then."""
    while True:
        with urllib.request.urlopen(f"{server.address}state") as answer:
            state: dict[str, Any] = json.load(answer)
        if state["done"]:
            return state
        time.sleep(0.2)


def sliders(path: Path, n_moves: int) -> dict[str, float]:
    """Return the medians of moves at random, alternately of k and of w, in milliseconds."""
    draw = random.Random(0)
    pair = lm.PairStore(path)[3]
    own_time(pair, 10, 1)
    page_times: list[float] = []
    own_times: list[float] = []
    scores = lm.evaluate(path, "kendall")
    with Server([path], scores) as server, sync_playwright() as driver:
        wait(server)
        browser = driver.chromium.launch(executable_path=shutil.which("chromium"), args=OPTIONS)
        page = browser.new_page()
        page.goto(f"{server.address}#file={path.name}&position=3&k=1000&w=1")
        page.wait_for_selector("body[data-sets='1000,1']")
        k, w = 1000, 1
        for i in range(n_moves):
            if i % 4:
                k = draw.choice([n for n in range(100, 5000) if n != k])
            else:
                w = draw.choice([n for n in range(6) if n != w])
            name, value = ("k", k) if i % 4 else ("w", w)
            page_times.append(page.evaluate(MOVE, [name, str(value)]))
            own_times.append(own_time(pair, k, w))
        browser.close()
    more = [page_time - own for page_time, own in zip(page_times, own_times, strict=True)]
    return {
        "page_ms": statistics.median(page_times),
        "library_ms": statistics.median(own_times),
        "more_ms": statistics.median(more),
        "more_ms_90th": float(np.quantile(more, 0.9)),
    }


def listing(folder: Path, n_files: int, n_samples: int) -> dict[str, float]:
    """Return the seconds until files and samples are listed, and until a page of them is sorted."""
    maps = np.random.default_rng(0).random((2, n_samples, 4, 4), dtype=np.float32)
    for i in range(n_files):
        attrs = {"dataset": "toy", "training": f"t{i}"}
        with lm.PairWriter(folder / f"f{i:03}.h5", n_samples=n_samples, shape=(4, 4), attrs=attrs) as writer:
            names = [f"ILSVRC2012_val_{n:08}.JPEG" for n in range(n_samples)]
            writer.write(slice(0, n_samples), *maps, sample=np.arange(n_samples), name=names)
    files = sorted(folder.glob("*.h5"))
    began = time.perf_counter()
    with Server(files) as server:
        server.views.background.stop()  # type: ignore[union-attr]
        while not server.views.files.is_done:
            time.sleep(0.01)
        opened = time.perf_counter() - began
        began = time.perf_counter()
        with urllib.request.urlopen(f"{server.address}rows?sort=name&falling=1") as answer:
            found = json.load(answer)
        sorted_ = time.perf_counter() - began
    assert found["total"] == n_files * n_samples
    return {"seconds_to_list": opened, "seconds_to_sort_by_name": sorted_}


def memory(path: Path) -> dict[str, list[float]]:
    """Return the memory of the server and its processes, in MB, as every pair of a file is looked at."""
    found = []
    scores = lm.evaluate(path, "kendall")
    me = psutil.Process()
    with Server([path], scores) as server:
        wait(server)
        for round_ in range(4):
            for position in range(N_PAIRS):
                place = f"file=0&position={position}"
                for ask in ("sample?", "maps?", "images?", f"scores?k={100 + position}&w={round_ + 1}&"):
                    urllib.request.urlopen(f"{server.address}{ask}{place}").read()
                for k in range(200, 1000, 200):
                    urllib.request.urlopen(f"{server.address}scores?k={k}&w={position % 6}&{place}").read()
                if position % (N_PAIRS // 4) == N_PAIRS // 4 - 1:
                    of = [me, *me.children(recursive=True)]
                    found.append(sum(process.memory_info().rss for process in of) / 1e6)
    return {"memory_mb": [round(mb, 1) for mb in found]}


def main() -> None:
    """Measure, print and write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path)
    parser.add_argument("--sliders", action="store_true", help="time only the sliders")
    options = parser.parse_args()
    results: dict[str, Any] = {
        "date": datetime.date.today().isoformat(),
        "machine": f"{platform.machine()}, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}",
        "moves": N_MOVES,
        "side": SIDE,
        "files": N_FILES,
        "samples_per_file": N_SAMPLES,
    }
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "maps.h5"
        write_maps(path, N_PAIRS)
        results |= sliders(path, N_MOVES)
        if not options.sliders:
            results |= memory(path)
            path.unlink()
            results |= listing(Path(folder), N_FILES, N_SAMPLES)
    print(json.dumps(results, indent=1))
    if options.out:
        options.out.write_text(json.dumps(results, indent=1) + "\n")


if __name__ == "__main__":
    main()
