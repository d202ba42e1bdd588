"""Write the generated tables of the pages: speed from JSON, metrics and statuses from the code.

python -m benchmarks.table
"""

import json
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from lensmetrics.metrics.registry import entries
from lensmetrics.statuses import STATUSES

from .cases import SAME_NUMBERS, SIZES

ROOT = Path(__file__).parents[1]
SPEED_PAGE = Path(__file__).parent / "README.md"
METRICS_PAGE = ROOT / "lensmetrics/metrics/README.md"
STATUS_PAGE = ROOT / "lensmetrics/tables/README.md"
RESULTS = Path(__file__).parent / "results.json"
SCALE = Path(__file__).parent / "scale.json"
SIDES = [side for side, _, _ in SIZES]
# The rows of the tables of one pair: what a row shows, and the name of its case.
OURS = (
    ("`scipy.stats.kendalltau` alone", "kendalltau"),
    ("**`lm.score`, LENS suite (18 metrics)**", "score suite"),
    ("**`lm.evaluate`, the same from a file, checksums verified**", "evaluate suite"),
    ("`lm.score`, `lens_kendall` and `lens_spearman` for w = 1, 2, 3", "score smoothed"),
    ("`lm.score`, LENS suite on maps of 31 levels", "score levels"),
    ("`lm.score`, LENS suite on maps of uint8", "score bytes"),
    ("`lm.score`, `lens_kendall` and `lens_spearman` on maps of 31 levels", "score smoothed levels"),
    ("`lm.score`, `kendall`", "score kendall"),
    ("`lm.score`, `spearman`", "score spearman"),
    ("`lm.score`, `topk_intersection`", "score topk"),
    ("`lm.score`, `topk_intersection` and LENS, 7 values", "score sets"),
)
OTHERS = (
    ("`scipy.stats.kendalltau`", "kendalltau"),
    ("`scipy.stats.spearmanr`", "spearmanr"),
    ('pandas, `Series.corr(method="kendall")`', "pandas kendall"),
    ('pandas, `Series.corr(method="spearman")`', "pandas spearman"),
    ("torchmetrics, `spearman_corrcoef`", "torchmetrics spearman"),
    ("top-k intersection by `np.argpartition` and `np.isin`", "numpy topk"),
    ("top-k and LENS by `np.argsort` and `binary_dilation`, 7 values", "numpy sets"),
    ("these 7, `kendalltau` and `spearmanr`", "numpy and scipy"),
    ("the suite's 16 set metrics as in scripts: argsort per set, Python sets", "plain suite"),
)


def speed_table(results: Mapping[str, Any]) -> str:
    """Return the tables of one pair in Markdown: lensmetrics, other tools, whole processes."""
    best = {name: min(times) for name, times in results["seconds_per_pair"].items()}
    lines = [
        "| one pair, one core | 227x227, k=1000 | of one `kendalltau` | 28x28, k=100 | of one `kendalltau` |",
        "|---|---:|---:|---:|---:|",
        *(_row(label, case, best, lambda side: f"kendalltau {side}") for label, case in OURS),
        "",
        "| the same numbers by other tools | 227x227, k=1000 | times ours | 28x28, k=100 | times ours |",
        "|---|---:|---:|---:|---:|",
    ]
    others = [(label, case) for label, case in OTHERS if f"{case} 227" in best]
    lines += [_row(label, case, best, partial(_ours_of, case)) for label, case in others]
    wins = [
        f"{label} at {side}x{side}"
        for label, case in others
        for side in SIDES
        if best[f"{case} {side}"] <= best[_ours_of(case, side)]
    ]
    lines += [
        "",
        f"lensmetrics is not faster than: {'; '.join(wins)}."
        if wins
        else "lensmetrics is faster in all rows.",
    ]
    lines += ["", "| once per process | |", "|---|---:|"]
    lines += [f"| {name} | {_time(min(times))} |" for name, times in results["seconds"].items()]
    known = ", ".join(f"{name} {number}" for name, number in results["versions"].items())
    lines += ["", f"Best of repeats, {results['date']}, {results['machine']}, {known}."]
    return "\n".join(lines)


def _ours_of(case: str, side: int) -> str:
    return f"{SAME_NUMBERS[case]} {side}"


def _row(label: str, case: str, best: Mapping[str, float], unit: Callable[[int], str]) -> str:
    cells = []
    for side in SIDES:
        seconds = best[f"{case} {side}"]
        ratio = seconds / best[unit(side)]
        cells += [_time(seconds), f"{ratio:.3g}" if ratio < 1000 else f"{ratio:,.0f}"]
    return f"| {label} | {' | '.join(cells)} |"


def scale_table(results: dict[str, Any]) -> str:
    """Return the table of many pairs and many files in Markdown."""
    length, files, cores, study = (results[name] for name in ("length", "files", "cores", "study"))
    per_pair, memory = length["milliseconds per pair"], length["peak MB"]
    seconds = files["seconds"]
    rows = [
        ("227x227, LENS suite, k=1000", "", "", ""),
        *(
            (
                f"{n:,} pairs in one file, one process",
                f"{s:.1f} s",
                f"{ms:.2f} ms per pair",
                f"{mb:.0f} MB at the peak",
            )
            for n, s, ms, mb in zip(length["pairs"], length["seconds"], per_pair, memory, strict=True)
        ),
        *(
            (
                f"{case['pairs']:,} pairs{' of real maps' if case['real maps'] else ''}, the command "
                f"on {n} core{'s' * (n > 1)}, with startup",
                f"{s:.1f} s",
                f"{case['pairs'] / s:.0f} pairs per second",
                f"{case['gain']:.2f} times one core" if n == 2 else "",
            )
            for case in cores
            for n, s in zip((1, 2), case["seconds"], strict=True)
        ),
        (
            f"a study of 144 files of 498 pairs, {study['pairs']:,} pairs, two cores, extrapolated",
            f"{study['seconds']:.0f} s",
            "",
            f"plain set metrics alone, one core: {study['hours of the plain set metrics alone']:.1f} hours",
        ),
        ("28x28, LENS suite, k=100, one process", "", "", ""),
        (f"{files['pairs']:,} pairs in one file", f"{seconds['one big']:.1f} s", "", ""),
        (
            f"the same in {files['files']:,} files",
            f"{seconds['many small']:.1f} s",
            f"{files['many over one']:.3f} times one file",
            "",
        ),
    ]
    lines = ["| many pairs, many files | | | |", "|---|---:|---:|---:|"]
    lines += [f"| {' | '.join(row)} |" for row in rows]
    lines += [
        "",
        f"In the long file, a pair takes {length['many over few']:.3f} times as long as in the short one. "
        "Best of repeats; of pairs in one file, one process, medians of five. "
        f"{results['date']}, {results['machine']}.",
    ]
    return "\n".join(lines)


def metric_table() -> str:
    """Return the table of all metrics in Markdown."""
    lines = ["| metric | range | identical maps | what it is |", "|---|---|---:|---|"]
    for entry in entries().values():
        low, high = (f"{bound:g}".replace("inf", "∞") for bound in entry.bounds)
        best = "" if entry.best is None else f"{entry.best:g}"
        lines.append(f"| `{entry.signature}` | {low} to {high} | {best} | {entry.summary} |")
    return "\n".join(lines)


def status_table() -> str:
    """Return the table of all statuses in Markdown."""
    lines = ["| status | set by | meaning |", "|---|---|---|"]
    for token, status in STATUSES.items():
        lines.append(f"| `{token}` | {'sample' if status.of_sample else 'metric'} | {status.meaning} |")
    return "\n".join(lines)


def replaced(text: str, name: str, content: str) -> str:
    """Return the text with the part between the markers of that name replaced."""
    start, end = f"<!-- {name}: generated -->\n", f"<!-- /{name} -->"
    before, _, rest = text.partition(start)
    _, found, after = rest.partition(end)
    if not found:
        raise ValueError(f"the page has no part between {start.strip()} and {end}")
    return f"{before}{start}\n{content}\n\n{end}{after}"


def _time(seconds: float) -> str:
    if seconds < 1e-3:
        return f"{seconds * 1e6:.0f} µs"
    return f"{seconds * 1e3:.2f} ms" if seconds < 0.1 else f"{seconds:.2f} s"


def main() -> None:
    """Rewrite the generated tables."""
    text = SPEED_PAGE.read_text(encoding="utf-8")
    text = replaced(text, "speed", speed_table(json.loads(RESULTS.read_text(encoding="utf-8"))))
    text = replaced(text, "scale", scale_table(json.loads(SCALE.read_text(encoding="utf-8"))))
    SPEED_PAGE.write_text(text, encoding="utf-8")
    text = METRICS_PAGE.read_text(encoding="utf-8")
    METRICS_PAGE.write_text(replaced(text, "metrics", metric_table()), encoding="utf-8")
    text = STATUS_PAGE.read_text(encoding="utf-8")
    STATUS_PAGE.write_text(replaced(text, "statuses", status_table()), encoding="utf-8")


if __name__ == "__main__":
    main()
