"""The preset --strong: as strong an attack as is known here, where the published one is weaker."""

from typing import Any

from ..options import Option
from ..softening import Growth, Softening, as_attribute

# Which beta of the softplus gives the best direction differs by network: of SqueezeNet's gradient topk leaves
# least at .3, of those of two small networks at 10 or with a growth, the best single run there. A random
# start instead of another softening gains less (benchmarks/studies/strength.toml).
SOFTENING: tuple[Softening, ...] = (0.3, 10.0, Growth(1.0, 100.0))

STRONG = Option(
    "strong",
    f"attack as strongly as is known here: --softening {as_attribute(SOFTENING)}, "
    "and the best image by --acceptance kendall and by topk_intersection(k=ATTACK_K), each in a file of its "
    "own; options that are given win. Use it to say that explanations are robust, or which of two networks "
    "has the more robust ones; use the published settings, the default, to compare with published numbers",
    None,
    arguments=(("action", "store_true"), ("default", None)),
)


def strong_values(attack_k: int) -> dict[str, Any]:
    """Return the options that --strong stands for."""
    return {"softening": SOFTENING, "acceptance": ("kendall", f"topk_intersection(k={attack_k})")}
