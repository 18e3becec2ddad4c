"""Freed memory kept, as our programs do, or given back, as the system does by itself."""

import multiprocessing
import statistics
import time

import numpy as np

from benchmarks.augmentation import step_seconds, training_data
from benchmarks.network import new_network, noise
from benchmarks.timing import MILLISECONDS, Row, smaller_is_better
from unetcore.memory import keep_freed_memory
from unetcore.predict import Predictor
from unetcore.tiling import predict_tiled

ROUNDS = 5


def freed_memory() -> list[Row]:
    """Training step and prediction with freed memory kept, as our programs do, or given back.

    Two processes take turns; everywhere else on this page memory is given back.
    """
    kept, given_back = workers = [_Worker(keep) for keep in (True, False)]
    rows = []
    for name in JOBS:
        times = {worker: [] for worker in workers}
        for _ in range(ROUNDS):
            for worker, seconds in times.items():
                seconds.append(worker.run(name))
        rows.append(
            smaller_is_better(
                f"{name}, freed memory kept",
                MILLISECONDS * statistics.median(times[kept]),
                MILLISECONDS * statistics.median(times[given_back]),
                unit="ms",
                peer_name="freed memory given back",
            )
        )
    for worker in workers:
        worker.stop()
    return rows


class _Worker:
    """Process of its own that runs jobs by name and says how long each took."""

    def __init__(self, keep: bool):
        context = multiprocessing.get_context("spawn")
        self.pipe, theirs = context.Pipe()
        self.process = context.Process(target=_serve, args=(theirs, keep), daemon=True)
        self.process.start()

    def run(self, name: str) -> float:
        self.pipe.send(name)
        return self.pipe.recv()

    def stop(self) -> None:
        self.pipe.send(None)
        self.process.join()


def _serve(pipe, keep: bool) -> None:
    if keep:
        keep_freed_memory()
    jobs = {}
    while name := pipe.recv():
        if name not in jobs:
            jobs[name] = JOBS[name]()
            jobs[name]()  # to warm up
        pipe.send(jobs[name]())


def _training():
    data = training_data(np.random.default_rng(0))
    return lambda: step_seconds(data)


def _prediction():
    predictor, image = Predictor(new_network(64), "auto"), noise(512, 512)

    def seconds():
        started = time.perf_counter()
        predict_tiled(image, predictor)
        return time.perf_counter() - started

    return seconds


JOBS = {
    "training step, width 16": _training,
    "prediction, 512 image, width 64": _prediction,
}
