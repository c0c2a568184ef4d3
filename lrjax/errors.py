"""The one exception that means "the input is wrong, and here is what to do"."""


class InputError(ValueError):
    """A user's input cannot be used.

    The message is one sentence that names the file, the field and the remedy; the command line
    prints it on standard error and exits with status 1, so it must read well alone.
    """
