"""The metrics, one module for each family; importing this package registers them all."""

# In this order `list_metrics` names them.
from . import correlation, distance, overlap, chance, diverse, published, topk  # isort: skip

__all__ = ["chance", "correlation", "distance", "diverse", "overlap", "published", "topk"]
