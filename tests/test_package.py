"""The package as a whole: who imports whom, what is required, what may not stand in a file."""

import ast
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import yaml
from conda_channel import CONDA_NAMES
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version
from rattler import MatchSpec
from rattler.exceptions import InvalidMatchSpecError

import unetcore

ROOT = Path(__file__).resolve().parents[1]

# The order of the rooms: a module imports from its own row and the rows above it.
ROOMS = (
    {""},  # unetcore/__init__.py: whoever imports a module runs it, so it imports nothing
    {"differences", "duration", "errors", "tidy"},
    {"devices", "distributed", "free_memory", "geometry", "labels", "locks", "memory", "stopping"},
    {"cuda_graph", "distances", "gpus", "launch"},
    {"gpu_probe"},
    {"weight_settings"},
    {"weights"},
    {"resampling"},
    {"augment"},
    {"tiling"},
    {"metrics"},
    {"data"},
    {
        "baseline",
        "instances",
        "measurements",
        "overlay",
        "evaluate",
        "exchanged",
        "history",
        "operations",
        "settings",
    },
    {"picture_evaluation", "tile_cost"},
    {"model", "loss", "optimisation", "states", "tensor_file"},
    {"fully_convolutional", "sliding_window"},
    {"families"},
    {"architecture", "checkpoint"},
    {"board", "normalised", "training_memory", "update", "watch"},
    {"failures", "predict"},
    {"volumes", "window_by_window"},
    {"train", "validation"},
    {"tables"},
    {"training_log"},
    {"figures", "view"},
    {"claims", "studies"},
    {"claim_table"},
    {"provenance", "script", "thresholds"},
    {"produce", "tile_timing"},
    {"fold_prediction", "fold_training", "recipes", "runs", "terminal"},
    {"bundle"},
    {"export"},
    {"frozen"},
    {"loading"},
    {"picture_prediction"},
    {"cli_errors", "cli_export", "cli_options", "cli_predict", "cli_view", "cli_volume"},
    {"cli_data"},
    {"cli_results"},
    {"cli_evaluate"},
    {"cli"},
)
WITHOUT_TORCH = (
    "metrics",
    "data",
    "baseline",
    "instances",
    "measurements",
    "overlay",
    "evaluate",
    "exchanged",
    "history",
    "operations",
    "picture_evaluation",
    "settings",
    "tile_cost",
    "tables",
    "training_log",
    "figures",
    "claims",
    "claim_table",
    "studies",
    "view",
)

DISTRIBUTIONS = {
    "bioimageio": "bioimageio-core",
    "PIL": "pillow",
    "conda_package_streaming": "conda-package-streaming",
    "cv2": "opencv-python-headless",
    "ctc_metrics": "py-ctcmetrics",
    "dockerfile_parse": "dockerfile-parse",
    "ome_zarr_models": "ome-zarr-models",
    "rattler": "py-rattler",
    "skimage": "scikit-image",
    "yaml": "pyyaml",
}  # by name of import
WRAPPED = {"torch.utils.tensorboard": "tensorboard"}  # imported by a library in our place
OF_CONDA = {conda: name for name, conda in CONDA_NAMES.items()}
HELD_BACK = {"pydantic"}  # for a library that is imported
OF_SNAKEMAKE = {"pygments", "snakemake"}  # which --report asks for; what runs the rules
FOR_TIFFFILE = {"imagecodecs"}  # it finds its decoder of LZW pages by itself
FOR_POOCH = {"tqdm"}  # its progress bar; our own is in the command line


def read_package(root: Path) -> dict[str, ast.Module]:
    """Syntax trees of the package by dotted module name."""
    modules = {}
    for path in sorted(root.rglob("*.py")):
        parts = path.relative_to(root.parent).with_suffix("").parts
        name = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
        modules[name] = ast.parse(path.read_text(encoding="utf-8"))
    return modules


def imported(tree: ast.Module) -> set[str]:
    """Dotted names that a module imports anywhere, also inside functions."""
    names = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "relative import"
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
    return names


def internal_imports(modules: dict[str, ast.Module]) -> dict[str, set[str]]:
    """Modules of the package that each module of it imports; names inside a module count as it."""
    graph = {}
    for name, tree in modules.items():
        graph[name] = set()
        for target in imported(tree):
            while target and target not in modules:
                target = target.rpartition(".")[0]
            graph[name] |= {target} - {"", name}
    return graph


def room_of(module: str) -> str:
    """First name below the package: `metrics` for `unetcore.metrics.rand`."""
    return (module + ".").split(".")[1]


def row(module: str) -> int:
    """Place of a module in ROOMS."""
    places = [i for i, rooms in enumerate(ROOMS) if room_of(module) in rooms]
    assert places, f"{module} has no place in ROOMS"
    return places[0]


def downward_imports(modules: dict[str, ast.Module]) -> list[str]:
    """Imports that point down in ROOMS, as `importer -> imported`."""
    graph = internal_imports(modules)
    return [
        f"{name} -> {target}"
        for name, targets in graph.items()
        for target in sorted(targets)
        if row(target) > row(name)
    ]


def loaded_with(module: str, graph: dict[str, set[str]]) -> set[str]:
    """All modules of the package that importing one of them runs, its parent packages included."""
    loaded, pending = set(), [module]
    while pending:
        name = pending.pop()
        if name in loaded:
            continue
        loaded.add(name)
        pending += graph[name]
        if "." in name:
            pending.append(name.rpartition(".")[0])
    return loaded


def libraries(trees) -> set[str]:
    """Distributions whose modules are imported, without our own and the standard library."""
    ours = {path.stem for path in (ROOT / "workflow/scripts").glob("*.py")}
    ours |= {path.stem for path in (ROOT / "tests").iterdir()} | {"unetcore", "benchmarks"}
    dotted = {name for tree in trees for name in imported(tree)}
    names = {name.partition(".")[0] for name in dotted}
    wrapped = {
        library for name, library in WRAPPED.items() if any(d.startswith(name) for d in dotted)
    }
    return wrapped | {DISTRIBUTIONS.get(n, n) for n in names - ours - set(sys.stdlib_module_names)}


def read_sources(folder: str) -> list[ast.Module]:
    return [ast.parse(path.read_text("utf-8")) for path in sorted((ROOT / folder).glob("*.py"))]


def project() -> dict:
    return tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]


def requirements(lines) -> dict[str, Requirement]:
    parsed = [Requirement(line) for line in lines]
    return {canonicalize_name(requirement.name): requirement for requirement in parsed}


def locked_versions() -> dict[str, Version]:
    """Versions in requirements.lock; every line of it pins one version exactly."""
    lines = (ROOT / "requirements.lock").read_text(encoding="utf-8").splitlines()
    pins = requirements(line for line in lines if line and not line.startswith("#"))
    return {
        name: Version(re.fullmatch(r"==([^,*]+)", str(pin.specifier))[1])
        for name, pin in pins.items()
    }


def files_of_the_repository() -> list[Path]:
    """Files in git, and new ones that it does not ignore."""
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard"]
    try:
        listing = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError) as error:
        pytest.skip(f"not a git checkout: {error}")
    return [path for name in listing.stdout.splitlines() if (path := ROOT / name).is_file()]


MODULES = read_package(ROOT / "unetcore")


def test_imports_point_upwards():
    assert downward_imports(MODULES) == []


@pytest.mark.parametrize(
    ("module", "source", "violation"),
    [
        ("unetcore.weights", "import unetcore.train", "unetcore.train"),
        ("unetcore.metrics.rand", "from unetcore.data.io import read_labels", "unetcore.data.io"),
        ("unetcore", "from unetcore import cli", "unetcore.cli"),
        ("unetcore.tables", "def f():\n    from unetcore.export import g", "unetcore.export"),
    ],
)
def test_downward_import_is_caught(module, source, violation):
    names = ("unetcore", "unetcore.train", "unetcore.data.io", "unetcore.cli", "unetcore.export")
    modules = {name: ast.parse("") for name in names} | {module: ast.parse(source)}
    assert downward_imports(modules) == [f"{module} -> {violation}"]


def test_module_without_a_place_is_caught():
    with pytest.raises(AssertionError, match=r"unetcore\.misc has no place"):
        row("unetcore.misc")


@pytest.mark.parametrize("room", WITHOUT_TORCH)
def test_no_path_of_imports_leads_to_torch(room):
    graph = internal_imports(MODULES)
    members = [name for name in graph if room_of(name) == room]
    assert members, f"unetcore.{room} is missing"
    reached = set().union(*(loaded_with(name, graph) for name in members))
    with_torch = {name for name in reached if "torch" in libraries([MODULES[name]])}
    assert with_torch == set()


def test_path_to_torch_through_a_parent_package_is_found():
    sources = {
        "unetcore": "",
        "unetcore.a": "import unetcore.b.c",
        "unetcore.b": "import unetcore.d",
        "unetcore.b.c": "",
        "unetcore.d": "import torch",
    }
    graph = internal_imports({name: ast.parse(source) for name, source in sources.items()})
    assert loaded_with("unetcore.a", graph) == set(sources)


def test_evaluation_and_figures_run_without_torch():
    """Libraries count too: none of those imported may bring torch along."""
    names = [name for name in MODULES if room_of(name) in WITHOUT_TORCH]
    code = f"import sys, {', '.join(names)}; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True)


def test_the_workflow_is_read_without_what_computes_or_reads_images():
    """Snakemake does so again in each of its jobs, and where it stands alone beside NumPy."""
    rules = (ROOT / "workflow/rules").rglob("*.smk")
    text = "\n".join(path.read_text("utf-8") for path in rules)
    names = sorted(set(re.findall(r"^from (unetcore[.\w]*) import", text, re.MULTILINE)))
    assert {"unetcore.recipes", "unetcore.bundle.records"} <= set(names)
    heavy = (
        "{'imagecodecs', 'matplotlib', 'numba', 'pandas', 'scipy', 'skimage', 'tifffile', 'torch'}"
    )
    code = f"import sys, {', '.join(names)}; assert not {heavy} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True)


def test_every_library_is_declared_and_every_declared_one_used():
    declared = set(requirements(project()["dependencies"]))
    extras = project()["optional-dependencies"]
    optional = set(requirements([*extras["export"], *extras["tensorboard"]])) - HELD_BACK
    assert libraries(MODULES.values()) == declared | optional
    assert libraries(read_sources("workflow/scripts")) <= declared


def test_every_library_of_tests_and_benchmarks_is_declared():
    extras = project()["optional-dependencies"].values()
    declared = requirements([*project()["dependencies"], *(line for e in extras for line in e)])
    assert libraries(read_sources("tests") + read_sources("benchmarks")) <= set(declared)


def test_lock_satisfies_every_declared_range_and_leaves_torch_out():
    extras = project()["optional-dependencies"].values()
    declared = requirements([*project()["dependencies"], *(line for e in extras for line in e)])
    locked = locked_versions()
    missing = set(declared) - set(locked)
    assert missing == {"torch", "unetcore"}
    outside = [n for n, r in declared.items() if n in locked and locked[n] not in r.specifier]
    assert outside == []


def test_torch_is_pinned_in_one_place():
    pins = [
        f"{path.relative_to(ROOT)}: {match[0]}"
        for path in files_of_the_repository()
        if path.suffix in {".toml", ".lock", ".txt", ".cfg", ".py", ""}
        for match in re.finditer(r"\btorch *[=~<>!]=[^\"'\s]*", path.read_text(encoding="utf-8"))
        if path != Path(__file__).resolve()
    ]
    assert pins == ["pyproject.toml: torch==2.13.*"]


def conda_packages(path: Path) -> dict[str, tuple[str, str | None]]:
    """Version and build of each package of an environment file, by its name in the lock."""
    packages = {}
    for spec in yaml.safe_load(path.read_text(encoding="utf-8"))["dependencies"]:
        parts = re.fullmatch(r"([a-z0-9-]+) (?:=([0-9.]+)|([0-9.]+)\.\* (\S+))", spec)
        assert parts, f"{path.name}: {spec!r} is neither 'name =version' nor 'name version.* build'"
        packages[OF_CONDA.get(parts[1], parts[1])] = (parts[2] or parts[3], parts[4])
    return packages


def scripts_by_environment() -> dict[str, set[str]]:
    """Scripts that the rules run in each environment, by the names of their files."""
    conda = r"conda:\s+(?:\"[./]+envs/([\w-]+)\.yaml\"|TORCH_ENVIRONMENT)"
    pair = conda + r"(?:(?!^(?:rule|checkpoint) ).)*?scripts/(\w+)\.py"
    scripts = {}
    for path in sorted((ROOT / "workflow/rules").glob("*.smk")):
        for env, script in re.findall(pair, path.read_text("utf-8"), re.DOTALL | re.MULTILINE):
            for name in [env] if env else ["train-cpu", "train-gpu"]:
                scripts.setdefault(name, set()).add(script)
    return scripts


def test_every_rule_has_an_environment_and_every_environment_a_rule():
    by_environment = scripts_by_environment()
    assert set(by_environment) == {path.stem for path in ENVIRONMENTS} - {"snakemake"}
    scripts = {path.stem for path in (ROOT / "workflow/scripts").glob("*.py")}
    assert set().union(*by_environment.values()) == scripts


def libraries_of_scripts(names: set[str]) -> set[str]:
    """Libraries that scripts import, directly and through the package."""
    trees = {
        f"script {name}": ast.parse((ROOT / f"workflow/scripts/{name}.py").read_text("utf-8"))
        for name in names
    }
    graph = internal_imports(MODULES | trees)
    reached = set().union(*(loaded_with(name, graph) for name in trees))
    return libraries((MODULES | trees)[name] for name in reached)


ENVIRONMENTS = sorted((ROOT / "envs").glob("*.yaml"))


@pytest.mark.parametrize("path", ENVIRONMENTS, ids=lambda path: path.stem)
def test_conda_environment_agrees_with_the_lock(path):
    """Each pin is a prefix of the locked version, and Python the oldest that we support."""
    locked = {name: str(version) for name, version in locked_versions().items()}
    locked["python"] = project()["requires-python"].removeprefix(">=")
    locked["torch"] = str(requirements(project()["dependencies"])["torch"].specifier).strip("=.*")
    for name, (version, _) in conda_packages(path).items():
        assert f"{locked[name]}.".startswith(f"{version}."), f"{name} ={version}"


@pytest.mark.parametrize("environment", sorted(scripts_by_environment()))
def test_conda_environment_holds_what_its_scripts_import(environment):
    needed = libraries_of_scripts(scripts_by_environment()[environment])
    there = set(conda_packages(ROOT / f"envs/{environment}.yaml")) - {"python"}
    needed.discard("tyro")  # builds command lines; a rule calls `main` without one
    assert there - FOR_TIFFFILE - FOR_POOCH == needed - FOR_TIFFFILE - FOR_POOCH


def test_conda_environment_of_snakemake_holds_what_the_rules_import():
    """Its own requirements come with it; the package adds what the rules import from it."""
    files = [ROOT / "Snakefile", *sorted((ROOT / "workflow").rglob("*.smk"))]
    lines = [line for file in files for line in file.read_text("utf-8").splitlines()]
    imports = "\n".join(line for line in lines if re.match(r"(from [\w.]+ )?import ", line))
    trees = {"rules": ast.parse(imports)}
    at_import = {name: at_module_level(tree) for name, tree in MODULES.items()} | trees
    reached = loaded_with("rules", internal_imports(at_import))
    needed = libraries(at_import[name] for name in reached)
    there = set(conda_packages(ROOT / "envs/snakemake.yaml")) - {"python"}
    assert there == needed | OF_SNAKEMAKE


def at_module_level(tree: ast.Module) -> ast.Module:
    """The statements that importing a module runs, without the bodies of functions."""
    return ast.Module([node for node in tree.body if not isinstance(node, ast.FunctionDef)], [])


@pytest.mark.parametrize("path", ENVIRONMENTS, ids=lambda path: path.stem)
def test_conda_environment_is_of_channels_and_specs_that_conda_reads(path):
    environment = yaml.safe_load(path.read_text(encoding="utf-8"))
    assert set(environment) == {"channels", "dependencies"}
    assert set(environment["channels"]) <= {"conda-forge", "bioconda"}
    for spec in environment["dependencies"]:
        read = MatchSpec(spec, strict=True)
        assert read.version is not None, f"{spec}: no version"


@pytest.mark.parametrize("spec", ["numpy =>2", "numpy = 2 =", "num py =2 x y"])
def test_specs_that_conda_does_not_read_are_caught(spec):
    with pytest.raises(InvalidMatchSpecError):
        MatchSpec(spec, strict=True)


def test_conda_environments_differ_in_the_build_of_torch_only():
    cpu = conda_packages(ROOT / "envs/train-cpu.yaml")
    gpu = conda_packages(ROOT / "envs/train-gpu.yaml")
    assert (cpu.pop("torch")[1], gpu.pop("torch")[1]) == ("*cpu*", "*cuda*")
    assert cpu == gpu


def test_version_is_the_same_everywhere():
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    changes = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    assert citation["version"] == unetcore.__version__
    assert re.search(r"^## (\S+)", changes, re.MULTILINE)[1] == unetcore.__version__


def test_no_file_names_a_path_of_one_machine():
    places = re.compile(
        r"(?<![\w./~}-])/(?:home|root|work|opt|Users|private|media|mnt)/\w|\.\./shared"
    )
    found = []
    for path in files_of_the_repository():
        name = path.relative_to(ROOT).as_posix()
        if name == ".ci/run":  # the checks may look for data beside the clone
            continue
        try:
            text = path.read_text(encoding="utf-8")
        except UnicodeDecodeError:
            continue
        found += [f"{name}: {match[0]}" for match in places.finditer(text)]
    assert found == []
