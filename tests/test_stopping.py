"""Signals: the first is noticed, the second acts, and everything is as before afterwards."""

import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from unetcore import stopping
from unetcore.stopping import SIGNALS, StopRequest

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(autouse=True)
def signals_of_an_interactive_program():
    """Python's own handlers, whatever the program that runs the tests has set or ignored."""
    previous = {number: signal.getsignal(number) for number in SIGNALS}
    for number in SIGNALS:
        signal.signal(number, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    for number, handler in previous.items():
        signal.signal(number, handler)


@pytest.fixture
def no_echo(monkeypatch):
    """Take every further signal for a new request."""
    monkeypatch.setattr(stopping, "ECHO_SECONDS", -1)


def handlers():
    return [signal.getsignal(number) for number in SIGNALS]


@pytest.mark.parametrize("number", SIGNALS)
def test_first_signal_is_noticed_and_nothing_else(number):
    before = handlers()
    with StopRequest() as stop:
        assert stop.signal is None
        signal.raise_signal(number)
        assert stop.signal == number
    assert stop.signal == number
    assert handlers() == before


def test_handlers_are_back_after_an_error():
    before = handlers()

    def fail():
        with StopRequest():
            assert handlers() != before
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert handlers() == before


@pytest.mark.parametrize("first", [signal.SIGINT, signal.SIGTERM, signal.SIGUSR1])
def test_second_interrupt_raises_at_once(no_echo, first):
    with StopRequest() as stop:
        signal.raise_signal(first)
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)
    assert stop.signal == first


def test_second_sigterm_goes_to_the_handler_of_before(no_echo):
    heard = []
    signal.signal(signal.SIGTERM, lambda number, frame: heard.append(number))
    with StopRequest():
        signal.raise_signal(signal.SIGTERM)
        assert heard == []
        signal.raise_signal(signal.SIGTERM)
        assert heard == [signal.SIGTERM]


def test_echo_of_a_signal_is_the_same_request():
    """Ctrl-C reaches a program from the terminal, and at once again from what started it."""
    with StopRequest() as stop:
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGINT):
            signal.raise_signal(number)
    assert stop.signal == signal.SIGINT


def test_announcement_of_a_time_limit_may_be_repeated(no_echo):
    with StopRequest() as stop:
        for _ in range(3):
            signal.raise_signal(signal.SIGUSR1)
    assert stop.signal == signal.SIGUSR1


def test_ignored_signals_stay_ignored():
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    with StopRequest() as stop:
        signal.raise_signal(signal.SIGHUP)
        assert stop.signal is None
        assert signal.getsignal(signal.SIGHUP) == signal.SIG_IGN


def test_other_threads_do_nothing():
    before, inside = handlers(), []

    def run():
        with StopRequest() as stop:
            inside.append((handlers(), stop.signal))

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    assert inside == [(before, None)]
    assert handlers() == before


LOOP = """
import signal, sys, time
from unetcore import stopping
signal.signal(signal.SIGINT, signal.default_int_handler)
stopping.ECHO_SECONDS = float(sys.argv[1])
with stopping.StopRequest() as stop:
    print("ready", flush=True)
    while stop.signal is None:
        time.sleep(0.01)
    print("noticed", stop.signal, flush=True)
    time.sleep(0.2 if float(sys.argv[1]) > 0 else 60)
print("kept", flush=True)
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("echo", [60, -1])
def test_process_keeps_its_work_at_the_first_signal_and_dies_of_the_second(number, echo):
    process = subprocess.Popen(
        [sys.executable, "-c", LOOP, str(echo)], cwd=ROOT, stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL, text=True,
    )  # fmt: skip
    try:
        assert process.stdout.readline() == "ready\n"
        os.kill(process.pid, number)
        assert process.stdout.readline() == f"noticed {int(number)}\n"
        os.kill(process.pid, number)
        rest, _ = process.communicate(timeout=30)
    finally:
        process.kill()
        process.wait()
    assert (rest, process.returncode) == (("kept\n", 0) if echo > 0 else ("", -number))
