"""What the checkpoints of a study say of its networks."""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from generators import sweep, train
from generators.networks import checkpoints
from generators.regimes import PARAMETERS
from generators.request import Request


def network_facts(items: Sequence[sweep.Item]) -> dict[Path, dict[str, Any]]:
    """Return what is known of the network of each pair file, as far as the study trains it."""
    facts = {item.out: _facts(item) for item in items if item.command == "train"}
    found = {}
    for item in items:
        if item.command == "generate":
            request = Request.parse(item.arguments)
            for path in item.files():
                found[path] = facts.get(Path(request.checkpoint), {})
    return found


def _facts(item: sweep.Item) -> dict[str, Any]:
    """Return the facts of a checkpoint; of one that does not exist, only where it begins."""
    request = train.Request.parse(item.arguments)
    begins = f"initial weights: {request.initial_weights}"
    if request.init:
        begins = request.init.stem.removeprefix(f"{request.dataset}-{request.model}-")
    if not item.out.is_file():
        return {"begins_from": begins}
    _, facts = checkpoints.load(item.out, dataset=request.dataset, model=request.model, data=request.data)
    return {
        "begins_from": begins,
        "training_steps": request.training_steps or _steps_of_epochs(facts),
        "accuracy": facts["natural_accuracy"],
        "pgd_accuracy": facts["pgd_accuracy"],
        "accuracy_samples": facts.get("accuracy_samples", np.nan),
        "pgd_settings": _pgd_text(facts),
        "attribution_share": _last_share(facts) if "weight" in PARAMETERS[request.training] else np.nan,
    }


def _steps_of_epochs(facts: Mapping[str, Any]) -> float:
    """Return the number of batches of a training; early checkpoints do not say of how many samples."""
    if not {"samples", "batch_size"} <= facts.keys():
        return np.nan
    return float(facts["epochs"] * math.ceil(facts["samples"] / facts["batch_size"]))


def _pgd_text(facts: Mapping[str, Any]) -> str | None:
    pgd = facts.get("pgd_settings")
    return pgd and f"eps {pgd['eps']:g}, {pgd['steps']} steps of {pgd['step_size']:g}"


def _last_share(facts: Mapping[str, Any]) -> float:
    shares = facts.get("attribution_share") or [np.nan]
    return float(shares[-1])
