"""Colours of maps and sets, which figures and the page of `explore` share; needs no matplotlib."""

# S and T are drawn over maps, which remain light on a dark page, so these colours do not follow the page.
UNPERTURBED = "#0068A8"
PERTURBED = "#C85200"
NEAR = "#C9E2F4"
TOP = "#F0A067"
PAPER = "#FFFFFF"
NOT_FINITE = "#F0E442"
# Maps go from white to a grey on which outlines remain visible.
DARK = "#4A4A4A"
