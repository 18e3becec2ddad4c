"""ImageJ, with Bio-Formats or without, and what it says of files."""

import os
import re
import shutil
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest

JAR = Path("/usr/share/java/ij.jar")
BIOFORMATS = Path(sys.prefix) / "bioformats/bioformats/jars/bioformats_package.jar"
PATIENCE = 90  # seconds; a dialog that nobody answers would wait for ever
OPENED = {
    "imagej": 'open("{path}");',
    "bio-formats": (
        'run("Bio-Formats Importer", "open=[{path}] color_mode=Default view=Hyperstack '
        'stack_order=XYCZT");'
    ),
}
# Images count as ImageJ itself does: channels first, then depths.
LOOK = """
function look(name) {
    Stack.getDimensions(w, h, c, z, t);
    getVoxelSize(x, y, depth, unit);
    line = name + TAB + unit + TAB + nImages + TAB + bitDepth + TAB + Stack.getFrameInterval;
    line += TAB + t + TAB + z + TAB + c + TAB + h + TAB + w + TAB + depth + TAB + y + TAB + x;
    for (k = 1; k <= nSlices; k++) {
        setSlice(k);
        for (p = 0; p < POINTS.length; p += 2)
            line += TAB + d2s(getPixel(POINTS[p + 1], POINTS[p]), 9);
    }
    print(line);
    close("*");
}
"""
MICROMETRES = ("µm", "microns", "micron", "um")


class Seen(NamedTuple):
    """What a program says of a file that it has opened.

    Attributes
    ----------
    images : number of windows that it has opened.
    bits : of a pixel; ImageJ shows whole numbers of 32 bits as floats.
    sides : length of the axes T, Z, C, Y and X.
    voxel, unit : distances along z, y and x.
    interval : of frames in s, 0 if unknown.
    values : (images, points) array; images in the order T, Z, C.
    """

    name: str
    images: int
    bits: int
    sides: dict[str, int]
    voxel: list[float]
    unit: str
    interval: float
    values: np.ndarray


def run_macro(code, folder, *, with_windows=False, with_bioformats=False):
    """Run a macro in ImageJ, and return the lines that it prints; the test skips without it.

    With windows, as regions take their position from them, nothing is printed.
    """
    if not (JAR.is_file() and shutil.which("java") and shutil.which("Xvfb")):
        pytest.skip("no ImageJ (Debian: imagej, xvfb)")
    if with_bioformats and not BIOFORMATS.is_file():
        pytest.skip("no Bio-Formats (make .venv/bioformats)")
    home = folder / "ImageJ"
    (home / "plugins").mkdir(parents=True, exist_ok=True)
    if with_bioformats and not (home / "plugins" / BIOFORMATS.name).exists():
        (home / "plugins" / BIOFORMATS.name).symlink_to(BIOFORMATS)
    macro = home / "macro.ijm"
    ending = 'run("Quit");' if with_windows else ""
    beginning = "" if with_windows else "setBatchMode(true);\n"
    macro.write_text(beginning + _in_ascii(code) + "\n" + ending, encoding="ascii")
    java = ["java", f"-Dplugins.dir={home}", f"-Duser.home={home}", "-Dfile.encoding=UTF-8"]
    imagej = ["-cp", JAR, "ij.ImageJ", "-macro" if with_windows else "-batch", macro]
    with _display() as display:
        done = subprocess.run(
            [*java, *imagej],
            capture_output=True,
            text=True,
            encoding="utf-8",
            env=os.environ | {"LC_ALL": "C.UTF-8", "DISPLAY": display},
            check=False,
            timeout=PATIENCE,
        )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Exception" not in done.stderr, done.stderr
    return done.stdout.splitlines()


def _in_ascii(code):
    """A macro that names other letters by their numbers, as ImageJ takes macros for Latin-1."""
    return re.sub(r"[^\x00-\x7f]", lambda found: f'" + fromCharCode({ord(found[0])}) + "', code)


@contextmanager
def _display():
    """A screen that nobody sees: the ROI Manager is a window, even where no image is shown."""
    ours, its = os.pipe()
    screen = ["Xvfb", "-displayfd", str(its), "-screen", "0", "1280x1024x24", "-nolisten", "tcp"]
    server = subprocess.Popen(screen, pass_fds=[its], stderr=subprocess.DEVNULL)
    os.close(its)
    try:
        with os.fdopen(ours) as numbers:
            yield f":{numbers.readline().strip()}"
    finally:
        server.terminate()
        server.wait()


def look_at(paths, points, folder, *, program="imagej"):
    """What a program sees in files, by their names.

    Parameters
    ----------
    points : rows and columns of pixels whose values are asked for.
    program : "imagej" or "bio-formats".
    """
    flat = ", ".join(str(side) for point in points for side in point)
    code = f'var POINTS = newArray({flat}), TAB = "\\t";\n' + LOOK
    for path in paths:
        code += OPENED[program].format(path=path) + f' look("{path.name}");\n'
    lines = run_macro(code, folder, with_bioformats=program == "bio-formats")
    found = [_seen(line.split("\t"), len(points)) for line in lines if "\t" in line]
    assert [seen.name for seen in found] == [path.name for path in paths], lines
    return {seen.name: seen for seen in found}


def _seen(fields, n_points):
    name, unit, *numbers = fields
    images, bits, interval, *numbers = map(float, numbers)
    sides = {axis: int(side) for axis, side in zip("TZCYX", numbers[:5], strict=True)}
    values = np.reshape(numbers[8:], (-1, n_points))
    return Seen(name, int(images), int(bits), sides, numbers[5:8], unit, interval, values)
