"""The metrics, one module for each family; importing this package registers them all."""

# In this order `list_metrics` names them.
from . import correlation, distance, overlap, chance, diverse, published, topk, images  # isort: skip

__all__ = ["chance", "correlation", "distance", "diverse", "images", "overlap", "published", "topk"]
