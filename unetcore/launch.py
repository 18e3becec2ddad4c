"""A function in several processes of this machine, by torchrun's own engine."""

import logging
import logging.handlers
import os
import pickle
import signal
import threading
import time
import traceback
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from multiprocessing import Pipe
from multiprocessing.connection import Connection
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from torch.distributed.elastic.multiprocessing import DefaultLogsSpecs, SignalException
from torch.distributed.elastic.multiprocessing.errors import (
    ChildFailedError,
    ProcessFailure,
)
from torch.distributed.launcher.api import LaunchConfig, elastic_launch

from unetcore.distributed import Processes, own_processes, under_torchrun
from unetcore.errors import InputError, Interrupted
from unetcore.stopping import SIGNALS

logger = logging.getLogger(__name__)

T = TypeVar("T")
TIME_TO_SAVE = 300  # seconds from a signal to SIGKILL
POLL = 1  # seconds between two looks at the launching process
NO_BUGS = (InputError, FloatingPointError, Interrupted)  # what they say is enough


def launch(
    function: Callable[..., T],
    kwargs: dict[str, Any],
    n: int,
    *,
    threads: int = 1,
    report: Callable[..., None] | None = None,
) -> T:
    """Call a function in several processes of this machine, by torchrun's own engine.

    What the first process logs is logged here; the others log nothing but errors. The signals of
    `unetcore.stopping` reach all of them through this process, and they have five minutes to save.
    They are told to stop when this process is killed.

    Parameters
    ----------
    function : of a module that can be imported; joins the others by `processes`.
    kwargs : its arguments, which can be pickled.
    n : number of processes; 1 calls the function here.
    threads : of torch in each process that is launched.
    report : passed on to the function by this name: what the first process calls it with arrives
        here, in another thread; the calls of the others do nothing.

    Returns
    -------
    result of the first process.

    Raises
    ------
    InputError : less than one process, or this process is one of torchrun's.
    Interrupted : a signal came.
    Exception : what the process raised that failed first; of a bug, a note holds the traceback.
    RuntimeError : a process ended without an error of its own, as when memory runs out.
    """
    if n < 1:
        raise InputError(f"{n} processes: need at least 1")
    if n == 1:
        return function(**kwargs, **({} if report is None else {"report": report}))
    if under_torchrun():
        raise InputError(f"{n} processes in each process of torchrun: give the number to one only")
    levels = {name: logging.getLogger(name).level for name in ("", "unetcore")}
    with (
        TemporaryDirectory(prefix="unetcore-") as folder,
        _listening(report) as wire,
        _handlers_kept(),
        _engine_silenced(),
    ):
        return _run(
            _Call(function, kwargs, threads, report is not None, Path(folder), wire, levels), n
        )


@dataclass(frozen=True)
class _Call:
    """What each launched process is given.

    Attributes
    ----------
    function, kwargs, threads : see `launch`.
    reports : whether the function takes a `report`.
    folder : takes up the error of a process that fails.
    wire : connection by which the first process speaks to the one that launched it.
    levels : of the loggers that decide what it says, by name.
    """

    function: Callable
    kwargs: dict[str, Any]
    threads: int
    reports: bool
    folder: Path
    wire: Connection
    levels: dict[str, int]


def _run(call: _Call, n: int):
    """Launch the processes, and wait for what comes of them."""
    config = LaunchConfig(
        min_nodes=1,
        max_nodes=1,
        nproc_per_node=n,
        run_id=uuid.uuid4().hex,
        rdzv_backend="c10d",
        rdzv_endpoint="localhost:0",  # any port that is free
        local_addr="localhost",
        max_restarts=0,
        logs_specs=DefaultLogsSpecs(log_dir=str(call.folder)),
        signals_to_handle=",".join(each.name for each in _heeded_signals()),
        shutdown_timeout=TIME_TO_SAVE,
    )
    try:
        return elastic_launch(config, _work)(call)[0]
    except SignalException as stop:
        error = _first_error(call.folder)
        if isinstance(error, Interrupted):
            raise error from None
        name = signal.Signals(stop.sigval).name
        raise Interrupted(int(stop.sigval), f"{name} stopped all {n} processes") from error
    except ChildFailedError as failed:
        error = _first_error(call.folder)
        if error is None or _is_loss_of_another(error):
            raise RuntimeError(_describe_end(*failed.get_first_failure(), n)) from error
        raise error from None


def _work(call: _Call):
    """Do the part of one launched process."""
    own, done = own_processes(), threading.Event()
    threading.Thread(target=_end_with, args=(os.getppid(), done), daemon=True).start()
    torch.set_num_threads(call.threads)
    if own.is_first:
        speaker = _Speaker(call.wire)
        logging.getLogger().addHandler(speaker)
        for name, level in call.levels.items():
            logging.getLogger(name).setLevel(level)
        report = speaker.report
    else:
        call.wire.close()
        logging.disable(logging.WARNING)
        report = _ignore
    try:
        result = call.function(**call.kwargs, **({"report": report} if call.reports else {}))
    except Exception as error:
        _keep_error(error, call.folder, own)
        raise SystemExit(1) from None
    finally:
        done.set()
    return result if own.is_first else None


def _end_with(launcher: int, done: threading.Event) -> None:
    """End this process when the one that launched it has gone, and the work is saved or done.

    Torch asks it to stop by SIGINT then. But a process whose work is done waits for the other to
    read what came of it, for ever.
    """
    while os.getppid() == launcher:
        time.sleep(POLL)
    done.wait(TIME_TO_SAVE)
    os._exit(1)


def _ignore(*args) -> None:
    """Take a report of a process that is not the first."""


def _keep_error(error: Exception, folder: Path, own: Processes) -> None:
    """Write an error and its time where the process that launched this one looks for it."""
    now = time.time_ns()
    if not isinstance(error, NO_BUGS):
        error.add_note(f"In process {own.rank} of {own.size}:\n{traceback.format_exc()}")
    try:
        content = pickle.dumps((now, error))
        pickle.loads(content)
    except Exception:  # of a class that does not survive it
        content = pickle.dumps(
            (now, RuntimeError("\n".join([str(error), *getattr(error, "__notes__", [])])))
        )
    partial = folder / f"{own.rank}.partial"
    partial.write_bytes(content)
    partial.rename(folder / f"{own.rank}.error")


def _first_error(folder: Path) -> Exception | None:
    """Error of the process that failed first; those of the others follow from it."""
    errors = [pickle.loads(path.read_bytes()) for path in folder.glob("*.error")]
    return min(errors, key=lambda entry: entry[0])[1] if errors else None


def _is_loss_of_another(error: Exception) -> bool:
    """Whether an error only says that another process is gone."""
    return isinstance(error, dist.DistError) or "gloo/transport" in str(error)


def _describe_end(rank: int, failure: ProcessFailure, n: int) -> str:
    """One line on processes that ended without an error of their own."""
    if failure.exitcode in {-signal.SIGKILL, -signal.SIGBUS}:
        return f"process {rank} of {n} was killed, most often for lack of memory"
    if failure.exitcode < 0:
        return f"process {rank} of {n} ended by {signal.Signals(-failure.exitcode).name}"
    return f"one of {n} processes ended before the others, exit code {failure.exitcode}"


class _Speaker(logging.handlers.QueueHandler):
    """Sends what is logged and reported to the process that launched this one."""

    def enqueue(self, record):
        self._send(record)

    def report(self, *args) -> None:
        """Send the arguments of one report."""
        with self.lock:
            self._send(args)

    def _send(self, message):
        # A launcher that was killed does not listen; the work is saved all the same.
        with suppress(BrokenPipeError):
            self.queue.send(message)


@contextmanager
def _listening(report: Callable | None) -> Iterator[Connection]:
    """Log and report here what comes in on the connection that this yields."""
    ear, mouth = Pipe(duplex=False)
    listener = threading.Thread(target=_listen, args=(ear, report), daemon=True)
    listener.start()
    try:
        yield mouth
    finally:
        mouth.close()  # the last open end: all processes have ended
        listener.join()
        ear.close()


def _listen(ear: Connection, report: Callable | None) -> None:
    with suppress(EOFError, OSError):  # all have ended, perhaps in the middle of a message
        while True:
            _heed(ear.recv(), report)


def _heed(message: logging.LogRecord | tuple, report: Callable | None) -> None:
    if isinstance(message, logging.LogRecord):
        target = logging.getLogger(message.name)
        if target.isEnabledFor(message.levelno):
            target.handle(message)
        return
    try:
        report(*message)
    except Exception:  # who stops listening blocks the processes
        logger.exception("a report failed; the work goes on")


def _heeded_signals() -> list[signal.Signals]:
    """Signals to stop that nobody told this process to ignore, as ``nohup`` does."""
    return [s for s in SIGNALS if signal.getsignal(s) not in (signal.SIG_IGN, None)]


@contextmanager
def _handlers_kept() -> Iterator[None]:
    """Put back the handlers of signals that torchrun's engine replaces."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    handlers = {number: signal.getsignal(number) for number in _heeded_signals()}
    try:
        yield
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)


@contextmanager
def _engine_silenced() -> Iterator[None]:
    """Keep torchrun's engine from logging its every turn, and our errors with its own traceback."""
    names = ("torch.distributed.elastic", "torch.multiprocessing", "torchelastic-events-null")
    engine, nowhere = [logging.getLogger(name) for name in names], logging.NullHandler()
    propagated = [part.propagate for part in engine]
    for part in engine:
        part.addHandler(nowhere)
        part.propagate = False
    try:
        yield
    finally:
        for part, before in zip(engine, propagated, strict=True):
            part.propagate = before
            part.removeHandler(nowhere)
