"""Write the generated tables of the pages: speed from JSON, metrics and statuses from the code.

python -m benchmarks.table
"""

import json
from pathlib import Path
from typing import Any

from lensmetrics.metrics.registry import entries
from lensmetrics.statuses import STATUSES

ROOT = Path(__file__).parents[1]
SPEED_PAGE = Path(__file__).parent / "README.md"
METRICS_PAGE = ROOT / "lensmetrics/metrics/README.md"
STATUS_PAGE = ROOT / "lensmetrics/tables/README.md"
RESULTS = Path(__file__).parent / "results.json"
SCALE = Path(__file__).parent / "scale.json"


def speed_table(results: dict[str, Any]) -> str:
    """Return the speed table in Markdown."""
    pair, whole = results["seconds_per_pair"], results["seconds"]
    lines = [
        "| one pair, one core | 227x227, k=1000 | of one `kendalltau` | 28x28, k=100 | of one `kendalltau` |",
        "|---|---:|---:|---:|---:|",
    ]
    for label, case in (
        ("`scipy.stats.kendalltau` alone", "kendalltau"),
        ("`scipy.stats.spearmanr` alone", "spearmanr"),
        ("the suite's set metrics, plain numpy and Python sets", "plain suite"),
        ("**`lm.score`, LENS suite (18 metrics)**", "score suite"),
        ("**`lm.evaluate`, the same from a file, checksums verified**", "evaluate suite"),
        ("`lm.score`, `lens_kendall` and `lens_spearman` for w = 1, 2, 3", "score smoothed"),
    ):
        cells = []
        for side in (227, 28):
            seconds = pair[f"{case} {side}"]
            cells += [_time(seconds), f"{seconds / pair[f'kendalltau {side}']:.3g}"]
        lines.append(f"| {label} | {' | '.join(cells)} |")
    versions = ", ".join(f"{name} {number}" for name, number in results["versions"].items())
    lines += ["", "| once per process | |", "|---|---:|"]
    lines += [f"| {name} | {_time(seconds)} |" for name, seconds in whole.items()]
    lines += ["", f"Best of repeats, {results['date']}, {results['machine']}, {versions}."]
    return "\n".join(lines)


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
    lines += ["", f"Best of repeats, {results['date']}, {results['machine']}."]
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
