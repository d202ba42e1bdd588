"""The demo: score eight embedded pair files of real maps and write a report."""

from collections.abc import Callable
from pathlib import Path

import pandas as pd

from .disk import check_writable
from .metrics.registry import Metric, get_metric
from .metrics.suites import lens_suite
from .pairfile.store import PairStore
from .report.page import write_report
from .scoring.files import evaluate
from .tables.files import check_output, read_scores, write_scores
from .tables.outputs import check_page
from .tables.summary import summarize

SCORES = "scores.parquet"
REPORT = "report.html"
DATA = Path(__file__).parent / "data"
# Metrics of the printed table; the files contain all of them.
_SHOWN = (
    "topk_intersection(k=100)",
    "lens_recall(k=100,w=1)",
    "lens_recall_adjusted(k=100,w=1)",
    "kendall",
    "spearman",
)


def metrics() -> list[Metric]:
    """Return the metrics of the demo: the LENS suite for k = 100, and recall and precision by chance."""
    windows = (1, 2, 3)
    return [
        *lens_suite(k=100, windows=windows),
        *(get_metric("lens_recall_chance", k=100, w=w) for w in (0, *windows)),
        *(get_metric("lens_precision_chance", k=100, w=w) for w in (0, *windows)),
        *(get_metric("lens_recall_adjusted", k=100, w=w) for w in windows),
    ]


def run(folder: Path, show: Callable[[pd.DataFrame], object]) -> None:
    """Score the embedded files, show the summary, and write scores and report into the folder.

    `show` is called as soon as there are scores: the page takes longer than they do.

    Raises
    ------
    FileExistsError
        If the folder contains files of these names that an earlier demo did not write.
    """
    files = sorted(DATA.glob("*.h5"))
    check_folder(folder)
    scores = evaluate(files, metrics())
    write_scores(scores, folder / SCORES)
    summary = summarize(scores, by=["training", "explanation", "attack"])
    show(summary[summary["metric"].isin(_SHOWN)])
    write_report(scores, folder / REPORT, stores=[PairStore(file) for file in files])


def check_folder(folder: Path) -> None:
    """Refuse to replace anything but the output of an earlier demo."""
    check_output(folder / SCORES)
    check_writable(folder / REPORT)
    check_page(folder / REPORT, [])
    present = [name for name in (SCORES, REPORT) if (folder / name).exists()]
    if not present:
        return
    files = set(map(str, DATA.glob("*.h5")))
    if SCORES in present and set(read_scores(folder / SCORES).get("file", [])) == files:
        return
    raise FileExistsError(
        f"{folder / present[0]} exists and is not the demo's: run in another folder, or name one with -o"
    )
