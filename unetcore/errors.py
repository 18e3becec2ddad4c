"""The one exception that stands for bad input, as opposed to a bug."""


class InputError(ValueError):
    """A file, value or setting that breaks a rule a user can act on.

    The message is one line that names the file, the value and the rule. Scripts and the command
    line print that line and end with exit code 2; every other exception is a bug and keeps its
    traceback.
    """
