"""Attacks on attributions: ``ATTACKS`` maps a name to the function that perturbs a batch of images."""

from .masks import ATTACKS as ATTACKS
from .masks import SETTINGS as SETTINGS
from .masks import Attack as Attack
from .masks import mass_center as mass_center
from .masks import published as published
from .masks import random_sign as random_sign
from .masks import random_walk as random_walk
from .masks import target_map as target_map
from .masks import topk as topk
