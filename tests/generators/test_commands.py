"""How commands end: by a signal, wherever it comes."""

import signal
import weakref

import pytest

from generators.commands import INTERRUPTED, Parser, run, stop_if_interrupted
from generators.options import fraction


class Thing:
    """Something that a weak reference can be to."""


def lose(number: signal.Signals) -> None:
    """Send a signal while an object is destroyed, where Python ignores the exception that it raises."""
    thing = Thing()
    reference = weakref.ref(thing, lambda _: signal.raise_signal(number))
    del thing
    assert reference() is None


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_signal_that_python_ignores_is_heard_where_work_can_stop(number: signal.Signals) -> None:
    reached: list[str] = []
    before = [signal.getsignal(known) for known in (signal.SIGTERM, signal.SIGINT)]

    def work() -> None:
        stop_if_interrupted()
        lose(number)
        reached.append("the end of the batch")
        stop_if_interrupted()
        reached.append("the next batch")

    assert run(work) == INTERRUPTED
    assert reached == ["the end of the batch"]
    assert [signal.getsignal(known) for known in (signal.SIGTERM, signal.SIGINT)] == before
    assert run(stop_if_interrupted) == 0  # the next command has not been interrupted


@pytest.mark.parametrize("value", ["-8/255", "-1e-3", "-0.1"])
def test_a_negative_value_is_refused_as_a_value(value: str) -> None:
    parser = Parser(prog="x", description=None)
    parser.add_argument("--eps", type=fraction)
    assert parser.parse_args(["--eps", value]).eps < 0
    with pytest.raises(ValueError, match=r"unrecognized arguments: --neps"):
        parser.parse_args(["--neps", "3"])


@pytest.mark.parametrize(("continues", "end"), [(True, "again to continue"), (False, "begins anew")])
def test_an_interruption_says_whether_the_command_continues(
    continues: bool, end: str, capsys: pytest.CaptureFixture[str]
) -> None:
    def stopped() -> None:
        raise KeyboardInterrupt

    assert run(stopped, continues=continues) == INTERRUPTED
    assert capsys.readouterr().err.endswith(f"{end}\n")


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_signal_at_the_very_end_is_heard() -> None:
    """So that a sweep does not begin its next file."""
    assert run(lambda: lose(signal.SIGTERM)) == INTERRUPTED
