"""How commands end: by a signal, wherever it comes."""

import signal
import sys
import time
import weakref
from typing import Any

import pytest

from generators.commands import INTERRUPTED, run


class Thing:
    """Something that a weak reference can be to."""


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_signal_is_heard_even_while_an_object_is_destroyed(number: signal.Signals) -> None:
    """Python ignores exceptions there, and so KeyboardInterrupt as well."""
    passed: list[Thing | None] = []

    def send(reference: "weakref.ref[Thing]") -> None:
        signal.raise_signal(number)

    def work() -> None:
        thing = Thing()
        reference = weakref.ref(thing, send)
        del thing
        time.sleep(10)
        passed.append(reference())

    before = sys.unraisablehook, signal.getsignal(signal.SIGTERM)
    assert run(work) == INTERRUPTED
    assert not passed
    assert (sys.unraisablehook, signal.getsignal(signal.SIGTERM)) == before


def test_other_exceptions_that_python_ignores_are_still_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[Any] = []
    monkeypatch.setattr(sys, "unraisablehook", lambda ignored: seen.append(ignored.exc_type))

    def fail(reference: "weakref.ref[Thing]") -> None:
        raise LookupError

    def work() -> None:
        thing = Thing()
        reference = weakref.ref(thing, fail)
        del thing
        assert reference() is None

    assert run(work) == 0
    assert seen == [LookupError]
