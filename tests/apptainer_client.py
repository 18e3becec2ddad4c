"""A stand-in for the program `apptainer`, where there is none: what Snakemake asks of it.

An image is a folder with a Python of its own. `exec` runs a command with the programs of that
folder first, and with each --bind in its place, in a mount namespace; the rest of this machine
stays in sight. APPTAINER_CALLS names a file that gets the arguments of every call.
"""

import argparse
import json
import os
import subprocess
import sys
from pathlib import Path

VERSION = "1.3.4"
PLACES = Path("/mnt")  # below which Snakemake mounts what its scripts need


def install_client(folder: Path) -> Path:
    """Make a folder with the command; returns it, to be put on PATH."""
    folder.mkdir(parents=True)
    command = folder / "apptainer"
    command.write_text(f"#!{sys.executable}\n{Path(__file__).read_text('utf-8')}")
    command.chmod(0o755)
    return folder


def can_mount() -> bool:
    """Whether this machine lets us mount folders in a namespace."""
    try:
        tried = ["unshare", "--mount", "mount", "-t", "tmpfs", "none", str(PLACES)]
        return subprocess.run(tried, capture_output=True).returncode == 0
    except OSError:
        return False


def parse(arguments: list[str]) -> argparse.Namespace:
    """Options of the two calls that are made; anything else is refused."""
    parser = argparse.ArgumentParser(prog="apptainer")
    parser.add_argument("--version", action="version", version=f"apptainer version {VERSION}")
    inner = parser.add_subparsers(required=True).add_parser("exec")
    inner.add_argument("--home", type=Path, required=True)
    inner.add_argument("--nv", action="store_true")
    inner.add_argument("--bind", action="append", default=[])
    inner.add_argument("image", type=Path)
    inner.add_argument("command", nargs=argparse.REMAINDER)
    return parser.parse_args(arguments)


def execute(options: argparse.Namespace) -> None:
    """Become the command, or end as apptainer does where there is no image."""
    if not options.image.exists():
        sys.exit(f"FATAL:   could not open image {options.image}: no such file or directory")
    mounts = [f"mount -t tmpfs none {PLACES}"]
    for bind in options.bind:
        source, _, place = bind.partition(":")
        if place:
            mounts += [f"mkdir -p '{place}'", f"mount --bind '{source}' '{place}'"]
    path = f"{options.image.resolve()}/bin:/usr/local/bin:/usr/bin:/bin"
    environment = os.environ | {"PATH": path, "HOME": str(options.home)}
    script = " && ".join([*mounts, 'exec "$@"'])
    call = ["unshare", "--mount", "sh", "-c", script, "sh", *options.command]
    os.execvpe(call[0], call, environment)


if __name__ == "__main__":
    if "APPTAINER_CALLS" in os.environ:
        with open(os.environ["APPTAINER_CALLS"], "a") as calls:
            calls.write(json.dumps(sys.argv[1:]) + "\n")
    execute(parse(sys.argv[1:]))
