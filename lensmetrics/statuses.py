"""Every status of a sample: its token and what it means for the scores."""

# What can be said of a sample, whichever metrics were asked.
SAMPLE_STATUSES = (
    "checksum",
    "constant_map",
    "identical",
    "incomplete",
    "label_changed",
    "nan_map",
    "not_attacked",
)
# What a metric met.
METRIC_STATUSES = ("few_diverse", "pool_exhausted", "saturated", "tied_cut", "too_small", "unsigned")

# What each status means for the scores, in one sentence.
STATUS = {
    "nan_map": "A map has pixels that are NaN or infinite, so all scores of the pair are undefined.",
    "constant_map": "A map has one value everywhere and ranks no pixel above another, so all metrics that "
    "rank pixels are undefined, those of top-k sets too; published ones keep what the released scripts give.",
    "identical": "Both maps are equal in every pixel: the explanation did not change at all.",
    "not_attacked": "The attack accepted no image, so the perturbed map is that of the unperturbed one: the "
    "score says that the attack failed, not that the explanation is robust.",
    "label_changed": "The network predicts another class for the perturbed input than for the unperturbed "
    "one, so its explanation has a reason to change.",
    "tied_cut": "The k-th and the (k+1)-th value of a map are equal, so its top-k set holds some of the tied "
    "pixels by their index, and such scores can be too high or too low.",
    "few_diverse": "A map has fewer than k mutually diverse pixels; diverse scores divide by their number.",
    "saturated": "The neighbourhood covers the whole map, or k is its number of pixels: plain scores keep a "
    "value that any two maps would have, adjusted and diverse LENS scores are undefined.",
    "unsigned": "Neither map has a negative pixel, so the agreement of signs only counts the overlap.",
    "pool_exhausted": "The published procedure ran out of candidate pixels, so its score is undefined.",
    "too_small": "The map is smaller than the window of a metric, whose score is undefined.",
    "incomplete": "The sample was never finished in its file, so all its scores are undefined.",
    "checksum": "The maps do not match their checksum: the file is damaged, and their scores are undefined.",
}
