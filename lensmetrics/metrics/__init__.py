"""The metrics, a module for each family; importing this package registers them all."""

from . import correlation, distance, overlap, published, topk

__all__ = ["correlation", "distance", "overlap", "published", "topk"]
