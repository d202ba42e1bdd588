"""The parser of a subcommand: options with several values do not swallow the names of files."""

import argparse
import re
import sys
from collections.abc import Iterable
from typing import Any

from .arguments import is_there, matching

_TABLES = (".parquet", ".csv", ".csv.gz")
# What is no name of a file although it has a slash, unless a file has this name.
_FRACTION = re.compile(r"[\d.]+/-?[\d.]+")
_NEGATIVE = re.compile(r"-\d+|-\d*\.\d+")


class CommandParser(argparse.ArgumentParser):
    """A parser that takes files and options in any order.

    argparse gives all words that follow an option with several values to the option, and all files have
    to stand together. This parser moves the files to the front first. Which word after such an option is
    a file follows from the word, from what the option accepts and from what exists:

    * Where the command reads a table, a name that ends like one is a file, and nothing else.
    * Otherwise a file is a name that ends in ``.h5``, one with a slash that exists or a pattern that
      matches, unless the option accepts only words of another form. A word that it does not accept is a
      file if it looks like one.
    * If the command would lack its files, the last words that exist are files.

    What follows a file is a file, up to the next option.
    """

    def parse_known_args(
        self, args: Iterable[str] | None = None, namespace: Any = None
    ) -> tuple[Any, list[str]]:
        """Parse the words, the files among them first."""
        return super().parse_known_args(self._files_first(sys.argv[1:] if args is None else args), namespace)

    def _files_first(self, words: Iterable[str]) -> list[str]:
        files: list[str] = []
        options: list[list[str]] = []  # each with its values
        several: list[list[str]] = []  # those that take any number of values
        rest = list(words)
        while rest:
            word = rest.pop(0)
            if word == "--":
                files += rest
                break
            if not self._is_option(word):
                files.append(word)
                continue
            option = [word]
            options.append(option)
            action, has_value = self._action(word)
            if action is None or has_value or action.nargs == 0:
                continue
            n_next = next((i for i, other in enumerate(rest) if self._is_option(other)), len(rest))
            if action.nargs in ("+", "*", "?"):
                n_values = next((i for i in range(n_next) if self._is_file(rest[i], action)), n_next)
                several.append(option)
                n_values = min(n_values, 1) if action.nargs == "?" else n_values
            else:
                n_values = min(n_next, action.nargs if isinstance(action.nargs, int) else 1)
            option += rest[:n_values]
            del rest[:n_values]
        if not files and self._arguments():
            for option in several:
                n_values = len(option)
                while n_values > 2 and is_there(option[n_values - 1]):
                    n_values -= 1
                files += option[n_values:]
                del option[n_values:]
        if "" in files:  # as a path, it would be the current folder
            self.exit(2, "lensmetrics: the name of a file is empty: name it, or write . for this folder\n")
        typed = [word for option in options for word in option]
        if any(file.startswith("-") for file in files):
            return [*typed, "--", *files]
        return [*files, *typed]

    def _arguments(self) -> list[argparse.Action]:
        return [action for action in self._actions if not action.option_strings]

    def _is_option(self, word: str) -> bool:
        """Return whether argparse reads a word as an option, known or not."""
        if self._action(word)[0] is not None or word == "--":
            return True
        return word[:1] == "-" and len(word) > 1 and " " not in word and not _NEGATIVE.fullmatch(word)

    def _action(self, word: str) -> tuple[argparse.Action | None, bool]:
        """Return which option a word is, None for no known one, and whether its value is part of the word."""
        known = {name: action for action in self._actions for name in action.option_strings}
        name, equals, _ = word.partition("=")
        if name in known:
            return known[name], bool(equals)
        if word[:2] == "--":
            begun = {id(action): action for full, action in known.items() if full.startswith(name)}
            if len(begun) == 1 and len(name) > 2:
                return next(iter(begun.values())), bool(equals)
        elif word[:2] in known:
            return known[word[:2]], True
        return None, False

    def _is_file(self, word: str, action: argparse.Action) -> bool:
        """Return whether a word after an option with several values is a file instead."""
        if any(positional.metavar == "TABLE" for positional in self._arguments()):
            return word.endswith(_TABLES)
        has_folder = "/" in word or "\\" in word
        there = is_there(word)
        if not _accepts(action, word):
            looks_like_one = re.match(r"[^=]*([/\\]|\.[A-Za-z])", word) and not _FRACTION.fullmatch(word)
            return there or bool(looks_like_one)
        if word.endswith(".h5") and (action.type is None or "=" not in word):
            return True
        return (has_folder and there) or bool(matching(word))


def _accepts(action: argparse.Action, word: str) -> bool:
    """Return whether an option accepts a word as a value."""
    if action.choices is not None:
        return word in action.choices
    if not callable(action.type):
        return True
    try:
        action.type(word)
    except (argparse.ArgumentTypeError, TypeError, ValueError):
        return False
    return True
