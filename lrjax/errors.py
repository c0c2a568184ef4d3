"""The one exception that means "the input is wrong, and here is what to do"."""

import difflib
from collections.abc import Iterable


class InputError(ValueError):
    """A user's input cannot be used.

    The message is one sentence that names the file, the field and the remedy; the command line
    prints it on standard error and exits with status 1, so it must read well alone. What it quotes
    of a file is made printable.
    """

    def __init__(self, message: str) -> None:
        super().__init__(printable(message))


def printable(text: str) -> str:
    r"""Escape what cannot be shown, such as what a terminal would obey, or half a character.

    >>> printable("a\x1b[2J\n")
    'a\\x1b[2J\\n'
    """
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """Return " (did you mean 'x'?)" where one of the known names resembles `name`, else ""."""
    close = difflib.get_close_matches(name, list(known), n=1)
    return f" (did you mean {close[0]!r}?)" if close else ""
