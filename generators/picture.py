"""The picture of a manipulated explanation: the images, maps and target of a pair file."""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from numpy.typing import NDArray

import lensmetrics as lm

# A panel, the space between two, and above and below them, in inches.
_SIDE, _GAP, _ABOVE, _BELOW = 2.0, 0.1, 0.28, 0.5
# Characters of the name of a file below a panel.
_LONGEST = 30
# The share of the pixels that may be beyond the dark end of a map's scale, as single pixels are.
_BEYOND = 0.005


def draw(path: Path, output: Path, *, names: Sequence[str] = ()) -> list[str]:
    """Draw the first sample of a pair file that has images, target and outputs.

    Parameters
    ----------
    path
        The pair file.
    output
        The picture to write: image, manipulated image, their maps and the target map, as in figure 1 of
        Dombrowski et al. Each map has its own scale, from its smallest value to its 99.5 % quantile.
    names
        Names of the classes; without them the picture has their indices.

    Returns
    -------
    list of str
        The sentences that say the same as the numbers below the panels.
    """
    store = lm.PairStore(path)
    pair, aimed = store.pair(0), store.pair(0, against="target")
    before = lm.MapPair(aimed.unperturbed, pair.unperturbed)
    with h5py.File(path) as file:  # xarray takes a second to import
        outputs = [_softmax(file[name][0]) for name in ("output", "output_perturbed")]
        is_changed = file["perturbation_linf"][0] > 0
    stored = [_in_unit_range(image) for image in store.read_image(0) if image is not None]
    if not is_changed:  # rounding to float32, in which perturbed images are stored, is no change
        stored[1] = stored[0]
    shown = lm.MapPair(pair.unperturbed, pair.perturbed, image=stored[0], image_perturbed=stored[1])
    images = [np.moveaxis(image, 0, -1) if image.ndim == 3 else image for image in stored]
    change = np.abs(images[1] - images[0])
    label = int(outputs[0].argmax())
    target_image, target_label = str(store.attrs["target_image"]), int(store.attrs["target_label"])
    alike = [_alike(one) for one in (before, aimed)]
    chances = [f"{_name(label, names)}, p = {share[label]:.3f}" for share in outputs]
    panels: list[tuple[str, NDArray[Any], str]] = [
        ("image", images[0], chances[0]),
        (
            "manipulated image",
            images[1],
            f"{chances[1]}\nchange: mean {change.mean():.2g},\nlargest {change.max():.2g}",
        ),
        ("map of the image", pair.unperturbed, _lines(alike[0])),
        ("manipulated map", pair.perturbed, _lines(alike[1])),
        ("target map", aimed.unperturbed, f"of {_cut(target_image)},\n{_name(target_label, names)}"),
    ]
    _figure(panels).savefig(output, dpi=200)
    return [
        f"map against target: before {_listed(alike[0])}; after {_listed(alike[1])}",
        f"image: mean change {change.mean():.2g}, largest {change.max():.2g}, "
        f"PCC {lm.image_pearson(shown):.3f}, SSIM {lm.image_ssim(shown):.3f}, MSE {lm.image_mse(shown):.4g}",
        f"probability of {_name(label, names)}: before {outputs[0][label]:.3f}; "
        f"after {outputs[1][label]:.3f}",
    ]


def _figure(panels: Sequence[tuple[str, NDArray[Any], str]]) -> Figure:
    """Return the panels in a row, each with its title above and its text below."""
    height, width = panels[0][1].shape[:2]
    down = _SIDE * height / width
    size = (len(panels) * (_SIDE + _GAP) + _GAP, down + _ABOVE + _BELOW)
    figure = Figure(figsize=size, facecolor="white")
    FigureCanvasAgg(figure)
    for i, (title, values, text) in enumerate(panels):
        x = _GAP + i * (_SIDE + _GAP)
        axes = figure.add_axes((x / size[0], _BELOW / size[1], _SIDE / size[0], down / size[1]))
        scale: Any = {"vmin": 0, "vmax": 1, "interpolation": "none"}
        if "map" in title:
            low, high = values.min(), np.quantile(values, 1 - _BEYOND)
            axes.imshow((values - low) / ((high - low) or 1), cmap="gray_r", **scale)
        else:
            axes.imshow(values, cmap="gray", **scale)
        axes.set(xticks=[], yticks=[])
        axes.set_title(title, fontsize=9, parse_math=False)
        axes.set_xlabel(text, fontsize=7.5, parse_math=False)
    return figure


def _in_unit_range(image: NDArray[Any]) -> NDArray[np.float64]:
    """Return an image in [0, 1]."""
    return image.astype(np.float64) / (255 if image.dtype == np.uint8 else 1)


def _alike(pair: lm.MapPair) -> tuple[float, float, float]:
    """Return the three numbers of Dombrowski et al., of maps that sum to one."""
    return lm.pearson(pair), lm.ssim_normalized(pair), lm.mse_normalized(pair)


def _lines(alike: tuple[float, float, float]) -> str:
    pcc, ssim, mse = alike
    return f"against the target:\nPCC {pcc:.3f}, SSIM {ssim:.3f},\nMSE {mse:.3g}"


def _listed(alike: tuple[float, float, float]) -> str:
    pcc, ssim, mse = alike
    return f"PCC {pcc:.3f}, SSIM {ssim:.3f}, MSE {mse:.4g}"


def _softmax(logits: NDArray[Any]) -> NDArray[np.float64]:
    shares = np.exp(logits.astype(np.float64) - logits.max())
    result: NDArray[np.float64] = shares / math.fsum(shares)
    return result


def _cut(name: str) -> str:
    """Return a name, without its middle if it is too long."""
    half = _LONGEST // 2
    return name if len(name) <= _LONGEST else f"{name[: half - 1]}…{name[-half:]}"


def _name(label: int, names: Sequence[str]) -> str:
    return names[label] if label < len(names) else f"class {label}"
