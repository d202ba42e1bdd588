"""Draw the picture of the README: one embedded pair with its sets.

python -m benchmarks.picture
"""

from pathlib import Path

from lensmetrics import PairStore
from lensmetrics.demo import DATA
from lensmetrics.figures.overlay import pair_overlay

FILE = DATA / "fashion_mnist-pgd-gradient-topk.h5"
POSITION = 5
PICTURE = Path(__file__).parent / "what_is_measured.png"


def main() -> None:
    """Write the picture."""
    store = PairStore(FILE)
    image, _ = store.read_image(POSITION)
    figure = pair_overlay(store[POSITION], k=60, w=1, image=image)
    figure.savefig(PICTURE, dpi=110)


if __name__ == "__main__":
    main()
