"""The pair files of a smaller radius, from whose perturbed images an attack starts."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from .disk import part_path
from .pairfiles import stored_images, stored_settings
from .plan import Plan
from .request import NOT_STARTED, Request, condition, started_from


def start_files(request: Request, found: Plan) -> dict[Path, Plan]:
    """Return the files of ``--start``, each with the plan that would have written it alone but for eps.

    There is one for each acceptance, named as those of ``--out`` are; none without ``--start``.
    """
    return {} if request.start is None else replace(request, out=request.start).main_files(found)


def check_start(request: Request, found: Plan) -> Mapping[str, Any]:
    """Check the files of ``--start`` and return what the files that start from them record.

    Raises
    ------
    OSError
        If a file does not exist or is not finished.
    ValueError
        If the attack takes no steps in a ball, or a file has no perturbed images, a radius that is not
        smaller, or other settings.
    """
    files = start_files(request, found)
    if not files:
        return NOT_STARTED
    if not found.attack.takes_starts:
        raise ValueError(
            f"--start has no effect with --attack {request.attack}, which takes no steps in a ball; remove it"
        )
    eps = [_checked(path, alone, request, found) for path, alone in files.items()]
    for path, radii in zip(files, eps, strict=True):
        if radii != eps[0]:
            raise ValueError(
                f"--start: {path} was found at the radii {radii}, {request.start} at {eps[0]}; make both "
                "in one run"
            )
    return started_from(eps[0], found)


def _checked(path: Path, alone: Plan, request: Request, found: Plan) -> list[float]:
    """Check a file to start from and return the radii at which its images were looked for."""
    if not path.exists():
        why = "is not finished" if part_path(path).exists() else "does not exist"
        raise FileNotFoundError(f"--start: {path} {why}; make it first, with --store-images all")
    wanted = condition(request, alone)
    stored = stored_settings(path)
    smaller, eps = stored.get("eps"), wanted.pop("eps")
    if "start_eps" in stored:
        wanted["start_acceptance"] = started_from([eps], found)["start_acceptance"]
    remedy = "--start takes a file that differs in nothing but a smaller eps"
    if not isinstance(smaller, float) or smaller >= eps:
        raise ValueError(f"--start: {path} has eps {smaller}, which is not below {eps}; {remedy}")
    replace(request, store_images=None).check_finished(path, wanted, found.defaults, remedy=remedy)
    if stored_images(path) != "all":
        raise ValueError(
            f"--start: {path} has no perturbed images to start from; make it with --store-images all"
        )
    before = stored.get("start_eps_before", [])
    before = [before] if isinstance(before, float) else list(before)
    return [*before, *([stored["start_eps"]] if "start_eps" in stored else []), smaller]
