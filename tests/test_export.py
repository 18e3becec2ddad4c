import io
import json
import zipfile

import numpy as np
import pytest
import torch

from unetcore.checkpoint import load_model, save_model
from unetcore.errors import InputError
from unetcore.export import export_model
from unetcore.model import UNet, initialise

# TorchScript is no longer developed, but other programs load it; see `unetcore.export`.
pytestmark = pytest.mark.filterwarnings(r"ignore:`torch\.jit\.\w+` is deprecated")

DESCRIPTION = {
    "seed": 3,
    "steps": 40,
    "precision": "float32",
    "hardware": "a test",
    "training": {"normalisation": "slice", "optimiser": "adamw", "learning_rate": 0.001},
}


def make_model(path, **settings):
    network = UNet(**{"width": 4, **settings})
    initialise(network, torch.Generator().manual_seed(0))
    save_model(path, network, DESCRIPTION)
    return network.eval()


@pytest.fixture
def exported(tmp_path):
    """The zip of a small network, and the network."""
    network = make_model(tmp_path / "model.safetensors")
    export_model(tmp_path / "model.safetensors", tmp_path / "out" / "network.zip")
    with zipfile.ZipFile(tmp_path / "out" / "network.zip") as archive:
        yield archive, network


def load_script(archive):
    return torch.jit.load(io.BytesIO(archive.read("model.pt")))


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"variant": "release"},
        {"depth": 2, "n_classes": 3},
        {"in_channels": 2, "width": 2},
        {"depth": 2, "normalised": True},
        {"depth": 2, "skip_connections": False},
        {"depth": 2, "expansive_width": 2, "variant": "release"},
    ],
    ids=str,
)
def test_script_computes_what_the_network_computes(tmp_path, settings):
    network = make_model(tmp_path / "model.safetensors", **settings)
    export_model(tmp_path / "model.safetensors", tmp_path / "network.zip")
    with zipfile.ZipFile(tmp_path / "network.zip") as archive:
        script = load_script(archive)
    smallest, period = (188, 16) if network.depth == 4 else (44, 4)
    rng = np.random.default_rng(0)
    for _ in range(4):
        batch, height, width = rng.integers(1, 3), *(smallest + period * rng.integers(0, 9, 2))
        shape = (int(batch), network.settings["in_channels"], int(height), int(width))
        tile = torch.as_tensor(rng.normal(size=shape), dtype=torch.float32)
        with torch.inference_mode():
            expected, scores = network(tile), script(tile)
        assert scores.shape == expected.shape
        torch.testing.assert_close(scores, expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize("shape", [(190, 188), (188, 200), (172, 188)])
def test_script_refuses_sizes_that_do_not_fit(exported, shape):
    with pytest.raises(torch.jit.Error, match="sizes that fit are 188"):
        load_script(exported[0])(torch.zeros(1, 1, *shape))


def test_weights_are_those_of_the_model(exported, tmp_path):
    archive, network = exported
    (tmp_path / "copy.safetensors").write_bytes(archive.read("model.safetensors"))
    copy, description = load_model(tmp_path / "copy.safetensors")
    assert description == DESCRIPTION
    for name, weight in network.state_dict().items():
        torch.testing.assert_close(copy.state_dict()[name], weight, rtol=0, atol=0)


def test_model_card_states_how_to_use_the_network(exported):
    card = json.loads(exported[0].read("model.json"))
    assert card["output"]["halo"] == 92
    assert (card["input"]["smallest_size"], card["input"]["size_step"]) == (188, 16)
    assert card["tiling"]["phase"] == 16
    assert card["input"]["normalisation"] == "slice"
    assert card["training"] == DESCRIPTION
    assert card["parameters"] == sum(w.numel() for w in exported[1].state_dict().values())


def test_readme_says_the_same_to_people(exported):
    text = exported[0].read("README.md").decode()
    assert "H and W each 188 + 16 k" in text
    assert "92 px lost on every side" in text
    assert "16 px: tiles agree if their offsets are multiples of it" in text
    assert "mean 0 and standard deviation 1" in text
    assert "40 steps of adamw, rate 0.001, seed 3" in text


def test_a_normalised_network_says_that_its_tiles_do_not_equal_the_whole(exported, tmp_path):
    make_model(tmp_path / "model.safetensors", normalised=True)
    export_model(tmp_path / "model.safetensors", tmp_path / "network.zip")
    with zipfile.ZipFile(tmp_path / "network.zip") as archive:
        card, text = json.loads(archive.read("model.json")), archive.read("README.md").decode()
        script = load_script(archive)
    assert card["network"]["normalised"]
    assert card["tiling"]["statistics_of_maps"] == "of each tile"
    assert not card["tiling"]["equals_whole"]
    assert "**tiles do not\nequal the whole**: continue an image by 92 px" in text
    assert "16 px: tiles agree if their offsets are multiples of it, but for the statistics" in text
    image = torch.randn(1, 1, 204, 204, generator=torch.Generator().manual_seed(0))
    whole, tile = script(image), script(image[..., :188, :188])  # and so it is
    assert (whole[..., :4, :4] - tile).abs().max() > 0.01 * whole.std()
    plain = exported[0]
    assert json.loads(plain.read("model.json"))["tiling"]["equals_whole"]
    assert "tiles do not" not in plain.read("README.md").decode()


def test_code_of_the_readme_runs(exported, tmp_path, monkeypatch):
    archive, _ = exported
    archive.extractall(tmp_path)
    monkeypatch.chdir(tmp_path)
    code = archive.read("README.md").decode().split("```python\n")[1].split("```")[0]
    names = {}
    exec(code, names)
    assert names["probability"].shape == (1, 204 - 184, 220 - 184)


def test_files_hold_no_date(exported):
    assert {member.date_time for member in exported[0].infolist()} == {(1980, 1, 1, 0, 0, 0)}


def test_absent_model_is_refused_and_leaves_no_file(tmp_path):
    with pytest.raises(InputError, match=r"absent\.safetensors: no such model file"):
        export_model(tmp_path / "absent.safetensors", tmp_path / "network.zip")
    assert list(tmp_path.iterdir()) == []
