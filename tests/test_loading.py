"""Models of any form predict the same, and what is no model of ours is refused in a line."""

import zipfile
from pathlib import Path

import numpy as np
import onnx
import pytest
import tifffile
import torch
from test_export import DESCRIPTION, make_network
from typer.testing import CliRunner

from unetcore import cli
from unetcore.checkpoint import save_model
from unetcore.data.intensity import normalise
from unetcore.data.io import grey_values
from unetcore.errors import InputError
from unetcore.export import export_model
from unetcore.export.card import TOLERANCE
from unetcore.loading import load_network, load_predictor, model_file
from unetcore.predict import Predictor, predict_probability
from unetcore.tiling import plan_tiles

NAMES = {
    "network.zip": None,
    "network.safetensors": None,
    "padded.pt": "padded",
    "valid.pt": "valid",
    "padded.onnx": "padded",
    "valid.onnx": "valid",
}
FROZEN = [name for name, head in NAMES.items() if head]
SETTINGS = {"plain": {"in_channels": 3}, "normalised": {"normalised": True}}


@pytest.fixture(scope="module", params=SETTINGS)
def models(request, tmp_path_factory):
    """Network, and a folder with all its forms."""
    folder = tmp_path_factory.mktemp(request.param)
    network = make_network(**SETTINGS[request.param])
    save_model(folder / "run/model.safetensors", network, DESCRIPTION)
    for name, head in NAMES.items():
        export_model(network, DESCRIPTION, folder / name, head=head)
    return network, folder


@pytest.mark.parametrize("name", ["run", *NAMES])
def test_any_form_predicts_as_the_network(models, name):
    network, folder = models
    loaded = load_predictor(folder / name, precision="float32", device="cpu")
    predictor = loaded.predictor
    assert loaded.description == DESCRIPTION
    rng = np.random.default_rng(0)
    for averaging in ("none", "mirror4", "rot7"):
        shape = (network.settings["in_channels"], *rng.integers(60, 240, 2))
        image = rng.normal(size=shape).astype(np.float32)
        expected = predict_probability(image, Predictor(network, device="cpu"), averaging=averaging)
        found = predict_probability(image, predictor, averaging=averaging)
        np.testing.assert_allclose(found, expected, rtol=0, atol=TOLERANCE)


@pytest.mark.parametrize("name", ["run", *NAMES])
def test_the_command_line_predicts_by_any_form(models, tmp_path, name):
    network, folder = models
    channels = network.settings["in_channels"]
    pixels = np.random.default_rng(2).integers(0, 255, (channels, 90, 130), np.uint8)
    as_drawn = pixels.transpose(1, 2, 0) if channels == 3 else pixels[0]
    tifffile.imwrite(tmp_path / "image.tif", as_drawn)
    words = [
        folder / name,
        tmp_path / "image.tif",
        "-o",
        tmp_path / "p.tif",
        "--device",
        "cpu",
        "--pixel-size",
        "0.5",
    ]
    precision = [] if name in FROZEN else ["--precision", "float32"]
    result = CliRunner().invoke(cli.app, ["predict", *map(str, words), *precision])
    assert result.exit_code == 0, result.output
    image = normalise(grey_values(pixels[None], "slice", "image"), "slice")[0]
    expected = predict_probability(image, Predictor(network, device="cpu"))
    found = tifffile.imread(tmp_path / "p.tif")
    np.testing.assert_allclose(found, expected, rtol=0, atol=TOLERANCE)


@pytest.mark.parametrize("name", ["valid.pt", "valid.onnx"])
def test_a_valid_head_of_a_plain_network_is_given_tiles(tmp_path, name):
    network = make_network(width=2)
    export_model(network, DESCRIPTION, tmp_path / name, head="valid")
    predictor = load_predictor(tmp_path / name, memory=6_000_000).predictor
    image = np.random.default_rng(1).normal(size=(400, 300)).astype(np.float32)
    assert len(plan_tiles(image.shape, None, predictor.depth, predictor.traits)) > 1
    expected = predict_probability(image, Predictor(network, device="cpu"))
    for tile in (None, 132):
        found = predict_probability(image, predictor, tile=tile)
        np.testing.assert_allclose(found, expected, rtol=0, atol=TOLERANCE)


@pytest.mark.parametrize("name", FROZEN)
def test_what_a_frozen_graph_cannot_do_is_one_line(models, name):
    network, folder = models
    channels = network.settings["in_channels"]
    image = np.zeros((channels, 100, 120), np.float32)
    with pytest.raises(InputError, match=f"{name}: computes in float32 alone"):
        load_predictor(folder / name, precision="bfloat16")
    predictor = load_predictor(folder / name).predictor
    with pytest.raises(InputError, match=f"image of 2 channels: the network takes {channels}"):
        predict_probability(np.zeros((2, 100, 120), np.float32), predictor)
    predictor = load_predictor(folder / name, memory=1_000_000).predictor
    if not predictor.traits.whole:
        assert name.startswith("valid")
        return
    with pytest.raises(InputError, match="100 x 120 px as one tile, which needs about"):
        predict_probability(image, predictor)
    with pytest.raises(InputError, match="output tile of 100 px: this network takes an image as"):
        predict_probability(image, predictor, tile=100)


def test_bfloat16_is_for_weights(models):
    _, folder = models
    loaded = load_predictor(folder / "network.zip", precision="bfloat16", device="cpu")
    assert loaded.predictor.precision == "bfloat16"


def test_python_of_the_page_about_models_runs(tmp_path, monkeypatch):
    network = make_network(width=2)
    for name in ("network.pt", "network.onnx", "network.zip"):
        export_model(network, DESCRIPTION, tmp_path / name)
    monkeypatch.chdir(tmp_path)
    page = Path(__file__).resolve().parents[1] / "docs/models.md"
    blocks = page.read_text("utf-8").split("```python\n")[1:]
    assert len(blocks) == 3
    names, code = {}, "\n".join(block.split("```")[0] for block in blocks)
    with pytest.warns(DeprecationWarning, match=r"torch\.jit\.load"):  # TorchScript, on purpose
        exec(code, names)
    assert names["classes"].shape == (1, 2, 300, 471)
    expected = predict_probability(names["image"][0], Predictor(network, device="cpu"))
    np.testing.assert_allclose(names["classes"][0, 1], expected, rtol=0, atol=TOLERANCE)


def test_a_package_of_an_earlier_release_is_read(tmp_path):
    network = make_network(width=2)
    save_model(tmp_path / "model.safetensors", network, DESCRIPTION)
    with zipfile.ZipFile(tmp_path / "old.zip", "w") as archive:
        archive.write(tmp_path / "model.safetensors", "model.safetensors")
        archive.writestr("model.pt", b"scores")
    assert load_network(tmp_path / "old.zip")[1] == DESCRIPTION


@pytest.mark.parametrize("name", NAMES)
def test_absent_files_are_one_line(tmp_path, name):
    with pytest.raises(InputError, match=f"{name}: no such model file"):
        load_predictor(tmp_path / name)


@pytest.mark.parametrize("name", FROZEN)
def test_a_network_cannot_be_had_from_a_frozen_graph(models, name):
    with pytest.raises(InputError, match=f"{name}: holds a fixed graph, expected a folder of"):
        load_network(models[1] / name)


def test_the_file_of_a_model_is_that_of_its_folder_or_itself(models):
    _, folder = models
    assert model_file(folder / "run") == folder / "run/model.safetensors"
    for name in NAMES:
        assert model_file(folder / name) == folder / name


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("kept", [0, 100, 0.5])
def test_damaged_files_are_one_line(models, tmp_path, name, kept):
    content = (models[1] / name).read_bytes()
    short = content[: kept if kept != 0.5 else len(content) // 2]
    (tmp_path / name).write_bytes(short)
    with pytest.raises(InputError) as refused:
        load_predictor(tmp_path / name)
    assert str(refused.value).startswith(f"{tmp_path / name}: ")
    assert "\n" not in str(refused.value)


def test_a_package_with_damaged_weights_is_named(tmp_path):
    with zipfile.ZipFile(tmp_path / "network.zip", "w") as archive:
        archive.writestr("model.safetensors", b"nothing of the kind")
    with pytest.raises(InputError) as refused:
        load_predictor(tmp_path / "network.zip")
    wanted = f"{tmp_path / 'network.zip'}: model.safetensors: not a safetensors file"
    assert str(refused.value).startswith(wanted)


def test_files_of_other_programs_are_one_line(tmp_path):
    with zipfile.ZipFile(tmp_path / "other.zip", "w") as archive:
        archive.writestr("rdf.yaml", "type: model")
    with pytest.raises(InputError, match=r"other\.zip: holds no model\.safetensors: packages of"):
        load_predictor(tmp_path / "other.zip")
    with pytest.warns(DeprecationWarning, match=r"torch\.jit"):
        torch.jit.save(torch.jit.script(torch.nn.ReLU()), str(tmp_path / "other.pt"))
    with pytest.raises(InputError, match=r"other\.pt: TorchScript of another program"):
        load_predictor(tmp_path / "other.pt")
    value = onnx.helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, [1])
    other = onnx.helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, [1])
    node = onnx.helper.make_node("Relu", ["x"], ["y"])
    graph = onnx.helper.make_graph([node], "g", [value], [other])
    model = onnx.helper.make_model(
        graph, opset_imports=[onnx.helper.make_opsetid("", 17)], ir_version=8
    )
    onnx.save(model, str(tmp_path / "other.onnx"))
    with pytest.raises(InputError, match=r"other\.onnx: ONNX of another program"):
        load_predictor(tmp_path / "other.onnx")
    torch.save({"weights": torch.zeros(2)}, tmp_path / "state.pt")
    with pytest.raises(InputError, match=r"state\.pt: no TorchScript, or a damaged one"):
        load_predictor(tmp_path / "state.pt")


@pytest.mark.skipif(torch.cuda.is_available(), reason="a GPU is there")
@pytest.mark.parametrize("name", FROZEN)
def test_a_gpu_that_is_not_there_is_one_line(models, name):
    with pytest.raises(InputError, match="a GPU is asked for and none is there"):
        load_predictor(models[1] / name, device="gpu")


def test_a_package_with_damaged_weights_is_one_line(tmp_path):
    with zipfile.ZipFile(tmp_path / "network.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("model.safetensors", bytes(range(256)) * 40)
    content = bytearray((tmp_path / "network.zip").read_bytes())
    content[60:80] = b"\xff" * 20
    (tmp_path / "network.zip").write_bytes(content)
    with pytest.raises(InputError, match=r"network\.zip: a damaged zip"):
        load_network(tmp_path / "network.zip")
