"""The columns of a table of scores that are not scores."""

# Attributes that tell the conditions of a study apart.
CONDITIONS = ("dataset", "model", "training", "explanation", "attack", "eps", "attack_k", "attack_w")
# A metric can have none of these names.
IDENTITY = ("file", *CONDITIONS, "sample", "label", "prediction", "prediction_perturbed", "status")

# Every built-in metric; a list of names, so that writers of pair files need no compiler.
METRIC_NAMES = (
    "cosine",
    "fss",
    "kendall",
    "lens_distance",
    "lens_kendall",
    "lens_precision",
    "lens_precision_adjusted",
    "lens_precision_chance",
    "lens_precision_div",
    "lens_precision_div_published",
    "lens_precision_published",
    "lens_recall",
    "lens_recall_adjusted",
    "lens_recall_chance",
    "lens_recall_div",
    "lens_recall_div_published",
    "lens_recall_published",
    "lens_spearman",
    "mass_center_shift",
    "mse",
    "n_diverse",
    "pearson",
    "sign_agreement",
    "spearman",
    "ssim",
    "topk_distance",
    "topk_div_intersection",
    "topk_div_intersection_published",
    "topk_intersection",
    "topk_iou",
)
# What tables call their own columns and dimensions; conditions are attributes, and so not among them.
_TAKEN = (*(set(IDENTITY) - set(CONDITIONS)), "name", "k", "w", "pool", "metric", "value")


def is_reserved(name: str) -> bool:
    """Tell whether an attribute of that name would be taken for a column that tables make themselves."""
    return name in _TAKEN or name.partition("(")[0] in METRIC_NAMES
