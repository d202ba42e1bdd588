"""Explanations: ``EXPLANATIONS`` maps a name to a method that attributes a class logit to the input.

Every explanation takes ``(model, images, labels)`` and returns signed attributions of the shape of `images`
(sample, channel, height, width). The baseline, where there is one, is black. Samples do not influence one
another. Keywords that several explanations share:

differentiable
    The result keeps a graph back to `images`, so that attacks can take its gradient. Only on a network with
    smooth activations (``networks.activations.with_softplus``) does that gradient contain second derivatives.
seeds
    One seed per sample, as ``numpy.random.default_rng`` takes them: the same seeds draw the same noise at
    every call on a kind of device.
chunk_size
    Largest number of images in one pass of the network, also in the pass back through a differentiable
    result. By default each pass takes one point of every sample, and a differentiable result keeps the graph
    of all points.

``pattern_attribution`` needs a network that has patterns: see ``fit_patterns`` and ``attach_patterns``.

``explanation_named`` returns those of the table, and those of one's own.

To add an explanation, write its function and its ``Explanation`` record in a module, and list it here.
"""

from .attribution import PATTERN_ATTRIBUTION
from .attribution import pattern_attribution as pattern_attribution
from .averages import GRADIENT_SHAP, INTEGRATED_GRADIENTS, SMOOTH_GRAD
from .averages import INDEPENDENT_DRAWS as INDEPENDENT_DRAWS
from .averages import gradient_shap as gradient_shap
from .averages import integrated_gradients as integrated_gradients
from .averages import smooth_grad as smooth_grad
from .captums import PREFIX, captum_explanation
from .gradients import GRADIENT, INPUT_X_GRADIENT
from .gradients import REDUCTIONS as REDUCTIONS
from .gradients import abs_sum as abs_sum
from .gradients import gradient as gradient
from .gradients import input_x_gradient as input_x_gradient
from .logits import with_logits as with_logits
from .own import OWN_EXPLANATION as OWN_EXPLANATION
from .own import check_alone as check_alone
from .own import own_explanation
from .patterns import Patterns as Patterns
from .patterns import attach_patterns as attach_patterns
from .patterns import fit_patterns as fit_patterns
from .record import Explain as Explain
from .record import Explanation as Explanation
from .relevance import LRP
from .relevance import lrp as lrp
from .rules import DEEP_LIFT, GUIDED_BACKPROP
from .rules import deep_lift as deep_lift
from .rules import guided_backprop as guided_backprop
from .smoothing import BASES as BASES
from .smoothing import BETA_SMOOTH, UNIFORM_SMOOTH
from .smoothing import beta_smooth as beta_smooth
from .smoothing import certificate_facts as certificate_facts
from .smoothing import uniform_smooth as uniform_smooth

EXPLANATIONS: dict[str, Explanation] = {
    "gradient": GRADIENT,
    "input_x_gradient": INPUT_X_GRADIENT,
    "integrated_gradients": INTEGRATED_GRADIENTS,
    "smooth_grad": SMOOTH_GRAD,
    "uniform_smooth": UNIFORM_SMOOTH,
    "beta_smooth": BETA_SMOOTH,
    "gradient_shap": GRADIENT_SHAP,
    "deep_lift": DEEP_LIFT,
    "lrp": LRP,
    "guided_backprop": GUIDED_BACKPROP,
    "pattern_attribution": PATTERN_ATTRIBUTION,
}


def explanation_named(name: str) -> Explanation:
    """Return an explanation of ``EXPLANATIONS``, of ``captum:METHOD``, or of ``package.module:function``.

    Raises
    ------
    ValueError
        If there is none, or it needs arguments that nobody gives.
    """
    if name in EXPLANATIONS:
        return EXPLANATIONS[name]
    return captum_explanation(name) if name.startswith(PREFIX) else own_explanation(name)
