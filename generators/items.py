"""A file of an experiment and how it is made: a checkpoint, or a pair file with those beside it."""

from collections.abc import Callable, Container, Sequence
from dataclasses import dataclass
from pathlib import Path

from . import generate, train
from .disk import check_name
from .identity import refuse_other
from .networks import checkpoints
from .networks.words import WORDS
from .request import NOT_STARTED, Request, started_from

COMMANDS = {"train": train, "generate": generate}


@dataclass(frozen=True)
class Item:
    """A checkpoint or a pair file, with those of its other acceptances, and how it is made.

    Attributes
    ----------
    command, arguments
        The command that makes it, and its arguments.
    out
        The file, or that of the first acceptance.
    needs
        The files from which it is made.
    start_eps
        The radii in which its attack looks before, smallest first; it starts from what the last one found.
    """

    command: str
    arguments: tuple[str, ...]
    out: Path
    needs: tuple[Path, ...] = ()
    start_eps: tuple[float, ...] = ()

    def files(self) -> list[Path]:
        """Return the files that are made.

        Raises
        ------
        ValueError
            If an option is wrong.
        """
        if self.command == "train":
            return [self.out]
        request = Request.parse(self.arguments)
        return list(request.files(request.plan()))

    def missing(self, made_here: Container[Path]) -> list[Path]:
        """Check the options and return those of the files that do not exist, made with the same settings.

        Raises
        ------
        OSError
            If a file cannot have its name.
        ValueError
            If an option is wrong, a file was made with other settings or from other weights, or the weights
            neither exist nor are `made_here`.
        """
        remedy = "move it away, or choose another out"
        if self.command == "train":
            training = train.Request.parse(self.arguments)
            wanted, defaults = training.identity(), training.defaults()
            self._check_places(training)
            self._check_weights(self.needs, made_here)
            if self.out.exists():
                refuse_other(self.out, checkpoints.identity(self.out), wanted, defaults, remedy=remedy)
            return [] if self.out.exists() else [self.out]
        request = Request.parse(self.arguments)
        plan = request.plan()
        weights = Path(request.checkpoint)
        self._check_weights([weights] if str(weights) not in WORDS else [], made_here)
        self._check_places(request)
        start = started_from(self.start_eps, plan) if self.start_eps else NOT_STARTED
        return request.missing(plan, remedy=remedy, start=start)

    def _check_weights(self, files: Sequence[Path], made_here: Container[Path]) -> None:
        for path in files:
            if path not in made_here and not path.is_file():
                raise ValueError(
                    f"{self.out} needs {path}, which does not exist and which no [[train]] makes"
                )

    def _check_places(self, request: train.Request | Request) -> None:
        for path in self.files():
            check_name(path)
        if not request.data.exists() and not request.download:
            raise ValueError(f"{request.data}, the data folder of {self.out}, does not exist")

    def make(self) -> int:
        """Run the command and return its exit status."""
        command: Callable[[Sequence[str]], int] = COMMANDS[self.command].main
        return command(self.arguments)
