"""The metrics, a module for each family; importing this package registers them all."""

from . import chance, correlation, distance, diverse, overlap, published, topk

__all__ = ["chance", "correlation", "distance", "diverse", "overlap", "published", "topk"]
