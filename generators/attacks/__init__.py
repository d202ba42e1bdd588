"""Attacks on attributions: ``ATTACKS`` maps a name to the attack that perturbs a batch of images.

The function of an attack takes a ``Batch`` and its parameters by keyword. The batch holds the model, images
(sample, channel, height, width) in [0, 1], the `labels` that the model gives them, the explanation, and one
random generator per sample, so that results do not depend on how samples are batched. An ``Attack``, called,
makes the batch. It returns images in [0, 1] inside the ball of radius ``eps`` around those it was given, in
l_inf or for l2_topk in l2; target_map has no ball. Samples do not influence one another.

All attacks but random_sign take steps and return the best iterate by the metric `acceptance`, measured on the
map of the model itself. Directed attacks find their direction on a copy of the model with softplus (beta = 1)
instead of ReLU, as ``networks.activations.with_softplus`` says; max pooling stays. With `restarts` above 1,
all runs but the first start at a random point of the ball, and the best iterate of all runs is returned.
Published code combines the last image with the best map; here image and map always belong together.

A perturbed image counts only if the model still gives its label. A sample for which none counts is returned
unperturbed, bit for bit: its perturbation is exactly 0 and its two maps are equal. It resisted the attack;
leaving it out would make the attack look stronger than it is.

To add an attack, write its function and its ``Attack`` record in a module, and list it here.
"""

from .centers import MASS_CENTER
from .centers import mass_center as mass_center
from .iterate import Batch as Batch
from .iterate import Found as Found
from .masks import L2_TOPK, TARGET_REGION, TOPK, TOPK_LENS
from .masks import l2_topk as l2_topk
from .masks import target_region as target_region
from .masks import topk as topk
from .masks import topk_lens as topk_lens
from .noise import RANDOM_SIGN, RANDOM_WALK
from .noise import random_sign as random_sign
from .noise import random_walk as random_walk
from .record import Attack as Attack
from .targets import TARGET_MAP
from .targets import target_map as target_map

ATTACKS: dict[str, Attack] = {
    "random_sign": RANDOM_SIGN,
    "random_walk": RANDOM_WALK,
    "topk": TOPK,
    "topk_lens": TOPK_LENS,
    "mass_center": MASS_CENTER,
    "target_region": TARGET_REGION,
    "target_map": TARGET_MAP,
    "l2_topk": L2_TOPK,
}
