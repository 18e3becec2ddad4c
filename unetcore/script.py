"""Call a script's ``main`` from Snakemake's ``script:`` directive or from a shell."""

import errno
import inspect
import logging
import sys
import typing
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import is_dataclass
from pathlib import Path

from unetcore.data.files import FULL_DISK
from unetcore.errors import BAD_INPUT, InputError, Interrupted

logger = logging.getLogger(__name__)

OF_THE_DISK = dict.fromkeys(FULL_DISK, "no space left on the disk") | {
    errno.EROFS: "the disk is read-only",
    errno.EACCES: "no permission",
    errno.EPERM: "not permitted",
}


def run(main: Callable, smk=None, argv: list[str] | None = None, *, keep_log: bool = False):
    """Call ``main`` with what a rule gives it, or with ``--name value`` arguments.

    A rule's named inputs, outputs and params become the keyword arguments of ``main``, so both
    must agree on every name. Paths become ``Path``; a dict becomes the frozen dataclass that
    annotates the parameter. ``threads``, ``wildcards`` and the param ``code`` (the source digest,
    there to make Snakemake rerun the rule) are passed on only if ``main`` asks for them.

    Everything logged goes to stderr and to the rule's log; how errors end is in `one_line_errors`.

    Parameters
    ----------
    main : function whose parameters are annotated.
    smk : the ``snakemake`` object, or None on the command line.
    argv : command line arguments; None takes those of the process.
    keep_log : whether the rule's log goes on after what an earlier attempt has left in it.
    """
    with one_line_errors():
        configure_logging(Path(smk.log[0]) if smk is not None and smk.log else None, keep_log)
        if smk is None:
            import tyro

            return tyro.cli(main, args=argv)
        return main(**_arguments(main, smk))


@contextmanager
def one_line_errors() -> Iterator[None]:
    """End the process with one line where a user can act on what went wrong.

    An `InputError`, a number that is not finite, or a disk that is full, read-only or not
    ours to write ends with one line and exit code 2; several of the first, with a line each.
    `Interrupted` ends with one line and 128 + the number of the signal (143 for SIGTERM): a
    failure, so that Snakemake removes what is half done and `--retries`, or the next call,
    continues. Any other exception is a bug and shows its traceback.
    """
    try:
        yield
    except (
        InputError,
        FloatingPointError,
    ) as error:  # a loss of NaN is the settings' or the data's
        logger.error("%s", error)
        sys.exit(BAD_INPUT)
    except OSError as error:
        if error.errno not in OF_THE_DISK:
            _stop_at_bug()
        logger.error("%s: %s", error.filename or "output", OF_THE_DISK[error.errno])
        sys.exit(BAD_INPUT)
    except Interrupted as stop:
        logger.warning("%s", stop)
        sys.exit(stop.exit_code)
    except ExceptionGroup as group:
        if group.split(InputError)[1] is not None:
            _stop_at_bug()
        for error in group.exceptions:
            logger.error("%s", error)
        sys.exit(BAD_INPUT)
    except Exception:
        _stop_at_bug()


def _stop_at_bug():
    """Show the traceback of the current exception once, on stderr and in the log."""
    logger.exception("this is a bug in the program, not in your input")
    sys.exit(1)


class _LogFile(logging.FileHandler):
    """A log whose disk may become full: what does not fit is on stderr alone."""

    def handleError(self, record):
        """Say nothing of what the disk says; anything else is a bug."""
        if not isinstance(sys.exc_info()[1], OSError):
            super().handleError(record)

    def close(self):
        """Close the file; what is still to be written to it may be lost."""
        with suppress(OSError):
            super().close()


def configure_logging(log_path: Path | None = None, keep_log: bool = False) -> None:
    """Let everything logged go to stderr, and to a file, which may go on after what it holds."""
    handlers = [logging.StreamHandler()]
    if log_path is not None:
        handlers.append(_LogFile(log_path, mode="a" if keep_log else "w"))
    logging.basicConfig(
        level=logging.INFO,
        format="%(asctime)s %(message)s",
        datefmt="%H:%M:%S",
        handlers=handlers,
        force=True,
    )


def _arguments(main, smk):
    given = {k: v for part in (smk.input, smk.output, smk.params) for k, v in part.items()}
    parameters = inspect.signature(main).parameters
    optional = {"threads": smk.threads, "wildcards": dict(smk.wildcards.items())}
    given |= {k: v for k, v in optional.items() if k in parameters}
    if "code" not in parameters:
        given.pop("code", None)
    if unknown := given.keys() - parameters.keys():
        raise TypeError(f"rule {smk.rule} passes {sorted(unknown)}, which its main() does not take")
    hints = typing.get_type_hints(main)
    return {name: _convert(value, hints.get(name)) for name, value in given.items()}


def _convert(value, hint):
    if is_dataclass(hint) and isinstance(value, dict):
        return hint(**value)
    if hint is Path:
        return Path(value)
    if hint == list[Path]:
        return [Path(v) for v in ([value] if isinstance(value, str) else value)]
    if hint == Path | None:
        return Path(value) if value else None
    return value
