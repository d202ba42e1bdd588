"""``lensmetrics certify``."""

import argparse
import json
import math
import os
from collections.abc import Sequence
from decimal import ROUND_CEILING, ROUND_FLOOR, Context, Decimal
from pathlib import Path
from typing import TYPE_CHECKING

from ..messages import say
from .arguments import as_usage, check_once, fraction, pair_files
from .opening import isolated

if TYPE_CHECKING:
    from ..certificates.table import Certified, Wanted

HELP = "prove how far smoothed maps can change under any small perturbation"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare options and arguments."""
    parser.add_argument(
        "files",
        nargs="+",
        type=Path,
        metavar="FILE",
        help="pair files (.h5) of maps by uniform_smooth, or folders of them",
    )
    parser.add_argument(
        "--eps",
        type=_above_0,
        nargs="+",
        action="extend",
        default=[],
        metavar="E",
        help="l2 norms of perturbations of the input, in its own unit, such as 0.1 or 8/255: proves a lower "
        "bound on the cosine of the smoothed maps with and without any perturbation up to E",
    )
    parser.add_argument(
        "--cosine",
        type=_cosine,
        nargs="+",
        action="extend",
        default=[],
        metavar="C",
        help="finds the largest perturbation under which the cosine is proved to be at least C and, for each "
        "E, estimates the smallest radius of the smoothing that would do; maps made with that radius must "
        "confirm it",
    )
    parser.add_argument(
        "--alpha",
        type=_alpha,
        default=0.05,
        metavar="A",
        help="largest probability that the draws mislead about a sample (default: 0.05); for all of N "
        "samples together, divide it by N",
    )
    parser.add_argument(
        "-o",
        "--output",
        type=Path,
        metavar="TABLE",
        help="write all certificates here: .parquet, .csv or .csv.gz",
    )
    parser.add_argument(
        "--overwrite",
        action="store_true",
        help="replace a table of other files or of other certificates (default: refuse)",
    )


def _above_0(text: str) -> float:
    value = fraction(text)
    if not value > 0:
        raise argparse.ArgumentTypeError(f"expected an l2 norm above 0, got {text!r}")
    return value


def _cosine(text: str) -> float:
    value = fraction(text)
    if not 0 < value < 1:
        raise argparse.ArgumentTypeError(f"expected a cosine above 0 and below 1, got {text!r}")
    return value


def _alpha(text: str) -> float:
    value = fraction(text)
    if not 0 < value < 1:
        raise argparse.ArgumentTypeError(f"expected a probability above 0 and below 1, got {text!r}")
    return value


def run(arguments: argparse.Namespace) -> int:
    """Certify the files, print the summary, and say what has no certificate and what it would need."""
    if not arguments.eps and not arguments.cosine:
        raise ValueError("nothing to certify: give --eps, the sizes of perturbations, --cosine, or both")
    files = pair_files(arguments.files)
    check_once(files)
    with isolated() as open_one:
        from ..certificates.table import Wanted, certificates_table, certify
        from ..tables.differing import distinguishing
        from ..tables.files import check_output, write_scores
        from ..tables.outputs import ASKED, check_scores
        from ..tables.summary import summarize
        from .notes import note_pooling, note_what_else_differs
        from .printing import print_failures, print_summary

        wanted = Wanted(_each_once(arguments.eps), _each_once(arguments.cosine), arguments.alpha)
        if arguments.output is not None:
            with as_usage():
                check_output(arguments.output)
                check_scores(
                    arguments.output,
                    files,
                    wanted.columns(),
                    against=None,
                    certified_alpha=wanted.alpha,
                    replacing=arguments.overwrite,
                    resumes=False,
                )
        certified, failures = certify(files, wanted, open_one)
    table = None
    if certified:
        table = certificates_table(certified, wanted)
        if arguments.output is not None:
            asked = json.dumps([os.path.realpath(file) for file in files])
            write_scores(table, arguments.output, metadata={ASKED: asked})
        by = distinguishing(table)
        print_summary(summarize(table, by))
        note_what_else_differs(table, by)
        note_pooling(table)
        _note_confidence(certified, wanted)
        _note_what_lacks(certified, wanted)
    elif arguments.output is not None:
        older = ": the older table there is unchanged" if arguments.output.exists() else ""
        say(f"lensmetrics: nothing is written to {arguments.output}{older}")
    return 1 if print_failures(failures, table, done="certified") else 0


def _each_once(values: Sequence[float]) -> list[float]:
    return list(dict.fromkeys(values))


def _note_confidence(certified: "Sequence[Certified]", wanted: "Wanted") -> None:
    """Say how sure the certificates are, one by one and together."""
    n = sum(len(file.status) for file in certified)
    alpha = Decimal(repr(wanted.alpha))  # as it was typed
    text = f"the certificates of a sample hold with a confidence of {_confidence(alpha)}"
    if n > 1 and n * alpha <= Decimal("0.1"):
        text += f", those of all {n:,} together with {_confidence(n * alpha)}"
    elif n > 1:
        # Rounded up, it would promise too much.
        share = Context(prec=2, rounding=ROUND_FLOOR).divide(alpha, Decimal(n))
        text += f"; for all {n:,} samples together, use --alpha {float(share):g}"
    say(f"lensmetrics: {text}")
    if wanted.cosines and wanted.eps:
        say(
            "lensmetrics: certified_radius is an estimate, because the norm changes with the radius: make "
            "the maps again with that radius, and certify them"
        )


def _note_what_lacks(certified: "Sequence[Certified]", wanted: "Wanted") -> None:
    """Say how many samples have no certificate, and how many draws would give them one."""
    import numpy as np

    from ..certificates.table import NORM, cosine_column

    lacks_draws = False
    for eps in wanted.eps or [0.0]:
        needed: list[float] = []
        n_known = n_trivial = 0
        for file in certified:
            known = np.isfinite(file.columns[NORM])
            found = file.columns[cosine_column(eps) if wanted.eps else NORM]
            n_known += int(known.sum())
            n_trivial += int((found == 0).sum()) if file.smoothing.nonnegative and wanted.eps else 0
            draws = file.draws_needed(eps, wanted.alpha)
            needed += draws[known & (draws > file.smoothing.n_draws)].tolist()
        at = f"at eps={eps:g}, " if wanted.eps else ""
        if needed:
            say(f"lensmetrics: {at}{_needs(needed, n_known)}")
            lacks_draws |= min(needed) < math.inf
        if n_trivial:
            say(
                f"lensmetrics: {at}{n_trivial:,} of {n_known:,} samples have the bound 0, which says "
                "nothing: the cosine of nonnegative maps is never below it"
            )
    if lacks_draws:
        say(
            "lensmetrics: n_draws is an estimate, because the mean of few draws is longer than that of many: "
            "make the maps again with that many draws, and certify them"
        )


def _needs(needed: Sequence[float], n_known: int) -> str:
    """Say what samples need that have too few draws for a certificate; inf stands for a larger radius."""
    possible = sorted(n for n in needed if math.isfinite(n))
    text = f"{len(needed):,} of {n_known:,} samples have no certificate"
    if possible:
        half = _rounded_up(possible[(len(possible) - 1) // 2])
        every = _rounded_up(possible[-1])
        text += f": n_draws of about {half:,}"
        if every > half:
            text += f" would be enough for half of them, {every:,} for all, if their norms stayed as they are"
        else:
            text += " would be enough, if their norms stayed as they are"
    n_impossible = len(needed) - len(possible)
    if n_impossible:
        which = f"except for {n_impossible:,}" if possible else "and no number of draws is enough"
        text += f", {which}: that takes a larger radius or a smaller eps"
    return text


def _rounded_up(n: float) -> int:
    """Round up to two digits."""
    step = int(10 ** max(0, math.floor(math.log10(n)) - 1))
    return math.ceil(n / step) * step


def _confidence(alpha: Decimal) -> str:
    """Return 1 - alpha, rounded down, as text that never says 100 %."""
    if alpha < Decimal("0.0001"):
        return f"1 - {float(Context(prec=2, rounding=ROUND_CEILING).plus(alpha)):g}"
    percent = (100 * (1 - alpha)).quantize(Decimal("0.01"), rounding=ROUND_FLOOR)
    return f"{float(percent):g} %"
