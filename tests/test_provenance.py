"""Digest of the code: what changes it and what must not, in a small package written here."""

import importlib
import re
import sys
from importlib.util import find_spec

import pytest

from unetcore import provenance
from unetcore.provenance import hardware, source_digest

FILES = {
    "__init__.py": "",
    "weights.py": '''"""Weights."""
from toycore.geometry import halo
import toycore.errors
import json

def weight(x):
    """Weight of x."""
    # why
    return halo(x) + 1
''',
    "geometry.py": "from toycore.deep import base\n\ndef halo(x):\n    return base(x) - 4\n",
    "deep/__init__.py": "from toycore.deep.inner import base\n",
    "deep/inner.py": "def base(x):\n    return 6 * x\n",
    "errors.py": "class Wrong(ValueError):\n    pass\n",
    "other.py": "def unused():\n    return 1\n",
}


@pytest.fixture
def package(tmp_path, monkeypatch):
    """Folder of a package "toycore" that `source_digest` takes for its own."""
    root = tmp_path / "toycore"
    for name, text in FILES.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    monkeypatch.setattr(provenance, "PACKAGE", "toycore")
    monkeypatch.syspath_prepend(tmp_path)
    importlib.invalidate_caches()
    yield root
    for name in [name for name in sys.modules if name.split(".")[0] == "toycore"]:
        del sys.modules[name]


def change(package, name, old, new):
    text = (package / name).read_text()
    assert old in text
    (package / name).write_text(text.replace(old, new))


def test_digest_is_twelve_hexadecimal_digits_and_repeats(package):
    digest = source_digest("toycore.weights")
    assert re.fullmatch("[0-9a-f]{12}", digest)
    assert source_digest("toycore.weights") == digest


@pytest.mark.parametrize(
    ("name", "old", "new"),
    [
        ("weights.py", "# why", "# because"),
        ("weights.py", "Weight of x.", "Weight of a pixel."),
        ("weights.py", '    """Weight of x."""\n', ""),
        ("weights.py", '"""Weights."""', '"""Loss weights."""'),
        ("weights.py", "halo(x) + 1", "(halo( x )\n        + 1)"),
        ("geometry.py", "\n\ndef", "\n\n\n\n# a comment\ndef"),
        ("deep/inner.py", "def base(x):\n", 'def base(x):\n    """Six times x."""\n'),
        ("other.py", "return 1", "return 2"),
    ],
)
def test_words_layout_and_other_modules_leave_the_digest(package, name, old, new):
    digest = source_digest("toycore.weights")
    change(package, name, old, new)
    assert source_digest("toycore.weights") == digest


@pytest.mark.parametrize(
    ("name", "old", "new"),
    [
        ("weights.py", "halo(x) + 1", "halo(x) + 2"),
        ("weights.py", "halo(x) + 1", "halo(x) + 1.0"),
        ("weights.py", "def weight(x)", "def weight(x, y=0)"),
        ("geometry.py", "base(x) - 4", "base(x) - 5"),
        ("errors.py", "ValueError", "TypeError"),
        ("deep/__init__.py", "import base\n", "import base\nVERSION = 2\n"),
        ("deep/inner.py", "6 * x", "7 * x"),
    ],
)
def test_code_of_the_module_or_of_what_it_imports_changes_the_digest(package, name, old, new):
    digest = source_digest("toycore.weights")
    change(package, name, old, new)
    assert source_digest("toycore.weights") != digest


def test_a_string_that_is_no_docstring_is_code(package):
    change(package, "other.py", "return 1", 'return "one"')
    digest = source_digest("toycore.other")
    change(package, "other.py", '"one"', '"two"')
    assert source_digest("toycore.other") != digest


@pytest.mark.parametrize(
    "block",
    [
        "def main():\n    {}\n    return errors\n",
        "class Main:\n    async def main(self):\n        with open('x'):\n            {}\n",
        "if True:\n    pass\nelse:\n    {}\n",
        "try:\n    import json\nexcept ImportError:\n    {}\nfinally:\n    pass\n",
        "try:\n    pass\nfinally:\n    {}\n",
        "match 1:\n    case 1:\n        for _ in 'a':\n            {}\n",
    ],
    ids=["function", "method", "else", "except", "finally", "case"],
)
def test_modules_imported_inside_a_block_count(package, block):
    (package / "late.py").write_text(block.format("from toycore import errors"))
    digest = source_digest("toycore.late")
    change(package, "errors.py", "ValueError", "TypeError")
    assert source_digest("toycore.late") != digest


def test_digest_of_several_modules(package):
    both = source_digest("toycore.weights", "toycore.other")
    assert both == source_digest("toycore.other", "toycore.weights")
    assert both not in (source_digest("toycore.weights"), source_digest("toycore.other"))
    change(package, "other.py", "return 1", "return 2")
    assert source_digest("toycore.weights", "toycore.other") != both


def test_modules_that_import_each_other_end(package):
    change(package, "other.py", "def", "import toycore.another\n\ndef")
    (package / "another.py").write_text("import toycore.other\n")
    assert re.fullmatch("[0-9a-f]{12}", source_digest("toycore.other"))


def test_digest_of_a_script_follows_its_imports_but_not_the_plumbing(package, monkeypatch):
    script = package.parent / "train.py"
    script.write_text("from toycore.weights import weight\nfrom toycore.other import unused\n")
    monkeypatch.setattr(provenance, "PLUMBING", {"toycore.other"})
    digest = source_digest(script)
    change(package, "other.py", "return 1", "return 2")
    assert source_digest(script) == digest
    change(package, "deep/inner.py", "6 * x", "7 * x")
    changed = source_digest(script)
    assert changed != digest
    script.write_text(script.read_text() + "\nweight(1)\n")
    assert source_digest(script) not in (digest, changed)


def test_plumbing_is_of_the_package():
    assert all(find_spec(module) for module in provenance.PLUMBING)


def test_a_script_that_is_not_there_is_named(tmp_path):
    with pytest.raises(ValueError, match=r"absent\.py: no such module or script"):
        source_digest(tmp_path / "absent.py")


def test_a_module_that_is_not_there_is_named(package):
    # a mistyped name in a rule would silently stop it from being run again
    with pytest.raises((ValueError, ImportError), match="weight"):
        source_digest("toycore.weight")


def test_digest_of_this_package_follows_its_imports():
    of_training = source_digest("unetcore.train")
    assert of_training != source_digest("unetcore.model")
    assert source_digest("unetcore.train", "unetcore.model") == of_training  # it imports it
    assert source_digest("unetcore.train", "unetcore.weights") != of_training  # and not this


def test_hardware_names_cpu_cores_and_gpu(monkeypatch):
    monkeypatch.setattr(provenance, "_cpu_name", lambda: "AMD EPYC")
    monkeypatch.setattr(provenance, "_usable_cores", lambda: 2)
    assert hardware() == "AMD EPYC, 2 cores"
    assert hardware("NVIDIA H200") == "NVIDIA H200; AMD EPYC, 2 cores"


def test_hardware_of_this_machine():
    assert re.fullmatch(r".+, [1-9]\d* cores", hardware())
