"""Where a number comes from: digest of the code, and the machine it ran on."""

import ast
import hashlib
import os
import platform
from functools import cache
from importlib.util import find_spec
from pathlib import Path

PACKAGE = "unetcore"
PLUMBING = {PACKAGE} | {  # the package itself says its version, and nothing else
    f"{PACKAGE}.{module}"
    for module in (
        "differences",
        "errors",
        "failures",
        "free_memory",
        "gpus",
        "locks",
        "provenance",
        "script",
        "states",
        "stopping",
        "training_memory",
        "watch",
    )
}

BLOCKS = ("body", "orelse", "finalbody", "handlers", "cases")  # where statements hold others
HAVE_DOCSTRINGS = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)


def source_digest(*sources: str | Path) -> str:
    """Digest of the code of modules or scripts and of all they import from this package.

    Snakemake does not see that a thin script depends on a package. A rule that passes this digest
    as a param is run again when the code changes, and not when only a comment, the layout or a
    docstring does. Only absolute imports are followed; the package has no others. The modules
    that connect a script to Snakemake, a job to its GPU or a training to its states, and those that
    only warn and refuse, are left out: they change no result.

    Parameters
    ----------
    sources : names such as "unetcore.weights", or paths of scripts.

    Returns
    -------
    12 hexadecimal digits.

    Raises
    ------
    ValueError : a name is no module of the package, or a path no file: its code would never cause
        a rerun.
    """
    package = Path(find_spec(PACKAGE).origin).parent
    codes, todo = {}, []
    for source in sources:
        path = source if isinstance(source, Path) else _source_path(source, package)
        if path is None or not path.is_file():
            raise ValueError(f"{source}: no such module or script")
        todo.append((source if isinstance(source, str) else source.name, path))
    while todo:
        name, path = todo.pop()
        if name in codes:
            continue
        codes[name], imported = _code_of(path, path.stat().st_mtime_ns)
        todo += [(m, file) for m in imported if (file := _source_path(m, package)) is not None]
    text = "\0".join(f"{name}\0{codes[name]}" for name in sorted(codes))
    return hashlib.sha256(text.encode()).hexdigest()[:12]


@cache
def _code_of(path: Path, written: int) -> tuple[str, frozenset[str]]:
    """Code of a file without docstrings, and what it imports from this package.

    A workflow asks for most files once per rule; `written`, the time of its last change, tells one
    version from the next.
    """
    tree, imported = ast.parse(path.read_text()), set()
    for statement in _statements(tree):
        _drop_docstring(statement)
        imported.update(m for m in _imported(statement) if m.split(".")[0] == PACKAGE)
    return ast.dump(tree), frozenset(imported - PLUMBING)


def hardware(gpu: str | None = None) -> str:
    """Describe this machine in a few words, as in "AMD EPYC, 2 cores" (with the GPU if given)."""
    cpu = f"{_cpu_name()}, {_usable_cores()} cores"
    return f"{gpu}; {cpu}" if gpu else cpu


def _usable_cores():
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count()


def _cpu_name():
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


@cache
def _source_path(module: str, package: Path) -> Path | None:
    """File of a module of the package in this folder, None for a name that is no module."""
    path = package.joinpath(*module.split(".")[1:])
    candidates = (path.with_suffix(".py"), path / "__init__.py")
    return next((file for file in candidates if file.is_file()), None)


def _statements(tree):
    """Module and all its statements, also those in blocks of others, before what is in them.

    Expressions hold neither an import nor a docstring, and are most of a tree.
    """
    todo = [tree]
    while todo:
        yield (node := todo.pop())
        for block in BLOCKS:
            todo += getattr(node, block, ())


def _imported(statement):
    if isinstance(statement, ast.Import):
        yield from (alias.name for alias in statement.names)
    elif isinstance(statement, ast.ImportFrom) and statement.module and statement.level == 0:
        yield statement.module
        yield from (f"{statement.module}.{alias.name}" for alias in statement.names)


def _drop_docstring(statement):
    if isinstance(statement, HAVE_DOCSTRINGS) and ast.get_docstring(statement, clean=False):
        del statement.body[0]
