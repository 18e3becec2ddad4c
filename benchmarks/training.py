"""How fast a training runs here: `python benchmarks/training.py`, with torch and NumPy alone.

docs/training-speed.md says what is measured and what the columns of the table mean. `--page` writes
the numbers into it, which takes more packages; `--json` keeps them, and `--from` reads them again.
"""

import argparse
import datetime
import logging
import platform
import sys
from importlib.util import find_spec
from itertools import product
from pathlib import Path

import numpy as np
import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # run from a folder, not installed

from benchmarks.settings import TRAINING
from benchmarks.timing import Row, larger_is_better
from benchmarks.training_bench import Bench, cases, precisions, random_slices
from benchmarks.training_results import Case, Measurement, Results
from benchmarks.training_table import CONVOLUTION, HEADER, TERA, facts, formatted, line
from unetcore.devices import DEVICES, choose_device, gpu_name
from unetcore.errors import InputError
from unetcore.memory import keep_freed_memory
from unetcore.provenance import hardware

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs/training-speed.md"


def training_speed() -> list[Row]:
    """Rate of whole training steps against that of one large convolution.

    Steps of the training itself, with augmentation and update, at the paper's tile of 572 px. What
    is missing to the convolution is mostly in the gradients of convolutions, which the library
    computes more slowly. `make bench-training` measures more, into docs/training-speed.md.
    """
    bench = Bench(choose_device(), 5.0, TRAINING.output_tile, random_slices())
    rows = []
    for width, precision in product((16, 64), precisions(bench.device)):
        graph = bench.device.type == "cuda"
        measured = bench.measure(Case("training", width, 1, precision, graph))
        rows.append(
            larger_is_better(
                f"training step, 572 tile, width {width}, {precision}",
                measured.rate / TERA,
                bench.ceiling(precision).convolution / TERA,
                unit="TFLOP/s",
                peer_name=CONVOLUTION,
            )
        )
    return rows


def main(arguments: list[str] | None = None) -> None:
    asked = _parse(arguments)
    page = _page(asked.page) if asked.page else None  # said now if it is not there, not at the end
    if asked.results:
        results = Results.read(asked.results)
        _print_head(results)
        for row in results.rows:
            _print_row(row, results)
    else:
        results = _measure(asked)
    if asked.json:
        results.write(asked.json)
    if page:
        page.write(results)


def _page(path):
    """The page to write, if all is there that it takes."""
    try:
        from benchmarks.training_page import Page
    except ModuleNotFoundError as error:
        raise InputError(
            f"--page: {error.name} is not installed here, take --json, and --from where it is"
        ) from error
    return Page(path)


def _measure(asked) -> Results:
    """Measure and print all rows."""
    if asked.threads:
        torch.set_num_threads(asked.threads)
    logging.basicConfig(format="%(message)s")
    logging.getLogger("unetcore.watch").setLevel(logging.ERROR)  # noise teaches nothing
    bench = Bench(choose_device(asked.device), asked.seconds, asked.tile, random_slices())
    results = Results(
        device="gpu" if bench.device.type == "cuda" else "cpu",
        machine=machine(bench.device),
        image=bench.image,
        input_tile=bench.input_tile,
        ceilings={precision: bench.ceiling(precision) for precision in precisions(bench.device)},
        rows=[],
    )
    _print_head(results)
    for case in cases(asked.width, asked.batch, bench.device):
        keep_freed_memory(False)  # what the row before has left is given back
        keep_freed_memory()  # as our programs do
        results.rows.append(measured := bench.measure(case))
        _print_row(measured, results)
    return results


def machine(device: torch.device) -> dict[str, str | int | bool]:
    """Where, when and with what the numbers are taken."""
    on_gpu = device.type == "cuda"
    compiled = not on_gpu and find_spec("numba")
    about = {
        "date": datetime.date.today().isoformat(),
        "hardware": hardware(gpu_name(device)),
        "threads": torch.get_num_threads(),
        "Python": platform.python_version(),
        "torch": torch.__version__,
        "NumPy": np.__version__,
        "tiles cut by": "numba" if compiled else "torch",
    }
    return about | {"TF32 in convolutions": torch.backends.cudnn.allow_tf32} if on_gpu else about


def _print_head(results: Results) -> None:
    for name, value in facts(results).items():
        print(f"{name}: {value}")
    print(formatted(HEADER), flush=True)


def _print_row(measured: Measurement, results: Results) -> None:
    print(formatted(line(measured, results.ceilings[measured.precision])), flush=True)


def _parse(arguments):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--width", type=int, nargs="+", default=[16, 32, 64])
    parser.add_argument("--batch", type=int, nargs="+", help="1, and 8 on a GPU, by default")
    parser.add_argument("--seconds", type=float, default=20.0, help="for each row")
    parser.add_argument("--tile", type=int, default=TRAINING.output_tile, help="output, in px")
    parser.add_argument("--device", choices=DEVICES, default="auto")
    parser.add_argument("--threads", type=int, help="of torch on a CPU")
    parser.add_argument("--json", type=Path, help="file for all numbers")
    parser.add_argument("--from", dest="results", type=Path, metavar="JSON", help="measure nothing")
    parser.add_argument(
        "--page", type=Path, nargs="?", const=PAGE, help=f"write into {PAGE.relative_to(ROOT)}"
    )
    return parser.parse_args(arguments)


if __name__ == "__main__":
    try:
        main()
    except InputError as error:
        print(error, file=sys.stderr)
        sys.exit(2)
