"""The columns of a table of scores that are not scores."""

# Attributes that tell the conditions of a study apart.
CONDITIONS = ("dataset", "model", "training", "explanation", "attack", "eps", "attack_k", "attack_w")
# A metric can have none of these names.
IDENTITY = ("file", *CONDITIONS, "sample", "label", "prediction", "prediction_perturbed", "status")
