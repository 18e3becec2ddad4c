"""What many jobs cost before any of them computes, and what 1,000 volumes take on paper.

Run in the folder of the repository, some minutes long: `python -m benchmarks.scale`
"""

import argparse
import datetime
import os
import pstats
import re
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass, fields
from math import ceil
from pathlib import Path
from tempfile import TemporaryDirectory

import yaml

from benchmarks.goals import read_goals
from benchmarks.page import put_between
from unetcore.data.ome_zarr import n_levels
from unetcore.duration import duration
from unetcore.errors import InputError
from unetcore.geometry import phase
from unetcore.provenance import hardware
from unetcore.script import one_line_errors
from unetcore.tables import markdown_table

PAGE = Path("docs/scale.md")
TABLE = "results/tables/demo.csv"
SIZES = {
    10: (1, 2),
    1_000: (3, 110),
    10_000: (33, 101),
}  # experiments and seeds, by about how many jobs
PROFILED = 1_000  # jobs, of the profile and of the bookkeeping
GOAL_OF_GPU = "prediction on a GPU, 572 tile, width 64, batch 16, bfloat16"  # tiles per second
MEGA, GIGA = 10**6, 10**9
OWNERS = {  # of functions, by the first of these that is in the path of their file
    "Python: signatures of functions": ("/inspect.py",),
    # Snakemake reads no syntax trees; the digests of code are made of them.
    "this workflow, with its digests of code": ("/workflow/rules/", "/unetcore/", "/ast.py"),
    "Snakemake": ("/snakemake/", "/snakemake_interface"),
    "Python: imports": ("<frozen importlib", "marshal"),
}
REST = "Python and libraries, all else"


@dataclass(frozen=True)
class Cost:
    """What a call of Snakemake took: jobs it planned, CPU seconds, and its most memory in bytes."""

    jobs: int
    seconds: float
    memory: int


@dataclass(frozen=True)
class Volumes:
    """Volumes to predict, and how the work is parted; each number is an option of the command.

    Attributes
    ----------
    volumes, slices, side : number of volumes, and the size of one in slices and px.
    parts : jobs that a volume is parted into.
    chunk : px, side of a chunk of one slice.
    bytes_in, bytes_out : of a pixel, read and written, before compression.
    gpus : jobs at once.
    seconds : of a megapixel on one device; None where it was not measured.
    """

    volumes: int = 1000
    slices: int = 100
    side: int = 4096
    parts: int = 8
    chunk: int = 1024
    bytes_in: int = 1
    bytes_out: int = 4
    gpus: int = 8
    seconds: float | None = None

    @property
    def jobs(self) -> int:
        """Per volume start_volume, so many of predict_volume, and finish_volume; and the target."""
        return self.volumes * (self.parts + 2) + 1

    @property
    def megapixels(self) -> float:
        return self.volumes * self.slices * self.side**2 / MEGA

    @property
    def chunks(self) -> int:
        """Chunks that jobs read and write: one file each, without shards."""
        return self.volumes * self.slices * ceil(self.side / self.chunk) ** 2

    @property
    def sides(self) -> list[int]:
        """Sides of the result in px, of all its resolutions."""
        levels = n_levels((self.slices, self.side, self.side))
        return [ceil(self.side / 2**level) for level in range(levels)]

    @property
    def files_out(self) -> int:
        """Chunks of all resolutions."""
        return self.volumes * self.slices * sum(ceil(n / self.chunk) ** 2 for n in self.sides)

    @property
    def megapixels_out(self) -> float:
        return self.volumes * self.slices * sum(n**2 for n in self.sides) / MEGA

    @property
    def small_files(self) -> int:
        """Log, benchmark, output and Snakemake's record of it, of every job."""
        return 4 * self.jobs


def overlay(n_experiments: int, n_seeds: int) -> dict:
    """Configuration with so many experiments on a phantom, each with so many seeds."""
    experiment = {
        "title": "One of many",
        "dataset": "phantom-em",
        "split": {"blocks": 2},
        "folds": ["official"],
        "seeds": list(range(n_seeds)),
        "averaging": ["none"],
        "network": {"width": 2},
    }
    names = [f"many-{i}" for i in range(n_experiments)]
    return {"experiments": dict.fromkeys(names, experiment), "tables": {"demo": names}}


def n_jobs(n_experiments: int, n_seeds: int) -> int:
    """Jobs of such a table: three of a seed, three of an experiment, and three in all."""
    return 3 + n_experiments * (3 + 3 * n_seeds)


def overlay_of_volumes(asked: Volumes, folder: Path) -> dict:
    """Configuration with so many volumes, all of one image and one model."""
    one = {"image": str(folder / "image.tif"), "model": str(folder / "model.safetensors")}
    images = {f"volume-{i}": one for i in range(asked.volumes)}
    return {"volumes": {"parts": asked.parts, "images": images}}


def snakemake(folder: Path, config: dict, *arguments: str) -> tuple[float, int, str]:
    """Call Snakemake in a folder: CPU seconds, most memory in bytes, and what it printed.

    Raises
    ------
    InputError : it failed.
    """
    (folder / "many.yaml").write_text(yaml.safe_dump(config), encoding="utf-8")
    command = [sys.executable, "-m", "snakemake", *arguments, "--directory", str(folder)]
    command += ["--configfile", str(folder / "many.yaml")]
    with (folder / "printed.txt").open("w") as file:
        process = subprocess.Popen(command, stdout=file, stderr=subprocess.STDOUT)
        _, status, used = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    printed = (folder / "printed.txt").read_text("utf-8")
    if process.returncode:
        raise InputError(f"{' '.join(command)}: exit code {process.returncode}\n{printed[-2000:]}")
    return used.ru_utime + used.ru_stime, used.ru_maxrss * 1024, printed


def planning(folder: Path, config: dict, target: str, n_meant: int) -> tuple[Cost, str]:
    """What a dry run takes, and what it prints.

    Raises
    ------
    InputError : Snakemake failed, or planned another number of jobs than were meant.
    """
    seconds, memory, printed = snakemake(folder, config, "-n", target)
    planned = int(re.search(r"^total +(\d+)", printed, re.MULTILINE)[1])
    if planned != n_meant:
        raise InputError(f"{planned} jobs were planned, {n_meant} were meant")
    return Cost(n_meant, seconds, memory), printed


def dry_run(size: int) -> Cost:
    """What planning about so many jobs of the table takes."""
    with TemporaryDirectory() as folder:
        return planning(Path(folder), overlay(*SIZES[size]), TABLE, n_jobs(*SIZES[size]))[0]


def dry_run_of_volumes(asked: Volumes) -> Cost:
    """What planning so many volumes takes."""
    with TemporaryDirectory() as name:
        folder = Path(name)
        touch([folder / "image.tif", folder / "model.safetensors"])
        return planning(folder, overlay_of_volumes(asked, folder), "volumes", asked.jobs)[0]


def bookkeeping(size: int) -> float:
    """CPU seconds that Snakemake takes for a job that ends, beside planning it.

    The jobs are those of a run with --touch: they are chosen, put on record, and do nothing.
    """
    config = overlay(*SIZES[size])
    with TemporaryDirectory() as name:
        folder = Path(name)
        planned, printed = planning(folder, config, TABLE, n_jobs(*SIZES[size]))
        for line in re.findall(r"^    output: (.*)", printed, re.MULTILINE):
            touch(folder / file for file in line.split(", "))
        data = [f"data/phantom-em/{file}" for file in ("images.tif", "labels.tif", "frames.csv")]
        touch(folder / "results" / file for file in ("archives/phantom-em.zip", *data))
        options = ("--touch", "--forceall", "--cores", "1")
        seconds, _, _ = snakemake(folder, config, *options, TABLE)
    return (seconds - planned.seconds) / planned.jobs


def touch(paths) -> None:
    for path in paths:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()


def owner(file: str) -> str:
    """To whom the time of a function counts, by the file it stands in."""
    found = (name for name, marks in OWNERS.items() if any(mark in file for mark in marks))
    return next(found, REST)


def shares(size: int) -> dict[str, float]:
    """Share of the time of a dry run by owner, each function without what it calls."""
    with TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "many.yaml").write_text(yaml.safe_dump(overlay(*SIZES[size])), encoding="utf-8")
        profile = folder / "profile"
        command = [sys.executable, "-m", "cProfile", "-o", str(profile), "-m", "snakemake", TABLE]
        command += ["-n", "--directory", name, "--configfile", str(folder / "many.yaml")]
        subprocess.run(command, check=True, capture_output=True)
        stats = pstats.Stats(str(profile)).stats
    own = dict.fromkeys([*OWNERS, REST], 0.0)
    for (file, _, function), (_, _, seconds, _, _) in stats.items():
        own[owner(f"{file} {function}")] += seconds
    return {name: seconds / sum(own.values()) for name, seconds in own.items()}


def measured(page: Path, pattern: str) -> re.Match | None:
    """First match in a page of measurements."""
    return re.search(pattern, page.read_text("utf-8"), re.MULTILINE | re.DOTALL)


def cpu_rate() -> tuple[float, str]:
    """Seconds of a megapixel at width 64 in bfloat16, and the machine, of docs/benchmarks.md."""
    page = Path("docs/benchmarks.md")
    time = measured(page, r"^\| time of a 512 image, width 64, bfloat16 [^\n]*?\| +s \| +([\d.]+) ")
    machine = measured(page, r"^- hardware: ([^\n]+)")
    if not time or not machine:
        raise InputError(f"{page}: no time of a 512 image at width 64 in bfloat16")
    return float(time[1]) / (512**2 / MEGA), machine[1]


def gpu_rate() -> tuple[float, str] | None:
    """The same on a GPU, of docs/training-speed.md; None while there is none."""
    page = Path("docs/training-speed.md")
    section = measured(page, r"measured on a gpu: begin -->(.*)<!-- measured on a gpu: end")
    row = re.search(
        r"^\| image +\| +64 \| +1 \| +bfloat16 [^|]*\|[^|]*\| +([\d.]+) ", section[1], re.M
    )
    if not row:
        return None
    machine = re.search(r"^- hardware: ([^\n]+)", section[1], re.M)
    return float(row[1]) / 1000 / (512**2 / MEGA), machine[1]


def goal_rate() -> tuple[float, str]:
    """Seconds of a megapixel that a GPU is meant to take, of benchmarks/goals.yaml: a wish."""
    (goal,) = (goal for goal in read_goals().values() if goal.name == GOAL_OF_GPU)
    side = 388 // phase() * phase()  # px that tiles of 572 px step by
    return 1 / (goal.at_least * side**2 / MEGA), "goal for one GPU of the class of an H200"


def table_of_jobs(costs: Sequence[Cost]) -> str:
    header = ("jobs", "CPU s of `snakemake -n`", "ms per job", "memory, MB")
    body = []
    for cost in costs:
        ms = 1000 * (cost.seconds - costs[0].seconds) / max(1, cost.jobs - costs[0].jobs)
        more = f"{ms:.1f}" if cost is not costs[0] else "-"
        body.append((f"{cost.jobs:,}", f"{cost.seconds:.1f}", more, f"{cost.memory / MEGA:.0f}"))
    return markdown_table(header, body)


def table_of_shares(found: dict[str, float]) -> str:
    ordered = sorted(found.items(), key=lambda pair: -pair[1])
    return markdown_table(("time of", "share"), [(n, f"{share:.0%}") for n, share in ordered])


def table_of_volumes(asked: Volumes, planned: Cost, start: float, end: float) -> str:
    """What so many volumes take, by arithmetic.

    Parameters
    ----------
    asked : volumes and parts.
    planned : what planning them took.
    start : CPU seconds of Snakemake in each job on another machine.
    end : CPU seconds of the Snakemake that hands out the jobs, for each that ends.
    """
    per_volume = f"1 start + {asked.parts} parts + 1 finish"
    gigapixels = asked.megapixels / 1000
    maps = asked.megapixels_out / 1000 * asked.bytes_out
    rows = [
        ("jobs", f"{asked.jobs:,}", f"{asked.volumes:,} x ({per_volume}) + 1"),
        ("megapixels", f"{asked.megapixels:,.0f}", f"{asked.slices} slices of {asked.side}² px"),
        ("images", f"{gigapixels * asked.bytes_in:,.0f} GB", f"{asked.bytes_in} B/px"),
        ("maps", f"{maps:,.0f} GB", f"{asked.bytes_out} B/px, in all resolutions"),
        ("files read", f"{asked.chunks:,}", f"one per {asked.chunk}² px of a slice, if OME-Zarr"),
        ("files written", f"{asked.files_out:,}", "the same, and those of coarser resolutions"),
        ("files of jobs", f"{asked.small_files:,}", "log, benchmark, output, record"),
        ("CPU, planning", duration(planned.seconds), f"measured; {planned.memory / MEGA:.0f} MB"),
        ("CPU, keeping books", duration(asked.jobs * end), f"{1000 * end:.1f} ms a job, as above"),
        ("CPU, starting jobs", duration(asked.jobs * start), f"{start:.1f} s of Snakemake a job"),
    ]
    return markdown_table(("what", "how much", "from"), rows)


def table_of_devices(asked: Volumes, rates: dict[str, float]) -> str:
    """Time on devices, by the seconds of a megapixel."""
    rows = []
    for name, seconds in rates.items():
        whole = asked.megapixels * seconds
        shares = (1, asked.volumes * asked.parts, asked.gpus)
        rows.append((name, f"{seconds:.4g}", *(duration(whole / n) for n in shares)))
    header = ("device", "s per megapixel", "on one device", "of one part", f"on {asked.gpus}")
    return markdown_table(header, rows)


def read_arguments(arguments: Sequence[str] | None) -> Volumes:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    for field in fields(Volumes):
        kind = float if field.name == "seconds" else int
        parser.add_argument(f"--{field.name.replace('_', '-')}", type=kind, default=field.default)
    asked = Volumes(**vars(parser.parse_args(arguments)))
    for name, value in vars(asked).items():
        if value is not None and value <= 0:
            raise InputError(f"--{name.replace('_', '-')} {value}: need more than 0")
    return asked


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, calculate, print, and write the page."""
    asked = read_arguments(arguments)
    costs = [dry_run(size) for size in SIZES]
    end, start = bookkeeping(PROFILED), costs[0].seconds
    planned = dry_run_of_volumes(asked)
    seconds, machine = cpu_rate()
    rates = {f"{machine} (measured)": seconds}
    if found := gpu_rate():
        rates[f"{found[1]} (measured)"] = found[0]
    else:
        seconds, wish = goal_rate()
        rates[f"{wish} (not measured)"] = seconds
    if asked.seconds:
        rates["as given"] = asked.seconds
    facts = f"{hardware()}, Python {sys.version.split()[0]}, {datetime.date.today().isoformat()}."
    ended = f"A job that ends takes {1000 * end:.1f} ms of CPU more, among {costs[1].jobs:,}."
    parts = {
        "planning": "\n\n".join([facts, table_of_jobs(costs), ended]),
        "shares": table_of_shares(shares(PROFILED)),
        "volumes": table_of_volumes(asked, planned, start, end),
        "devices": table_of_devices(asked, rates),
    }
    for name, content in parts.items():
        print(content, end="\n\n")
        put_between(PAGE, name, content)


if __name__ == "__main__":
    with one_line_errors():
        main()
