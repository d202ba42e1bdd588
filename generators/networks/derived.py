"""Networks made from other networks, kept as long as these live and stay as they were."""

from collections.abc import Callable, Hashable
from typing import Any, Generic, TypeVar
from weakref import WeakKeyDictionary, ref

from torch import nn

T = TypeVar("T")


class Derived(Generic[T]):
    """Results computed from networks, one per network and key.

    A result is made anew where the network has other modules or tensors than when it was made, or other
    values in them, such as after loading weights, a move to another type or device, or training.
    """

    def __init__(self) -> None:
        self._made: WeakKeyDictionary[nn.Module, dict[Hashable, tuple[list[Any], T]]] = WeakKeyDictionary()

    def __call__(self, network: nn.Module, key: Hashable, make: Callable[[], T]) -> T:
        """Return the result for `network` and `key`, computed by `make` where there is none."""
        made = self._made.setdefault(network, {})
        now = _state(network)
        if key not in made or made[key][0] != now:
            made[key] = now, make()
        return made[key][1]


def _state(network: nn.Module) -> list[Any]:
    """Return what a result depends on; references are weak, because the results must not keep networks."""
    modules = [(ref(part), part.training) for part in network.modules()]
    tensors = [
        (id(tensor), tensor._version, tensor.data_ptr(), tensor.dtype, tensor.device)
        for tensor in (*network.parameters(), *network.buffers())
    ]
    return [modules, tensors]
