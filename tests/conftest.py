"""What every test shares: one thread for torch, a logger as it was before."""

import logging
import signal
import sys

import pytest

# Files that take minutes, with the longest first: of several workers, none begins them last.
LONGEST = (
    "test_slurm.py",
    "test_workflow_paper.py",
    "test_conda.py",
    "test_workflow_killed.py",
    "test_containers.py",
    "test_workflow.py",
)


def pytest_collection_modifyitems(items):
    order = {name: place for place, name in enumerate(LONGEST)}
    items.sort(key=lambda item: order.get(item.path.name, len(order)))


@pytest.fixture(autouse=True)
def one_thread():
    """Keep torch to one thread: networks are tiny here, and the order of sums stays the same."""
    if "torch" in sys.modules:  # the metrics and the data do without it, and so do their tests
        sys.modules["torch"].set_num_threads(1)


@pytest.fixture
def root_logger():
    """The root logger, put back afterwards: `unetcore.script.run` replaces its handlers."""
    logger = logging.getLogger()
    handlers, level = logger.handlers[:], logger.level
    yield logger
    for handler in set(logger.handlers) - set(handlers):
        handler.close()
    logger.handlers[:] = handlers
    logger.setLevel(level)


@pytest.fixture(autouse=True)
def package_logging():
    """Leave the package's logger unconfigured: the command line gives it a handler and a level."""
    yield
    package = logging.getLogger("unetcore")
    package.handlers.clear()
    package.setLevel(logging.NOTSET)


@pytest.fixture
def interrupts():
    """Ctrl-C as on a terminal: in a job in the background the signal is ignored, and stays so."""
    previous = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, previous)
