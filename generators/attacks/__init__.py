"""Attacks on attributions: ``ATTACKS`` maps a name to the attack that perturbs a batch of images.

The function of an attack takes a ``Batch`` and its parameters by keyword. The batch holds the model, images
(sample, channel, height, width) in [0, 1], the `labels` that the model gives them, the explanation, and one
random generator per sample, so that results do not depend on how samples are batched. An ``Attack``, called,
makes the batch. It returns what it ``Found``, one for each acceptance: images in [0, 1] inside the ball of
radius ``eps`` around those it was given, in l_inf or for l2_topk in l2; target_map and corruptions have no
ball. Samples do not influence one another.

All attacks but random_sign and corruptions take steps and return the best iterate by each of the metrics
`acceptance`, measured on the map of the model itself; an iterate is explained once for all of them, and what
is found by one does not depend on the others. Directed attacks find their direction on a copy of the model in
which softplus stands for ReLU, as ``networks.activations.with_softplus`` says; max pooling stays. `softening`
is the beta of softplus, 1 in published attacks; of several, each takes a run, and the best iterate of all
runs is returned. More `restarts` start at random points of the ball. Published code combines the last image
with the best map; here image and map always belong together.

A perturbed image counts only if the model still gives its label (random_sign says what it returns otherwise);
a corrupted one always does. A sample for which none counts is returned unperturbed, bit for bit, with
``n_accepted`` 0: the measurement failed. Where images counted but none left less of the map, it is returned
unperturbed as well, and has resisted the attack; leaving it out would make the attack look stronger than it
is.

To add an attack, write its function and its ``Attack`` record in a module, and list it here.
"""

from .batch import Batch as Batch
from .best import Found as Found
from .centers import MASS_CENTER
from .centers import mass_center as mass_center
from .corruptions import CORRUPTIONS
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
    **CORRUPTIONS,
}
