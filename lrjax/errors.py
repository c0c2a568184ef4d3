"""The one exception that means "the input is wrong, and here is what to do"."""

import difflib
from collections.abc import Iterable


class InputError(ValueError):
    """A user's input cannot be used.

    The message is one sentence that names the file, the field and the remedy; the command line
    prints it on standard error and exits with status 1, so it must read well alone.
    """


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """Return " (did you mean 'x'?)" where one of the known names resembles `name`, else ""."""
    close = difflib.get_close_matches(name, list(known), n=1)
    return f" (did you mean {close[0]!r}?)" if close else ""
