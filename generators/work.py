"""The contents of pair files: maps before and after the attack, outputs, norms, images."""

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from .also import in_words_of
from .attacks import Found
from .batches import Memory, fitting_batch_size
from .datasets import Split, inputs_of
from .explanations import Explain, abs_sum, check_alone
from .names import is_own
from .plan import Plan
from .start_images import start_images

Columns = dict[str, NDArray[Any]]

# Number of input values in one pass of the network by default, if a batch has fewer: for small images the
# graph is cheap, and bounded memory costs computing it twice (see ``Work.batch_size``).
CHUNK = 2**18
# Samples that are explained to see whether an attack finds a direction at all, and whether they mix.
_PROBED = 4
# Samples at a time by default, and the least number of points. A CPU gains nothing from more.
BATCH_SIZE = {"cuda": 64, "cpu": 16}
# Points of the reported maps of a batch by default, at most: an interruption loses a batch, and with 10,000
# draws one of 16 samples takes minutes for small images, hours for large ones.
_REPORTED = 2**13


@dataclass(frozen=True)
class Work:
    """Computes the contents of a pair file.

    Attributes
    ----------
    plan, network, split
        The explanation and the attack, the network, and the split of the dataset.
    chosen
        The index in the split of each position in the file.
    dtype, device
        The type and the device of all computation.
    store_images
        None, "unperturbed", or "all".
    starts
        Finished files of the same samples, from whose perturbed images the attack starts.
    files
        The plans of the files, each with one acceptance. Empty: those of `plan`, one for each acceptance.
    aims
        For each position in the file, the index in the split of the sample whose map the attack aims at.
        None: that of the next position, cyclically, that has another label.
    """

    plan: Plan
    network: nn.Module
    split: Split
    chosen: NDArray[np.int64]
    dtype: torch.dtype
    device: torch.device
    store_images: str | None
    starts: tuple[Path, ...] = ()
    files: tuple[Plan, ...] = ()
    aims: NDArray[np.int64] | None = None

    def check(self) -> None:
        """Explain the first sample, so that what cannot be explained is refused before a file is begun.

        Raises
        ------
        ValueError
            If an explanation has no meaning for the network or the images, or is one's own and depends on
            other samples or on random numbers without seeds; if target_map finds no target, if the attack has
            no direction, or if an image to start from is damaged.
        """
        if self.plan.attack.needs_targets and self.aims is None:
            _next_other(self.split.labels[self.chosen], 0)
        samples = self.chosen[:1]
        self.plan.attack.check(self.network, self._inputs(samples)[0], self.plan.settings)
        for one in {one.text: one for one in (self.plan, *self._files)}.values():
            with self._naming(one):
                one.explain_briefly(samples)(self.network, *self._inputs(samples))
                if is_own(one.name):
                    self._check_alone(one)
        few = self.chosen[:_PROBED]
        self.plan.check_softening(self.network, *self._inputs(few), few)
        for path in self.starts:
            for first in range(0, len(self.chosen), BATCH_SIZE["cpu"]):
                positions = np.arange(len(self.chosen))[first : first + BATCH_SIZE["cpu"]]
                start_images(path, positions, self._inputs(self.chosen[positions])[0])

    def _naming(self, one: Plan) -> AbstractContextManager[None]:
        """Return the context in which errors name the option that asks for the explanation of a file."""
        return nullcontext() if one.text == self.plan.text else in_words_of(one.text)

    def _check_alone(self, plan: Plan) -> None:
        """Refuse an explanation that gives the first sample another map alone than among a few."""
        few = self.chosen[:_PROBED]
        alone, among = (
            plan.explain_briefly(part)(self.network, *self._inputs(part)) for part in (few[:1], few)
        )
        check_alone(alone.detach(), among[:1].detach())

    @property
    def _files(self) -> Sequence[Plan]:
        return self.files or [self.plan.accepting(metric) for metric in self.plan.acceptances] or [self.plan]

    def columns(self, positions: NDArray[np.int64]) -> list[Columns]:
        """Explain and attack the samples at `positions`; return the columns of each file."""
        samples = self.chosen[positions]
        images, labels = self._inputs(samples)
        chunk_size = self.plan.chunk_size or max(len(samples), self._in_one_pass())
        plan = replace(self.plan, chunk_size=chunk_size)
        targets = self._targets(positions, plan) if plan.attack.needs_targets else None
        starts = tuple(start_images(path, positions, images) for path in self.starts)
        found = plan.perturb(self.network, images, labels, samples=samples, targets=targets, starts=starts)
        by_acceptance = dict(zip(plan.acceptances or (None,), found, strict=True))
        shared = {"sample": samples, "label": labels.cpu().numpy()}
        if targets is not None:
            shared["target"] = _numpy(targets)
        if self.store_images:
            shared["image"] = _channels_first(self.split.images[samples])
        unperturbed: dict[str, Columns] = {}
        columns = []
        for one in (replace(one, chunk_size=chunk_size) for one in self._files):
            accepted = by_acceptance[one.acceptances[0] if one.acceptances else None]
            with self._naming(one):
                if one.text not in unperturbed:
                    maps = _maps(one, one.explain(samples))
                    unperturbed[one.text] = before(self.network, maps, images, labels)
                perturbed = self._after(_maps(one, one.explain_perturbed(samples)), images, labels, accepted)
            columns.append({**shared, **unperturbed[one.text], **perturbed})
        return columns

    def _after(self, maps: Explain, images: torch.Tensor, labels: torch.Tensor, found: Found) -> Columns:
        columns = after(self.network, maps, images, labels, found)
        if self.store_images == "all":
            stored = _numpy(found.images)
            columns["image_perturbed"] = stored[:, 0] if stored.shape[1] == 1 else stored
        return columns

    def batch_size(self) -> int:
        """Return the number of samples at a time by default.

        An attack takes the gradient of each map. If the points of all samples do not fit into one pass, each
        is computed twice, once for the map and once for the gradient (see ``mean_over_points``): so there are
        only as many samples as fit, unless not even one does. With thousands of points for a reported map
        there are fewer too, so that an interruption loses little.
        """
        n_reported = sum({one.text: one.n_reported for one in self._files}.values())
        reported = max(1, _REPORTED // n_reported)
        return min(BATCH_SIZE[self.device.type], self._most(), reported)

    def _most(self) -> int:
        """Return the number of samples beyond which points are computed twice, or that of all samples."""
        n_points = self.plan.n_points
        is_computed_again = self.plan.attack.needs_gradient and n_points > 1
        fit = self._in_one_pass() // n_points if is_computed_again else 0
        return min(fit, len(self.chosen)) or len(self.chosen)

    def _in_one_pass(self) -> int:
        """Return the number of images in one pass of the network by default, for small batches."""
        least = BATCH_SIZE[self.device.type]
        return self.plan.chunk_size or max(least, CHUNK // self.split.images[:1].size)

    def fitting_batch_size(self) -> int:
        """Return the batch size for `auto`, tried with attacks of one step."""
        one_step = {"steps": 1} if "steps" in self.plan.settings else {}
        brief = replace(self, plan=replace(self.plan, settings={**self.plan.settings, **one_step}))
        return fitting_batch_size(lambda n: brief.columns(np.arange(n)), self._most(), Memory(self.device))

    def _inputs(self, samples: NDArray[np.int64]) -> tuple[torch.Tensor, torch.Tensor]:
        labels = torch.from_numpy(self.split.labels[samples]).to(self.device)
        return inputs_of(self.split.images[samples], self.dtype, self.device), labels

    def _targets(self, positions: NDArray[np.int64], plan: Plan) -> torch.Tensor:
        """Return, for each position, the map that the attack aims at.

        It explains the label of its sample, with the points and draws inside the attack, whose maps are to
        become like it.
        """
        if self.aims is not None:
            samples = self.aims[positions]
        else:
            labels = self.split.labels[self.chosen]
            samples = self.chosen[[_next_other(labels, position) for position in positions]]
        return abs_sum(plan.explain_inside(samples)(self.network, *self._inputs(samples))).detach()


def _maps(plan: Plan, explain: Explain) -> Explain:
    """Return the function that gives maps where `explain` gives attributions."""

    def maps(network: nn.Module, images: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        return plan.reduce(explain(network, images, labels))

    return maps


def before(network: nn.Module, maps: Explain, images: torch.Tensor, labels: torch.Tensor) -> Columns:
    """Return the maps of the images, the network's output and its predictions."""
    output = _output(network, images)
    return {
        "unperturbed": _numpy(maps(network, images, labels)),
        "prediction": output.argmax(1).cpu().numpy(),
        "output": _numpy(output),
    }


def after(
    network: nn.Module, maps: Explain, images: torch.Tensor, labels: torch.Tensor, found: Found
) -> Columns:
    """Return the same of the images that an attack found, what it says of them, and their distances."""
    output, change = _output(network, found.images), (found.images - images).flatten(1)
    return {
        "perturbed": _numpy(maps(network, found.images, labels)),
        "prediction_perturbed": output.argmax(1).cpu().numpy(),
        "output_perturbed": _numpy(output),
        "n_accepted": found.n_accepted,
        "best_step": found.best_step,
        "perturbation_linf": _numpy(torch.linalg.vector_norm(change, ord=torch.inf, dim=1)),
        "perturbation_l2": _numpy(torch.linalg.vector_norm(change, dim=1)),
    }


def _output(network: nn.Module, images: torch.Tensor) -> torch.Tensor:
    with torch.no_grad():
        logits: torch.Tensor = network(images)
    return logits


def _next_other(labels: NDArray[np.int64], position: int) -> int:
    """Return the next position, cyclically, that has another label."""
    others = np.flatnonzero(labels != labels[position])
    if not len(others):
        raise ValueError("target_map needs samples of two classes: ask for more --samples")
    after = others[others > position]
    return int(after[0] if len(after) else others[0])


def _channels_first(images: NDArray[np.uint8]) -> NDArray[np.uint8]:
    return images if images.ndim == 3 else np.moveaxis(images, -1, 1)


def _numpy(tensor: torch.Tensor) -> NDArray[np.float32]:
    result: NDArray[np.float32] = tensor.detach().cpu().numpy().astype(np.float32)
    return result
