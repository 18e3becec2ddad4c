"""Packages pass the own test of bioimageio.core, and predict by it as here.

The library runs in a process of its own: it calls deprecated functions of PyTorch and leaves files
open, of which our rule for warnings would make errors.
"""

import json
import os
import subprocess
import sys
import zipfile

import numpy as np
import pytest
from test_export import DESCRIPTION, make_network

from unetcore.data.intensity import normalise
from unetcore.data.phantom_em import draw_sections
from unetcore.export import Credits, export_model
from unetcore.export.card import TOLERANCE
from unetcore.predict import Predictor, predict_probability

pytestmark = pytest.mark.slow

DESCRIPTIONS = ("rdf.yaml", "whole.bioimageio.yaml", "valid.bioimageio.yaml")
NO_NETWORK = dict.fromkeys(("http_proxy", "https_proxy", "all_proxy"), "http://127.0.0.1:9")
TESTED = """
import json, sys
from bioimageio.core import test_description
found = {}
for source in sys.argv[1:]:
    summary = test_description(source)
    found[source] = [summary.status, [[d.status, d.name] for d in summary.details]]
print(json.dumps(found))
"""
PREDICTED = """
import sys
import numpy as np
from bioimageio.core import create_prediction_pipeline, load_model_description
from bioimageio.core.digest_spec import create_sample_for_model
source, image, form, blocks, out = sys.argv[1:]
model = load_model_description(source)
with create_prediction_pipeline(model, weight_format=form) as pipeline:
    sample = create_sample_for_model(model, inputs={"image": np.load(image)})
    if blocks == "whole":
        found = pipeline.predict_sample_without_blocking(sample)
    else:
        found = pipeline.predict_sample_with_blocking(sample, ns=int(blocks))
np.save(out, found.members["probability"].data.to_numpy())
"""


def run(code, *words, folder):
    """Output of Python code in a process of its own that reaches no network."""
    environment = {**os.environ, **NO_NETWORK, "BIOIMAGEIO_CACHE_PATH": str(folder / "cache")}
    return subprocess.run(
        [sys.executable, "-c", code, *map(str, words)],
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    ).stdout


@pytest.fixture(scope="module")
def packages(tmp_path_factory):
    """Folders with an unpacked package, and its network, by kind."""
    made = {}
    for kind, settings in {
        "plain": {"width": 2},
        "normalised": {"width": 2, "normalised": True, "in_channels": 3},
    }.items():
        folder, network = tmp_path_factory.mktemp(kind), make_network(**settings)
        credits = Credits("Cells of a test", "CC-BY-4.0", ("A. Person",))
        export_model(network, DESCRIPTION, folder / "network.zip", credits=credits)
        with zipfile.ZipFile(folder / "network.zip") as archive:
            archive.extractall(folder)
        made[kind] = folder, network
    return made


@pytest.mark.parametrize("kind", ["plain", "normalised"])
def test_every_description_passes_the_own_test_of_the_library(packages, kind):
    folder, _ = packages[kind]
    sources = [folder / "network.zip", *(folder / name for name in DESCRIPTIONS[1:])]
    for status, details in json.loads(run(TESTED, *sources, folder=folder)).values():
        assert status == "passed", details
        names = " ".join(name for _, name in details)
        for form in ("torchscript", "onnx"):
            assert f"Reproduce test outputs from test inputs ({form})" in names
            assert (
                f"Run {form} inference for inputs with batch_size: 2 and size parameter n: 2"
                in names
            )


@pytest.mark.parametrize(
    ("kind", "name", "form", "blocks", "shape"),
    [
        # Tiles that a program cuts, with the halo, equal the whole where maps are not normalised.
        ("plain", "network.zip", "torchscript", 7, (416, 480)),
        ("plain", "network.zip", "onnx", 4, (336, 400)),
        ("plain", "whole.bioimageio.yaml", "onnx", "whole", (133, 250)),
        ("normalised", "whole.bioimageio.yaml", "torchscript", "whole", (250, 61)),
        ("normalised", "whole.bioimageio.yaml", "onnx", "whole", (250, 61)),
    ],
)
def test_the_library_predicts_as_unet_predict(packages, tmp_path, kind, name, form, blocks, shape):
    folder, network = packages[kind]
    channels = network.settings["in_channels"]
    drawn, _ = draw_sections(np.random.default_rng(7), channels, max(shape))
    image = drawn[:, : shape[0], : shape[1]]
    np.save(tmp_path / "image.npy", image)
    out = tmp_path / "probability.npy"
    run(PREDICTED, folder / name, tmp_path / "image.npy", form, blocks, out, folder=tmp_path)
    (slices,) = normalise(image[None].astype(np.float32) / 255, "slice")
    expected = predict_probability(slices, Predictor(network, device="cpu"))
    np.testing.assert_allclose(np.load(out)[0, 1], expected, rtol=0, atol=TOLERANCE)
