"""A stand-in for the program `conda`, where there is none: what Snakemake and snakedeploy call.

py-rattler solves and installs. No `pip:` sections, no scripts of packages, no environments by name.
CONDA_CHANNEL_ALIAS, a URL, stands in front of the names of channels, as conda's setting
`channel_alias` does.
"""

import argparse
import asyncio
import json
import os
import shutil
import sys
import tempfile
from pathlib import Path

import yaml
from rattler import (
    Channel,
    ChannelConfig,
    ChannelPriority,
    Gateway,
    MatchSpec,
    PrefixRecord,
    RepoDataRecord,
    Subdir,
    VirtualPackage,
    install,
    solve,
)

VERSION = "25.1.0"  # Snakemake 9.27 asks for 24.7.1 or newer
BASE = Path(sys.argv[0]).resolve().parents[1]
PLATFORM = str(Subdir.current())
ACTIVATE = """\
# To be sourced with the folder of an environment.
export CONDA_PREFIX="$1" PATH="$1/bin:$PATH"
"""


def install_client(folder: Path) -> Path:
    """Make a base installation of the stand-in; returns the folder to put on PATH."""
    commands = folder / "bin"
    commands.mkdir(parents=True)
    (commands / "conda").write_text(f"#!{sys.executable}\n{Path(__file__).read_text('utf-8')}")
    (commands / "conda").chmod(0o755)
    (commands / "activate").write_text(ACTIVATE)
    return commands


def parse(arguments: list[str]) -> argparse.Namespace:
    """Options of the commands that are asked for; anything else is refused."""
    parser = argparse.ArgumentParser(prog="conda")
    parser.add_argument("--version", action="version", version=f"conda {VERSION}")
    commands = parser.add_subparsers(required=True)
    command(commands, "info", show_info, "--json")
    command(commands, "config", show_setting, "--json").add_argument("--get", required=True)
    command(
        commands, "create", create_from_urls, "--quiet", "--no-default-packages", "--yes", file=True
    )
    command(commands, "list", show_urls, "--explicit", "--md5", prefix=True)
    environments = commands.add_parser("env").add_subparsers(required=True)
    command(
        environments, "create", create_from_specs, "--quiet", "--no-default-packages", file=True
    )
    command(commands, "clean", clean, "-y", "--tarballs")
    command(environments, "remove", remove, "-y", prefix=True)
    return parser.parse_args(arguments)


def command(commands, name, function, *flags, file=False, prefix=False):
    """Add one command with the flags that its callers give."""
    parser = commands.add_parser(name)
    parser.set_defaults(function=function)
    for flag in flags:
        parser.add_argument(flag, action="store_true")
    if file:
        parser.add_argument("--file", type=Path, required=True)
    if file or prefix:
        parser.add_argument("--prefix", type=Path, required=True)
    return parser


def show_info(options):
    info = {"conda_prefix": str(BASE), "platform": PLATFORM, "conda_version": VERSION}
    print(json.dumps(info))


def show_setting(options):
    settings = {"channel_priority": "strict"}
    print(json.dumps({"get": {options.get: settings[options.get]}}))


def create_from_specs(options):
    """Environment of a YAML file: solve its specs, install what comes out."""
    environment = yaml.safe_load(options.file.read_text("utf-8"))
    specs = [MatchSpec(spec) for spec in environment["dependencies"]]
    create(asyncio.run(find(environment["channels"], specs)), options.prefix)


def create_from_urls(options):
    """Environment of an explicit list of packages, each with the MD5 sum behind its address."""
    lines = [line for line in options.file.read_text("utf-8").splitlines() if line[:1] != "#"]
    if lines[0] != "@EXPLICIT":
        raise ValueError(f"{options.file}: need @EXPLICIT before the addresses of packages")
    create(asyncio.run(look_up(lines[1:])), options.prefix)


async def find(channels: list[str], specs: list[MatchSpec]) -> list[RepoDataRecord]:
    """Packages that satisfy specs and what they require."""
    alias = ChannelConfig(channel_alias=os.environ["CONDA_CHANNEL_ALIAS"].rstrip("/") + "/")
    return await solve(
        [Channel(name, alias) for name in channels],
        specs,
        platforms=[PLATFORM, "noarch"],
        virtual_packages=VirtualPackage.detect(),
        channel_priority=ChannelPriority.Strict,
    )


async def look_up(addresses: list[str]) -> list[RepoDataRecord]:
    """Packages at these addresses, as their channels describe them."""
    found = []
    for address in addresses:
        url, _, md5 = address.partition("#")
        channel, subdir, filename = url.rsplit("/", 2)
        name = filename.rsplit("-", 2)[0]
        (records,) = await Gateway().query([Channel(channel)], [subdir], [name], recursive=False)
        matches = [record for record in records if record.url == url]
        if not matches:
            raise ValueError(f"{url}: no such package")
        if md5 and matches[0].md5.hex() != md5:
            raise ValueError(f"{url}: MD5 sum {matches[0].md5.hex()}, not {md5}")
        found += matches
    return found


def create(records: list[RepoDataRecord], prefix: Path):
    with tempfile.TemporaryDirectory(dir=prefix.parent) as cache:  # links instead of copies
        asyncio.run(install(records, prefix, cache_dir=cache, show_progress=False))


def clean(options):
    """Keep no downloaded package: `create` keeps none."""


def show_urls(options):
    """Addresses of what is installed, for `conda create --file`."""
    installed = [PrefixRecord.from_path(p) for p in (options.prefix / "conda-meta").glob("*.json")]
    print(f"# platform: {PLATFORM}\n@EXPLICIT")
    for record in sorted(installed, key=lambda record: record.url):
        print(f"{record.url}#{record.md5.hex()}" if options.md5 else record.url)


def remove(options):
    shutil.rmtree(options.prefix)


if __name__ == "__main__":
    chosen = parse(sys.argv[1:])
    status = 0
    try:
        chosen.function(chosen)
    except Exception as error:
        status = 1
        print(f"conda: {getattr(chosen, 'file', '')}: {error}", file=sys.stderr)
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)  # py-rattler 0.28 may crash when the interpreter ends
