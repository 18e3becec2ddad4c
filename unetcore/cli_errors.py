"""What a user of the command line can act on, in one line; bugs keep their traceback."""

import errno
import os
from contextvars import copy_context

import typer
from typer.core import TyperGroup

from unetcore.data.files import FULL_DISK
from unetcore.errors import BAD_INPUT, InputError

IS_FIRST = os.environ.get("RANK", "0") == "0"  # of torchrun's processes one is enough to read
USERS_OS_ERRORS = (  # of outputs that cannot be written
    errno.EACCES,
    errno.EEXIST,
    errno.EISDIR,
    errno.ENOENT,
    errno.ENOTDIR,
    errno.EPERM,
    errno.EROFS,
    *FULL_DISK,
)


OF_ALL_COMMANDS = ("--quiet", "-q")


class OneLinePerProblem(TyperGroup):
    """Commands that end with exit code 2 where a user can act on what went wrong."""

    def parse_args(self, ctx, args):
        """Read the arguments; those of all commands may stand anywhere, as users expect it."""
        here, after = _parted(args, "--")
        of_all = [word for word in here if word in OF_ALL_COMMANDS]
        return super().parse_args(ctx, of_all + [w for w in here if w not in of_all] + after)

    def invoke(self, ctx):
        """Run the command; each problem is a line on stderr."""
        try:
            # What a call sets for itself, as quiet, ends with it.
            return copy_context().run(super().invoke, ctx)
        except (
            typer.BadParameter,
            InputError,
            FloatingPointError,  # a loss of NaN is the settings' or the data's
            OSError,
            ExceptionGroup,
        ) as error:
            lines = _problems(error)
            if not lines:
                raise
            for line in lines if IS_FIRST else ():
                typer.echo(f"error: {line}", err=True)
            if "RANK" in os.environ:
                from unetcore.distributed import tell_torchrun

                tell_torchrun(error)
        raise typer.Exit(BAD_INPUT)


def _parted(words: list[str], mark: str) -> tuple[list[str], list[str]]:
    """Words before a mark, and the mark with the words behind it."""
    k = words.index(mark) if mark in words else len(words)
    return words[:k], words[k:]


def _problems(error: Exception) -> list[str]:
    """What a user can act on, one line each; none if the error is a bug."""
    if isinstance(error, typer.BadParameter):
        return [error.format_message()]
    if isinstance(error, OSError):
        known = error.errno in USERS_OS_ERRORS
        file = error.filename2 or error.filename or "output"  # the second of two is the target
        return [f"{file}: {error.strerror.lower()}"] if known else []
    if isinstance(error, FloatingPointError):
        return [str(error)]
    errors = error.exceptions if isinstance(error, ExceptionGroup) else [error]
    return [str(e) for e in errors] if all(isinstance(e, InputError) for e in errors) else []
