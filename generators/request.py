"""The pair files that a command line asks for, and what is recorded in them."""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np

from . import pairfiles
from .also import with_also
from .commands import command_line, find_dataset, use_device, versions
from .datasets import described, image_shape
from .explanations import INDEPENDENT_DRAWS, certificate_facts
from .explanations.captums import PREFIX
from .identity import as_stored, refuse_other
from .methods import parameters
from .networks import checkpoints, words
from .pattern_files import beside, refuse_other_patterns
from .plan import ATTACKED, Plan, plan
from .request_options import options_parser

# What a pair file records of a smaller ball if its attack started at the images. See ``started_from``.
NOT_STARTED: Mapping[str, Any] = {"start_eps": None, "start_eps_before": None, "start_acceptance": None}
# Options that affect how the file is computed, not its content; they are not recorded.
NOT_RECORDED = ("batch_size", "chunk_size", "download")


@dataclass(frozen=True)
class Request:
    """The pair files that are asked for: the values of the command's options.

    `parameters` holds those of the explanation and the attack that were given; all others have the names of
    the options. `batch_size` is "auto", or None for the default of the device.
    """

    dataset: str
    data: Path
    download: bool
    image_size: int | None
    model: str
    device: str
    seed: int
    checkpoint: str
    training: str | None
    explanation: str
    attack: str
    also: Sequence[str]
    samples: int
    dtype: str
    batch_size: int | str | None
    chunk_size: int | None
    store_images: str | None
    start: Path | None
    patterns: Path | None
    out: Path
    parameters: Mapping[str, Any]

    @classmethod
    def parse(cls, arguments: Sequence[str] | None, description: str | None = None) -> "Request":
        """Read the command line; `description` is shown by ``--help``.

        Raises
        ------
        ValueError
            If an option is unknown, missing or wrong.
        """
        values = vars(options_parser(description).parse_args(arguments))
        find_dataset(values)
        given = {name: values[name] for name in parameters() if values[name] is not None}
        own = {field.name: values[field.name] for field in fields(cls) if field.name != "parameters"}
        return cls(**own, parameters=given)

    def plan(self) -> Plan:
        """Return the explanation and the attack with all their parameters.

        Raises
        ------
        ValueError
            If they do not go together, or a parameter is missing, out of range, or has no effect.
        """
        attacked = plan(
            self.explanation,
            self.attack,
            dataset=self.dataset,
            model=self.model,
            given=self.parameters,
            seed=self.seed,
            chunk_size=self.chunk_size,
        )
        found = with_also(attacked, self.also, self.attack)
        if not found.needs_patterns and self.patterns is not None:
            also = f"and --also {' '.join(self.also)}, none of which needs any" * bool(self.also)
            named = f"{self.explanation} {also}" if also else f"{self.explanation}, which needs none"
            raise ValueError(f"--patterns has no effect with --explanation {named}; remove it")
        if found.needs_patterns and self.patterns_file is None:
            raise ValueError(
                f"--patterns must be given with --checkpoint {self.checkpoint}, which is no file that they "
                "could lie beside"
            )
        return found

    @property
    def patterns_file(self) -> Path | None:
        """The file of patterns: as given, or that beside the checkpoint; None if there can be none."""
        return self.patterns or beside(self.checkpoint)

    def files(self, found: Plan) -> dict[Path, Plan]:
        """Return the files that are written, each with the plan that would write it alone.

        There is a file for each acceptance: FILE.h5 for the first, FILE-ACCEPTANCE.h5 for the others. An
        attack without acceptance has one file. Beside each of them, FILE-EXPLANATION.h5 has the maps of each
        further explanation.

        Raises
        ------
        ValueError
            If two files would have one name.
        """
        main = self.main_files(found).items()
        files = [(path, one, f"--acceptance {', '.join(one.acceptances)}") for path, one in main]
        files += [
            (_beside(path, one.text), one, f"--also {one.text}") for path, alone in main for one in alone.also
        ]
        _refuse_shared((path, option) for path, _, option in files)
        return {path: one for path, one, _ in files}

    def main_files(self, found: Plan) -> dict[Path, Plan]:
        """Return those of the files whose maps are of --explanation."""
        if not found.acceptances:
            return {self.out: found}
        first, *others = found.acceptances
        files = {self.out: found.accepting(first)}
        return files | {_beside(self.out, metric): found.accepting(metric) for metric in others}

    def missing(self, found: Plan, *, remedy: str, start: Mapping[str, Any] = NOT_STARTED) -> list[Path]:
        """Return those of the files that do not exist; `start` is what ``started_from`` returns.

        Raises
        ------
        ValueError
            If a file exists that was made with other settings or from other weights.
        """
        missing = []
        for path, alone in self.files(found).items():
            if not path.exists():
                missing.append(path)
                continue
            self.check_finished(path, {**condition(self, alone), **start}, alone.defaults, remedy=remedy)
        return missing

    def check_finished(
        self, path: Path, wanted: Mapping[str, Any], defaults: Mapping[str, Any], *, remedy: str
    ) -> None:
        """Refuse a finished file that was made with other settings than `wanted`, or from other weights.

        Raises
        ------
        ValueError
            If it was.
        """
        stored = pairfiles.stored_settings(path)
        shape = image_shape(self.dataset, self.data, self.image_size)
        wanted = {**wanted, "samples": self.samples, "shape": list(shape)}
        if self.training is None:  # as the weights say
            del wanted["training"]
        if self.store_images is not None:
            stored["store_images"] = pairfiles.stored_images(path)
            wanted["store_images"] = self.store_images
        refuse_other(path, stored, wanted, defaults, remedy=remedy)
        if self.checkpoint != words.TORCHVISION and self._sha256() != stored.get("checkpoint_sha256"):
            raise ValueError(f"{path} was made from other weights than {self.checkpoint} holds now; {remedy}")
        refuse_other_patterns(path, stored, self.patterns_file, remedy=remedy)

    def _sha256(self) -> str | None:
        """Return the hash of the weights as they are now, None if there is no file."""
        if self.checkpoint == words.FACTORY:
            return words.factory_sha256(self.model, described(self.dataset, self.data).n_classes)
        path = Path(self.checkpoint)
        return checkpoints.sha256(path) if path.is_file() else None


def _beside(path: Path, word: str) -> Path:
    """Return the path of a file beside another one, with a word more in its name."""
    ending = ".h5" * path.name.endswith(".h5")
    return path.with_name(f"{path.name.removesuffix(ending)}-{re.sub('[/:]', '_', word)}{ending}")


def _refuse_shared(files: Iterable[tuple[Path, str]]) -> None:
    """Refuse files, each with the option that asks for it, of which one would replace another."""
    seen: dict[str, tuple[Path, str]] = {}
    for path, option in files:
        other, before = seen.setdefault(str(path).casefold(), (path, option))
        if before != option:
            where = " where upper and lower case are the same" * (other != path)
            raise ValueError(
                f"{before} and {option} would both be written to {path}{where}; rename one of the functions, "
                "or give the two in runs with another --out"
            )


def training_of(known: str | None, given: str | None) -> str:
    """Return how the network was trained: as its checkpoint says, or as the option --training does.

    Raises
    ------
    ValueError
        If the two contradict each other.
    """
    if known is not None and given not in (None, known) and not str(given).startswith(f"{known}-"):
        raise ValueError(
            f"--training {given}: the checkpoint says {known}; remove the option, or give {known}, or "
            f"{known}- and what distinguishes it from others of this regime, as in {known}-weight=1.0"
        )
    return given or known or "natural"


def started_from(eps: Sequence[float], found: Plan) -> dict[str, Any]:
    """Return what a pair file records of the smaller balls in which its images were first looked for.

    Parameters
    ----------
    eps
        Their radii, smallest first; the attack started at the images found in the last one.
    found
        The plan; if it has several acceptances, the attack tried what was found by each.
    """
    metrics = found.acceptances
    return {
        "start_eps": eps[-1],
        "start_eps_before": as_stored(list(eps[:-1])) if len(eps) > 1 else None,
        "start_acceptance": as_stored(metrics) if len(metrics) > 1 else None,
    }


def condition(request: Request, alone: Plan) -> dict[str, Any]:
    """Return the attributes of the condition under which the maps are made.

    None are the training if it is not given, and flags that are not set.
    """
    return {
        "dataset": request.dataset,
        "model": request.model,
        "training": request.training,
        "explanation": alone.name,
        "attack": request.attack,
        ATTACKED: None,
        "eps": np.nan,
        "eps_norm": alone.attack.norm,
        INDEPENDENT_DRAWS.name: None,
        **{name: as_stored(value) for name, value in alone.used.items()},
        "seed": request.seed,
        "dtype": request.dtype,
    }


def attributes(
    request: Request,
    facts: Mapping[str, Any],
    alone: Plan,
    path: Path,
    start: Mapping[str, Any],
    image_shape: Sequence[int],
) -> dict[str, Any]:
    """Return the attributes of a pair file: the condition, facts about the weights, and how it was made.

    `image_shape` is that of the network's input (channel, height, width).
    """
    known = ("natural_accuracy", "pgd_accuracy", "accuracy_samples")
    settings = {**condition(request, alone), **start}
    reduction = alone.reported.get("reduction")
    found = request.plan()
    explanations = [alone, found] if alone.attacked else [alone]
    more = ["captum"] if any(one.name.startswith(PREFIX) for one in explanations) else []
    has_patterns = any(one.explanation.needs_patterns for one in explanations)
    return {
        **{name: value for name, value in settings.items() if value is not None},
        **(certificate_facts(image_shape, reduction) if reduction is not None else {}),
        "training": facts["training"],
        **{name: facts[name] for name in known if name in facts},
        **({"patterns_sha256": facts["patterns_sha256"]} if has_patterns else {}),
        "checkpoint_sha256": facts["sha256"],
        "versions": versions(*more),
        "command": recorded_command(request, alone, path),
    }


def recorded_command(request: Request, alone: Plan, path: Path) -> str:
    """Return the command that makes this file again, defaults included.

    The maps of a further explanation come with those that were attacked, so both files are made.
    """
    names = [field.name for field in fields(request) if field.name != "parameters"]
    own = {name: getattr(request, name) for name in names if name not in NOT_RECORDED}
    found = request.plan()
    main, also = alone, None
    if alone.attacked:
        mains = request.main_files(found).items()
        path, main = next((file, one) for file, one in mains if one.acceptances == alone.acceptances)
        also = [alone.text]
    used = {name: main.used[name] for name in parameters() if name in main.used}
    has_patterns = main.explanation.needs_patterns or alone.explanation.needs_patterns
    recorded = {
        **own,
        "explanation": main.name,
        "also": also,
        "patterns": request.patterns if has_patterns else None,
        "out": path,
        **used,
        "device": use_device(request.device).type,
    }
    if request.start is not None:  # what was found by the other acceptances was a start as well
        recorded |= {"out": request.out, "acceptance": found.acceptances}
    return command_line("generators.generate", recorded | {"no_on_logits": used.get("on_logits") is False})
