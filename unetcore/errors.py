"""The exceptions that are no bugs: bad input, and a signal that asks to stop."""

from collections.abc import Iterator
from contextlib import contextmanager

BAD_INPUT = 2  # exit code of scripts and of the command line


class InputError(ValueError):
    """A file, value or setting that breaks a rule a user can act on.

    The message is one line that names the file, the value and the rule. Scripts and the command
    line print that line and end with exit code 2; every other exception is a bug and keeps its
    traceback.
    """


class Interrupted(Exception):
    """A signal asked to stop, and what was done so far is kept.

    Parameters
    ----------
    signal : number of the signal, as `signal.SIGTERM`.
    message : one line that says where the work stopped and how it goes on.
    """

    def __init__(self, signal: int, message: str):
        super().__init__(signal, message)
        self.signal = signal

    def __str__(self):
        return self.args[1]

    @property
    def exit_code(self) -> int:
        """What a shell reports of a program that a signal ended: 128 + its number."""
        return 128 + self.signal


@contextmanager
def naming(name: object) -> Iterator[None]:
    """Begin what is refused inside with a name, for instance that of the file it is about."""
    try:
        yield
    except InputError as error:
        raise InputError(f"{name}: {error}") from error


def first_line(error: object) -> str:
    """First line of what an error or a log says; its type where it says nothing."""
    return (str(error).splitlines() or [type(error).__name__])[0]
