"""Whose form of an explanation: the standard one, or that of the code of Dombrowski et al.

Their code explains the network from its normalized input on. It differs from the standard form in this:

gradient
    is taken by the normalized image, so each channel counts times its standard deviation.
input_x_gradient
    is the normalized image times that gradient.
integrated_gradients
    is that of the softmax, along the path from the mean image, which is 0 after normalization. Their code
    takes 30 points.
lrp
    takes z+ in linear layers as well, no bias counts, and z^B takes one range for all channels.
guided_backprop
    lets a softplus pass back softplus(R) times its derivative, which depends on the size of R: the pass
    starts at the logit. A ReLU passes back the positive part, as in the standard form.

Their backward pass starts at the logit for the gradient too, and their maps are divided by their sums. Both
only multiply a map by a number, and are not done here.

References
----------
Dombrowski et al., "Explanations can be manipulated and geometry is to blame", NeurIPS 2019, section 2.1, and
its released code, pankessel/adv_explanation_ref: ``get_expl`` in nn/utils.py, and nn/layers.
"""

import torch
from torch import nn

from ..networks.models import Normalize
from ..options import Option

FORMS = ("standard", "dombrowski")


def is_dombrowski(form: str) -> bool:
    """Return whether the form is that of Dombrowski et al., not the standard one.

    Raises
    ------
    ValueError
        If there is no such form.
    """
    if form not in FORMS:
        raise ValueError(f"form must be {' or '.join(FORMS)}, got {form!r}")
    return form == "dombrowski"


def normalization(
    model: nn.Module, images: torch.Tensor, explanation: str
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return mean and standard deviation (channel, 1, 1) by which the network normalizes these images.

    Raises
    ------
    ValueError
        If it does not, or repeats an image of one channel, for which there is no mean image.
    """
    found = [part for part in model.modules() if isinstance(part, Normalize)]
    if not found:
        raise ValueError(
            f"{explanation} in the form dombrowski needs a network that normalizes its images, and this one "
            "takes them as they are; use the form standard"
        )
    return _of_channels(found[0], images, explanation)


def deviation(model: nn.Module, images: torch.Tensor, explanation: str) -> torch.Tensor | float:
    """Return the standard deviation by which the network normalizes these images: 1 if it does not."""
    found = [part for part in model.modules() if isinstance(part, Normalize)]
    return _of_channels(found[0], images, explanation)[1] if found else 1.0


def _of_channels(
    normalize: Normalize, images: torch.Tensor, explanation: str
) -> tuple[torch.Tensor, torch.Tensor]:
    if len(normalize.mean) != images.shape[1]:
        raise ValueError(
            f"{explanation} in the form dombrowski needs images of {len(normalize.mean)} channels for this "
            f"network, got {images.shape[1]}; use the form standard"
        )
    return normalize.mean, normalize.std


FORM = Option(
    "form",
    "whose form of the explanation: dombrowski is that of their code (see explanations/forms.py); default: "
    "standard",
    None,
    arguments=(("choices", FORMS),),
)
