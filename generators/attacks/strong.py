"""The preset --strong: as strong an attack as is known here, where the published one is weaker."""

from collections.abc import Mapping
from typing import Any

from ..options import Option

# Which beta of the softplus gives the best direction differs by network and by explanation.
SOFTENING = (1.0, 3.0, 10.0)

STRONG = Option(
    "strong",
    "attack as strongly as is known here: --softening 1 3 10, one more run from a random point, and the best "
    "image by --acceptance kendall and by topk_intersection(k=ATTACK_K), each in a file of its own; options "
    "that are given win. Use it to say that explanations are robust, or which of two networks has the more "
    "robust ones; use the published settings, the default, to compare with published numbers",
    None,
    arguments=(("action", "store_true"), ("default", None)),
)


def strong_values(given: Mapping[str, Any], attack_k: int) -> dict[str, Any]:
    """Return what --strong stands for beside the options that are given.

    The last run starts at a random point; those before it, one for each softening, start at the image.
    """
    softening = given.get("softening", SOFTENING)
    acceptance = ("kendall", f"topk_intersection(k={attack_k})")
    return {"softening": softening, "restarts": len(softening) + 1, "acceptance": acceptance}
