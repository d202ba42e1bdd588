"""The network of a request, ready for its explanation."""

from pathlib import Path
from typing import Any

import torch
from torch import nn

from .commands import command_line
from .explanations import attach_patterns
from .networks import checkpoints
from .pattern_files import load_patterns
from .plan import Plan
from .request import Request


def load_network(
    request: Request, found: Plan, device: torch.device, dtype: torch.dtype
) -> tuple[nn.Module, dict[str, Any]]:
    """Return the network, with patterns if the explanation needs them, and what is recorded of both.

    Raises
    ------
    OSError, ValueError
        If the checkpoint or the patterns do not exist, or are not those of this network.
    """
    network, facts = checkpoints.load(
        request.checkpoint, dataset=request.dataset, model=request.model, data=request.data
    )
    network.to(device=device, dtype=dtype)
    if not found.needs_patterns:
        return network, facts
    names = ("dataset", "data", "image_size", "model", "checkpoint")
    options = {name: getattr(request, name) for name in names}
    path = request.patterns_file or Path()
    out = None if path.exists() else request.patterns  # whatever is there is not to be replaced
    fitting = command_line("generators.fit_patterns", {**options, "out": out})
    attach_patterns(
        network, load_patterns(path, checkpoint=request.checkpoint, sha256=facts["sha256"], fitting=fitting)
    )
    return network, facts | {"patterns_sha256": checkpoints.sha256(path)}
