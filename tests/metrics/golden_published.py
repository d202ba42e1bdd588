"""Counts made by the functions of the released LENS scripts (ksandeshk/LENS), run unmodified.

``maps`` says how the maps were made; none has a tie. ``pixel0`` says what was then put into pixel 0 of
(unperturbed, perturbed): 0 nothing, 1 the largest other value times 1.5, 2 the mean of the two largest
other values. The counts are out of k.
"""

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

Map = npt.NDArray[Any]


class Golden(NamedTuple):
    """One run of the scripts' functions."""

    side: int
    seed: int
    noise: float
    k: int
    w: int
    pool: int
    pixel0: tuple[int, int]
    topk_intersection: int
    lens_recall: int
    lens_precision: int
    topk_div_intersection: int
    lens_recall_div: int
    lens_precision_div: int


def maps(case: Golden) -> tuple[Map, Map]:
    """The unperturbed and the perturbed map of a case; the order of the draws matters."""
    side, noise = case.side, case.noise
    rng = np.random.default_rng(case.seed)
    grain = rng.random((side, side))
    rows, columns = np.mgrid[0:side, 0:side]
    blobs = np.zeros((side, side))
    for _ in range(12):
        row, column = rng.random() * side, rng.random() * side
        spread, height = 2 + rng.random() * side / 8, rng.random()
        blobs += height * np.exp(-((rows - row) ** 2 + (columns - column) ** 2) / (2 * spread * spread))
    unperturbed = blobs * (0.25 + grain)
    perturbed = unperturbed * (1 + noise * (rng.random((side, side)) - 0.5))
    perturbed += noise * 0.1 * rng.random((side, side))
    for a, kind in zip((unperturbed, perturbed), case.pixel0, strict=True):
        second, first = np.sort(a.ravel()[1:])[-2:]
        a[0, 0] = (a[0, 0], 1.5 * first, (first + second) / 2)[kind]
    return unperturbed, perturbed


GOLDEN = [
    Golden(227, 101, 0.3, 1000, 1, 6000, (0, 0), 849, 955, 975, 627, 939, 949),
    Golden(227, 101, 0.3, 1000, 2, 15000, (0, 0), 849, 973, 996, 457, 976, 984),
    Golden(227, 101, 0.3, 1000, 3, 25000, (0, 0), 849, 990, 999, 302, 970, 998),
    Golden(28, 101, 0.3, 100, 1, 600, (0, 0), 87, 98, 100, 87, 97, 96),
    Golden(128, 101, 0.3, 1000, 1, 6000, (0, 0), 932, 989, 990, 674, 980, 974),
    Golden(128, 101, 0.3, 1000, 2, 16384, (0, 0), 932, 995, 997, 360, 880, 954),
    Golden(227, 101, 1.5, 1000, 1, 6000, (0, 0), 511, 776, 934, 372, 816, 868),
    Golden(227, 101, 1.5, 1000, 2, 15000, (0, 0), 511, 825, 999, 261, 907, 947),
    Golden(227, 101, 1.5, 1000, 3, 25000, (0, 0), 511, 879, 1000, 172, 936, 988),
    Golden(28, 101, 1.5, 100, 1, 600, (0, 0), 60, 85, 99, 45, 88, 95),
    Golden(128, 101, 1.5, 1000, 1, 6000, (0, 0), 684, 898, 994, 399, 920, 943),
    Golden(128, 101, 1.5, 1000, 2, 16384, (0, 0), 684, 947, 999, 148, 825, 959),
    Golden(227, 102, 0.3, 1000, 1, 6000, (0, 0), 838, 942, 966, 690, 926, 932),
    Golden(227, 102, 0.3, 1000, 2, 15000, (0, 0), 838, 965, 991, 458, 958, 969),
    Golden(227, 102, 0.3, 1000, 3, 25000, (0, 0), 838, 974, 1000, 342, 984, 993),
    Golden(28, 102, 0.3, 100, 1, 600, (0, 0), 94, 98, 97, 75, 99, 92),
    Golden(128, 102, 0.3, 1000, 1, 6000, (0, 0), 907, 981, 992, 699, 978, 968),
    Golden(128, 102, 0.3, 1000, 2, 16384, (0, 0), 907, 992, 998, 415, 983, 991),
    Golden(227, 102, 1.5, 1000, 1, 6000, (0, 0), 512, 746, 925, 390, 779, 821),
    Golden(227, 102, 1.5, 1000, 2, 15000, (0, 0), 512, 809, 993, 257, 889, 936),
    Golden(227, 102, 1.5, 1000, 3, 25000, (0, 0), 512, 842, 999, 174, 945, 987),
    Golden(28, 102, 1.5, 100, 1, 600, (0, 0), 66, 94, 98, 30, 96, 96),
    Golden(128, 102, 1.5, 1000, 1, 6000, (0, 0), 628, 850, 975, 379, 892, 923),
    Golden(128, 102, 1.5, 1000, 2, 16384, (0, 0), 628, 901, 999, 213, 901, 981),
    Golden(227, 103, 0.3, 1000, 1, 6000, (1, 0), 878, 956, 976, 621, 957, 954),
    Golden(227, 103, 0.3, 1000, 1, 6000, (0, 2), 877, 955, 977, 623, 958, 956),
    Golden(28, 103, 0.3, 100, 1, 600, (1, 0), 89, 98, 99, 63, 97, 98),
    Golden(28, 103, 0.3, 100, 1, 600, (0, 2), 89, 97, 100, 64, 98, 99),
    Golden(128, 103, 0.3, 1000, 1, 6000, (1, 0), 923, 991, 991, 643, 988, 989),
    Golden(128, 103, 0.3, 1000, 1, 6000, (0, 2), 923, 990, 992, 644, 988, 989),
    Golden(227, 103, 1.5, 1000, 1, 6000, (1, 0), 560, 815, 971, 344, 829, 859),
    Golden(227, 103, 1.5, 1000, 1, 6000, (0, 2), 560, 815, 972, 346, 831, 861),
    Golden(28, 103, 1.5, 100, 1, 600, (1, 0), 66, 92, 98, 28, 89, 93),
    Golden(28, 103, 1.5, 100, 1, 600, (0, 2), 67, 91, 99, 29, 91, 95),
    Golden(128, 103, 1.5, 1000, 1, 6000, (1, 0), 693, 890, 990, 358, 952, 963),
    Golden(128, 103, 1.5, 1000, 1, 6000, (0, 2), 693, 891, 991, 358, 952, 963),
]
