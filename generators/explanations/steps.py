"""Steps of a traced network that pass values on as they are, or compute with sizes alone."""

import torch
from torch import fx, nn

RESHAPING_CALLS = (torch.flatten, torch.reshape, "flatten", "view", "reshape")
RESHAPING = (nn.Flatten, nn.Dropout, nn.Identity)


def sizes(graph: fx.Graph) -> set[fx.Node]:
    """Return the steps that compute with sizes, as in ``view(x.size(0), -1)``: no image acts through them."""
    found: set[fx.Node] = set()
    for node in graph.nodes:
        is_size = node.target == "size" or (node.target is getattr and node.args[1] == "shape")
        inputs = node.all_input_nodes
        is_arithmetic = getattr(node.target, "__module__", "") == "_operator"
        if is_size or (inputs and is_arithmetic and found.issuperset(inputs)):
            found.add(node)
    return found
