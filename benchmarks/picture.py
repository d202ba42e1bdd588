"""Draw the picture of the README: the page of ``explore`` over the embedded files.

    python -m benchmarks.picture

It needs chromium and ``pip install ".[test]"``.
"""

import shutil
from pathlib import Path

from playwright.sync_api import sync_playwright

from lensmetrics import evaluate
from lensmetrics.demo import DATA, metrics
from lensmetrics.explorer.serving import Server

PICTURE = Path(__file__).parent / "explore.png"
# A pair whose top pixels moved, but not far: its top-k intersection is low, its LENS recall is not.
FILE = "fashion_mnist-natural-gradient-topk.h5"
VIEW = (
    f"file={FILE}&position=61&k=60&only={FILE}&metric=topk_intersection(k=100)&sort=topk_intersection(k=100)"
)


def main() -> None:
    """Write the picture."""
    files = sorted(DATA.glob("*.h5"))
    with Server(files, evaluate(files, metrics())) as server, sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": 1440, "height": 800}, color_scheme="light")
        page.goto(f"{server.address}#{VIEW}")
        page.wait_for_selector("body[data-done][data-sets]")
        page.wait_for_timeout(500)
        page.screenshot(path=PICTURE)
        browser.close()


if __name__ == "__main__":
    main()
