"""What ``python BUNDLE`` runs: it looks whether this Python can, and hands over to `run`.

Only the standard library may be imported here, and nothing that an old Python lacks.
"""

import importlib.util
import sys
import zipfile
import zlib

OLDEST = (3, 11)
NEEDED = ("numpy", "torch")
BAD_INPUT = 2  # exit code


def refuse(message):
    """End with one line."""
    sys.stderr.write("error: %s\n" % message)  # noqa: UP031
    sys.exit(BAD_INPUT)


def check(bundle):
    """Refuse a Python that is too old or lacks a package, and a file that is damaged."""
    if sys.version_info < OLDEST:
        found, oldest = (".".join(map(str, v[:2])) for v in (sys.version_info, OLDEST))
        refuse("Python %s: need %s or newer" % (found, oldest))  # noqa: UP031
    for name in NEEDED:
        if importlib.util.find_spec(name) is None:
            refuse("this Python has no %s: a bundle needs numpy and torch" % name)  # noqa: UP031
    try:
        with zipfile.ZipFile(bundle) as file:
            damaged = file.testzip()
    except (zipfile.BadZipFile, zlib.error) as error:
        damaged = error
    if damaged:
        refuse("%s: damaged (%s): copy it again" % (bundle, damaged))  # noqa: UP031


if __name__ == "__main__":
    check(sys.path[0])
    from unetcore.bundle.run import main

    main(sys.path[0])
