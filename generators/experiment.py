"""Read an experiment: the checkpoints and pair files that a TOML file asks for, in the form of ``sweep``."""

import argparse
import itertools
import json
import re
import tomllib
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from .also import needs_patterns
from .attacks import ATTACKS, OWN_ATTACK, attack_named
from .attacks.strong import STRONG
from .commands import Parser
from .explanations import EXPLANATIONS, OWN_EXPLANATION
from .items import COMMANDS, Item
from .methods import PATTERNS, meaningful, parameters
from .names import is_own, unknown
from .options import fraction
from .regimes import PARAMETERS, REGIMES
from .train_options import parameters_of

# The options in a file's name; others are added only if the experiment varies them.
_NAMED = {
    "train": ("dataset", "model", "training"),
    "generate": ("training", "explanation", "attack", "eps", "severity"),
}
# The option whose plain list is meant for one run.
_ALSO = "also"
# The entry of [[generate]] that is not an option: whether each eps starts from the next smaller one.
_CHAINED = "from_smaller_eps"


def read(path: Path, **instead: str | None) -> list[Item]:
    """Return the items of an experiment in the order in which they must be made.

    Raises
    ------
    ValueError
        If the file does not have the form above, an option has no effect in any combination, or two
        combinations would be written to one file.
    """
    if not path.is_file():
        raise FileNotFoundError(f"{path} does not exist; give a TOML file of the form that --help shows")
    try:
        experiment = tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ValueError(f"{path} is not TOML: {error}") from error
    kinds: dict[str, type] = {"out": str, "common": dict, "train": list, "generate": list, "study": dict}
    for name, value in experiment.items():
        if name not in kinds:
            raise ValueError(f"{path}: unknown entry {name!r}; known: out, [common], [[train]], [[generate]]")
        blocks = value if isinstance(value, list) else [{}]
        if not isinstance(value, kinds[name]) or not all(isinstance(block, dict) for block in blocks):
            raise ValueError(f"{path}: {name!r} must look as in --help, got {value!r}")
    out = Path(instead.get("out") or experiment.get("out", ""))
    if out == Path() and "." not in (instead.get("out"), experiment.get("out")):
        raise ValueError(f'{path} must name the output folder: out = "FOLDER"')
    common = experiment.get("common", {})
    override = {"data": instead["data"]} if instead.get("data") else {}
    try:
        items = [
            item
            for command in COMMANDS
            for block in experiment.get(command, [])
            for item in _block_items(command, {**common, **block, **override}, out)
        ]
        _refuse_shared([file for item in items for file in item.files()])
        _refuse_later([item for item in items if item.command == "train"])
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error
    if not items:
        raise ValueError(f"{path} has neither [[train]] nor [[generate]], so there is nothing to make")
    return items


def _refuse_shared(files: Sequence[Path]) -> None:
    seen: set[Path] = set()
    for file in files:
        if file in seen:
            raise ValueError(f"two combinations would both be written to {file}; make them differ")
        seen.add(file)


def _refuse_later(trainings: Sequence[Item]) -> None:
    """Refuse a training that begins from the weights of itself or of a later one."""
    unmade = {item.out for item in trainings}
    for item in trainings:
        if not unmade.isdisjoint(item.needs):
            raise ValueError(
                f"{item.out} begins from {item.needs[0]}, which is not made before it; let init name the "
                "training of an earlier [[train]]"
            )
        unmade.remove(item.out)


def _block_items(command: str, block: Mapping[str, Any], out: Path) -> Iterator[Item]:
    """Yield one item for each combination of the block's lists, a smaller radius before a larger one."""
    parser = COMMANDS[command].parser()
    grid = _grid(command, block, parser)
    combinations = [
        {name: value for name, value in zip(grid, chosen, strict=True) if value != []}
        for chosen in itertools.product(*grid.values())
    ]
    if command == "train":
        for options in _without_idle(combinations, command, _taken_by_training):
            path = out / "checkpoints" / f"{_stem(command, options, grid)}.pt"
            if options.get("init") in REGIMES:  # that of this experiment
                options["init"] = str(_checkpoint(out, {**options, "training": options["init"]}))
            begun = (Path(options["init"]),) if "init" in options else ()
            yield Item(command, (*_arguments(parser, options), "--out", str(path)), path, begun)
        return
    smaller: dict[str, tuple[Item, float]] = {}  # the item before and its radius, by all options but eps
    for options in _without_idle(combinations, command, _taken_by_attack):
        path = out / f"{_stem(command, options, grid)}.h5"
        options.setdefault("checkpoint", str(_checkpoint(out, options)))
        needs = [Path(options["checkpoint"])]
        start_eps: tuple[float, ...] = ()
        is_chained = options.pop(_CHAINED, False)
        chain = json.dumps([(name, value) for name, value in options.items() if name != "eps"], default=str)
        if is_chained:
            options["store_images"] = "all"
            if chain in smaller:
                before, eps = smaller[chain]
                options["start"] = str(before.out)
                needs, start_eps = [*needs, before.out], (*before.start_eps, eps)
        item = Item(
            command, (*_arguments(parser, options), "--out", str(path)), path, tuple(needs), start_eps
        )
        if is_chained:
            smaller[chain] = item, fraction(str(options["eps"]))
        yield item


def _checkpoint(out: Path, options: Mapping[str, Any]) -> Path:
    """Return the checkpoint of dataset, model and training that this experiment makes."""
    return out / "checkpoints" / f"{_stem('train', options, {})}.pt"


def _grid(command: str, block: Mapping[str, Any], parser: Parser) -> dict[str, list[Any]]:
    """Return the values of each entry of a block.

    Raises
    ------
    ValueError
        If an entry is unknown or empty, or says not clearly what is meant.
    """
    where = f"[[{command}]]"
    entries = [name for name in parser.options if name != "start"]
    known = [*entries, _CHAINED] if command == "generate" else entries
    for name in block:
        if name == "start":
            raise ValueError(f"{where} has no option 'start'; set {_CHAINED} = true")
        if name not in known:
            raise ValueError(f"{where} has no option {name!r}; known: {', '.join(known)}")
    grid = {
        name: _values(name, value, None if name == _CHAINED else parser.n_values(name), where)
        for name, value in block.items()
    }
    if not all(isinstance(value, bool) for value in grid.get(_CHAINED, [])):
        raise ValueError(f"{_CHAINED} in {where} must be true or false, got {block[_CHAINED]!r}")
    return {**grid, **_rising(grid, where)} if True in grid.get(_CHAINED, []) else grid


def _values(name: str, value: Any, n_values: int | str | None, where: str) -> list[Any]:
    """Return the values that an entry spans: a list is a grid, unless the option takes a list itself.

    Of such an option a list of lists is the grid, and a plain list is one value. It is refused where it might
    be meant as a grid.
    """
    values = value if isinstance(value, list) else [value]
    lists = [item for item in values if isinstance(item, list)]
    if name == _ALSO:
        _check_texts(value, where)
    elif not values or [] in lists:
        raise ValueError(f"{name} in {where} is an empty list, so nothing would be made")
    if n_values is None or any(isinstance(item, list) for inner in lists for item in inner):
        if lists:
            raise ValueError(f"{name} in {where} has a list too deep inside another: {value}")
        return values
    if lists:
        return [item if isinstance(item, list) else [item] for item in values]
    if n_values == "+" and len(values) > 1 and name != _ALSO:  # no explanation needs a run of its own
        each = [[item] for item in values]
        raise ValueError(
            f"{name} in {where} may be a list for one file or a list of one value for each of {len(values)} "
            f"files: write {json.dumps([values])} for the one, {json.dumps(each)} for the other"
        )
    return [values]


def _check_texts(value: Any, where: str) -> None:
    """Refuse what is neither texts of ``--also``, nor lists of them; an empty list among others is none."""
    if value == []:
        raise ValueError(f"{_ALSO} in {where} is an empty list; remove it, or write {_ALSO} = [[], [...]]")
    outer = value if isinstance(value, list) else [value]
    if not all(
        isinstance(text, str) for item in outer for text in (item if isinstance(item, list) else [item])
    ):
        got = json.dumps(value, default=str)
        raise ValueError(f'{_ALSO} in {where} must be texts such as "beta_smooth(beta=0.8)", got {got}')


def _rising(grid: Mapping[str, list[Any]], where: str) -> dict[str, list[Any]]:
    """Return the radii of a block in which each starts from the next smaller one, in rising order.

    Raises
    ------
    ValueError
        If there is one radius, or the same twice, or an entry is no radius, or images are not to be stored.
    """
    try:
        by_radius = {fraction(str(eps)): eps for eps in grid.get("eps", [])}
    except argparse.ArgumentTypeError as error:
        raise ValueError(f"eps in {where} {error}") from error
    if len(by_radius) < 2 or len(by_radius) < len(grid["eps"]):
        raise ValueError(f"{_CHAINED} in {where} needs several eps, each once, got {grid.get('eps', 'none')}")
    if grid.get("store_images", ["all"]) != ["all"]:
        raise ValueError(f'{_CHAINED} in {where} needs store_images = "all", which it sets if there is none')
    return {"eps": [by_radius[radius] for radius in sorted(by_radius)]}


def _without_idle(
    combinations: Sequence[dict[str, Any]], command: str, taken_by: Callable[[Mapping[str, Any]], set[str]]
) -> list[dict[str, Any]]:
    """Return each combination with those parameters that it takes; combinations that become equal are one."""
    known_parameters = (
        {*parameters(), _CHAINED, PATTERNS}
        if command == "generate"
        else {name for names in PARAMETERS.values() for name in names}
    )
    kept: list[dict[str, Any]] = []
    for position, options in enumerate(combinations):
        taken = taken_by(options)
        used = {n: value for n, value in options.items() if n not in known_parameters or n in taken}
        if used not in kept or options in combinations[:position]:  # the same twice is refused later
            kept.append(used)
    idle = [name for name in combinations[0] if not any(name in options for options in kept)]
    if idle:
        raise ValueError(f"{idle[0]} has no effect in any combination of this [[{command}]]; remove it")
    return kept


def _taken_by_training(options: Mapping[str, Any]) -> set[str]:
    """Return the parameters that the regime takes."""
    return set(parameters_of(str(options.get("dataset")), _chosen("training", options, PARAMETERS)))


def _taken_by_attack(options: Mapping[str, Any]) -> set[str]:
    """Return the parameters that explanation and attack take."""
    explanation = _chosen("explanation", options, EXPLANATIONS, OWN_EXPLANATION)
    attack = _chosen("attack", options, ATTACKS, OWN_ATTACK)
    taken = meaningful(explanation, attack, options.get("base"))
    if any(needs_patterns(str(text)) for text in options.get(_ALSO, [])):
        taken.add(PATTERNS)
    return taken | ({_CHAINED} if attack_named(attack).takes_starts else set())


def _chosen(name: str, options: Mapping[str, Any], allowed: Collection[str], own: str = "") -> str:
    value = str(options.get(name))
    if value in allowed or (own and is_own(value)):
        return value
    raise ValueError(f"{name}: {unknown(value, allowed, own)}")


def _stem(command: str, options: Mapping[str, Any], grid: Mapping[str, Sequence[Any]]) -> str:
    """Return the name of a file: what it is, and what differs in its block."""
    words = [_word(options[name]) for name in _NAMED[command] if name in options]
    if command == "generate":  # beside published settings of another block
        words += [STRONG.name] * bool(options.get(STRONG.name))
    varied = [name for name in options if len(grid.get(name, ())) > 1]
    unnamed = (*_NAMED[command], STRONG.name)
    return "-".join(words + [f"{name}={_word(options[name])}" for name in varied if name not in unnamed])


def _word(value: object) -> str:
    """Return a value as a file's name may have it on every system: without slashes and colons."""
    if isinstance(value, list):
        return ",".join(map(_word, value))
    return str(value).lower() if isinstance(value, bool) else re.sub("[/:\\\\]", "_", str(value))


def _arguments(parser: Parser, options: Mapping[str, Any]) -> Iterator[str]:
    for name, value in options.items():
        yield from parser.words(name, value)
