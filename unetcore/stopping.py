"""Signals that ask a long computation to stop between two steps."""

import signal
import threading
import time

# Besides Ctrl-C: what schedulers send at or before a time limit (SLURM SIGTERM, or SIGUSR1 by its
# option --signal; LSF and Grid Engine SIGUSR2), and the end of a remote session.
SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2)
AT_ONCE = (signal.SIGINT, signal.SIGTERM)  # when they come a second time
ECHO_SECONDS = 1.0


class StopRequest:
    """Notice signals instead of dying of them, so that a loop can keep what it has done.

    Inside the ``with`` block the first signal only sets `signal`. A SIGINT or SIGTERM that comes
    after it acts at once, as it would without the block; the others then do nothing. What comes
    within `ECHO_SECONDS` counts as the same request: a terminal signals all of its processes, and
    the programs among them that start others, as Snakemake and SLURM, pass it on once more.

    Signals that are ignored stay so (``nohup``, background jobs of a script). Outside the main
    thread, where Python lets nobody set handlers, the block does nothing. The handlers of before
    are back after the block.

    Attributes
    ----------
    signal : number of the signal that asked to stop, None as long as none did.
    """

    def __init__(self):
        self.signal = None
        self._noticed = 0.0  # by the monotonic clock, in seconds
        self._previous = {}

    def __enter__(self):
        if threading.current_thread() is threading.main_thread():
            for number in SIGNALS:
                previous = signal.getsignal(number)
                if previous not in (signal.SIG_IGN, None):  # None: set by a library in C
                    self._previous[number] = previous
                    signal.signal(number, self._notice)
        return self

    def __exit__(self, *error):
        while self._previous:
            signal.signal(*self._previous.popitem())

    def _notice(self, number, frame):
        now = time.monotonic()
        if self.signal is None:
            self.signal, self._noticed = number, now
        elif number in AT_ONCE and now > self._noticed + ECHO_SECONDS:
            self.__exit__()
            signal.raise_signal(number)
