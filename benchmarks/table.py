"""Write the generated parts of the README: the speed table from JSON, the metrics from the registry.

python -m benchmarks.table
"""

import json
from pathlib import Path
from typing import Any

from lensmetrics.registry import entries

ROOT = Path(__file__).parents[1]
README = ROOT / "README.md"
RESULTS = Path(__file__).parent / "results.json"


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


def metric_table() -> str:
    """Return the table of all metrics in Markdown."""
    lines = ["| metric | range | identical maps | what it is |", "|---|---|---:|---|"]
    for entry in entries().values():
        low, high = (f"{bound:g}".replace("inf", "∞") for bound in entry.bounds)
        best = "" if entry.best is None else f"{entry.best:g}"
        lines.append(f"| `{entry.signature}` | {low} to {high} | {best} | {entry.summary} |")
    return "\n".join(lines)


def replaced(text: str, name: str, content: str) -> str:
    """Return the text with what stands between the markers of that name replaced."""
    start, end = f"<!-- {name}: generated -->\n", f"<!-- /{name} -->"
    before, _, rest = text.partition(start)
    _, found, after = rest.partition(end)
    if not found:
        msg = f"{README} has no part marked {start.strip()} ... {end}"
        raise ValueError(msg)
    return f"{before}{start}\n{content}\n\n{end}{after}"


def _time(seconds: float) -> str:
    if seconds < 1e-3:
        return f"{seconds * 1e6:.0f} µs"
    return f"{seconds * 1e3:.2f} ms" if seconds < 0.1 else f"{seconds:.2f} s"


def main() -> None:
    """Rewrite the README's tables."""
    text = README.read_text(encoding="utf-8")
    text = replaced(text, "speed", speed_table(json.loads(RESULTS.read_text(encoding="utf-8"))))
    README.write_text(replaced(text, "metrics", metric_table()), encoding="utf-8")


if __name__ == "__main__":
    main()
