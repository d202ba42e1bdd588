"""A network of one's own, from the factory that ``--model package.module:factory`` names."""

from typing import Any

import torch
from torch import fx, nn

from ..calls import calling, kind
from ..names import check_call, imported

OWN_MODEL = "package.module:factory, a function that returns the network"


class Unwrapped(nn.Module):
    """A network that returns logits, or an object with ``.logits`` as those of Hugging Face do."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, images: torch.Tensor) -> Any:
        """Return the logits (sample, class)."""
        output = self.network(images)
        is_plain = isinstance(output, torch.Tensor | fx.Proxy)
        logits = output if is_plain else getattr(output, "logits", output)
        if self.training and not isinstance(logits, torch.Tensor):
            raise ValueError(
                f"the network returns {kind(logits)} in training mode; it must return logits, or an object "
                "that has them as .logits, in both modes"
            )
        return logits


def own_network(name: str, n_classes: int) -> nn.Module:
    """Return what a factory returns: it takes nothing, or ``n_classes``.

    Raises
    ------
    ValueError
        If there is no such factory, it needs other arguments, or it returns no ``nn.Module``.
    """
    factory = imported(name)
    taken = check_call(f"--model {name}", factory, (), ("n_classes",))
    network = calling(f"--model {name}", factory, **({"n_classes": n_classes} if taken else {}))
    if not isinstance(network, nn.Module):
        raise ValueError(f"--model {name} returned {kind(network)}; it must return a torch.nn.Module")
    return Unwrapped(network)
