"""How fast lensmetrics is, as ratios against named baselines in the same run."""
