"""Every status of a sample: its token, its meaning, and what follows from it."""

from typing import NamedTuple


class Status(NamedTuple):
    """What one status says about a sample."""

    meaning: str  # one sentence, which README and report print
    # Whether it holds whichever metrics were scored; the others are set by a metric.
    of_sample: bool = True
    # Whether the sample could not be read, so that it has no scores at all.
    unreadable: bool = False


STATUSES = {
    "nan_map": Status("A map has pixels that are NaN or infinite, so every score of the pair is undefined."),
    "constant_map": Status(
        "A map has the same value everywhere and so no order of its pixels: metrics that rank pixels are "
        "undefined, except the published ones, which return what the released scripts return."
    ),
    "identical": Status(
        "Both maps are equal in every pixel: the explanation did not change at all or, where it was scored "
        "against the target, it is the target."
    ),
    "not_attacked": Status(
        "The attack accepted no perturbed image, so the unperturbed map is stored twice: a failed "
        "measurement, not evidence of robustness."
    ),
    "label_changed": Status(
        "The stored predictions differ: the network assigns the perturbed input to another class, so its "
        "explanation has a reason to change."
    ),
    "tied_cut": Status(
        "The k-th and the (k+1)-th value of a map are equal, so its top-k set was completed by pixel index; "
        "these scores may be biased in either direction.",
        of_sample=False,
    ),
    "few_diverse": Status(
        "A map has fewer than k mutually diverse pixels; diverse scores divide by the number found.",
        of_sample=False,
    ),
    "saturated": Status(
        "A neighbourhood covers the whole map, as that of a diverse set that ran out of pixels always does, "
        "or k is the number of pixels: plain scores keep a value that any two maps would have, adjusted "
        "scores and LENS recall and precision of diverse sets are undefined.",
        of_sample=False,
    ),
    "unsigned": Status(
        "Neither map has a negative pixel, so sign_agreement only measures the overlap.", of_sample=False
    ),
    "too_small": Status(
        "The map or the image is smaller than the window of a metric (SSIM needs 7 pixels a side), so that "
        "score is undefined.",
        of_sample=False,
    ),
    "no_image": Status(
        "An image metric has nothing to compare: the file lacks one of the two images, or they have values "
        "outside [0, 1] or one value everywhere, so that score is undefined.",
        of_sample=False,
    ),
    "pool_exhausted": Status(
        "A published procedure for diverse sets ran out of candidate pixels, where the released script stops "
        "with an error, so its score is undefined.",
        of_sample=False,
    ),
    "uncertified": Status(
        "The norm of the smoothed map, less the error of its draws, is too small for a certificate, which is "
        "undefined: more draws, a larger smoothing radius or a smaller perturbation may give one.",
        of_sample=False,
    ),
    "incomplete": Status("The sample was never finished in its file, so it was not scored.", unreadable=True),
    "checksum": Status(
        "The stored bytes do not match their checksum, so the file is damaged and the sample was not scored.",
        unreadable=True,
    ),
}

# Statuses of samples that could not be read.
UNREADABLE_STATUSES = tuple(token for token, status in STATUSES.items() if status.unreadable)
# Statuses that can be left out of a summary. What a metric sets depends on which metrics were scored, but a
# tie at the cut is a property of the maps and k.
EXCLUDABLE_STATUSES = tuple(
    sorted(token for token, status in STATUSES.items() if status.of_sample or token == "tied_cut")
)
