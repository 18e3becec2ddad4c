"""Model files: what was written comes back, and nothing else is taken."""

import json

import pytest
import torch
from safetensors.torch import save_file

from unetcore.checkpoint import load_model, save_model
from unetcore.errors import InputError
from unetcore.model import UNet, initialise

DESCRIPTION = {"normalisation": "slice", "threshold": 0.5, "seeds": [0, 1], "note": "σ = 5 px"}


@pytest.fixture
def network():
    model = UNet(in_channels=2, n_classes=3, width=2, depth=2, variant="release", dropout=0.25)
    initialise(model, torch.Generator().manual_seed(3))
    return model


def test_model_comes_back_as_it_was(tmp_path, network):
    path = tmp_path / "new" / "model.safetensors"
    save_model(path, network.to(memory_format=torch.channels_last), DESCRIPTION)
    loaded, description = load_model(path)
    assert description == DESCRIPTION
    assert loaded.settings == network.settings
    assert not loaded.training
    for (name, a), (other, b) in zip(
        network.state_dict().items(), loaded.state_dict().items(), strict=True
    ):
        assert name == other
        assert torch.equal(a, b)
    image = torch.rand(1, 2, 44, 60)
    with torch.no_grad():
        torch.testing.assert_close(loaded(image), network.eval()(image))
    assert [p.name for p in path.parent.iterdir()] == ["model.safetensors"]


def test_model_of_a_release_that_knew_one_expansive_path_only(tmp_path, network):
    expected = dict(network.settings)
    for key in ("skip_connections", "expansive_width"):
        del network.settings[key]
    save_model(tmp_path / "model.safetensors", network, {})
    loaded, _ = load_model(tmp_path / "model.safetensors")
    assert loaded.settings == expected
    assert (expected["skip_connections"], expected["expansive_width"]) == (True, None)
    for name, weight in network.state_dict().items():
        assert torch.equal(loaded.state_dict()[name], weight)


@pytest.mark.parametrize("path", [{"skip_connections": False}, {"expansive_width": 1}], ids=str)
def test_model_of_another_expansive_path_comes_back_as_it_was(tmp_path, path):
    model = UNet(width=2, depth=2, **path).eval()
    save_model(tmp_path / "model.safetensors", model, {})
    loaded, _ = load_model(tmp_path / "model.safetensors")
    assert loaded.settings == model.settings
    image = torch.rand(1, 1, 44, 60)
    with torch.no_grad():
        assert torch.equal(loaded(image), model(image))


def test_same_model_makes_the_same_bytes(tmp_path, network):
    """Ten times: the library orders three names in one of six ways."""
    for number in range(10):
        save_model(tmp_path / str(number), network, DESCRIPTION)
    assert len({path.read_bytes() for path in tmp_path.iterdir()}) == 1


def test_tensors_of_a_model_lie_at_multiples_of_8_bytes(tmp_path, network):
    """Other programs map them into memory, and refuse what is not aligned."""
    for length in range(9):
        save_model(tmp_path / "model", network, {"note": "σ" + "x" * length})
        content = (tmp_path / "model").read_bytes()
        size = int.from_bytes(content[:8], "little")
        assert size % 8 == 0
        header = json.loads(content[8 : 8 + size])
        ends = [entry["data_offsets"][1] for name, entry in header.items() if name[0] != "_"]
        assert 8 + size + max(ends) == len(content)
        assert load_model(tmp_path / "model")[1]["note"] == "σ" + "x" * length


def test_absent_model(tmp_path):
    with pytest.raises(InputError, match=r"x\.safetensors: no such model file"):
        load_model(tmp_path / "x.safetensors")


@pytest.mark.parametrize("keep", [0, 7, 100, 2000])
def test_truncated_model(tmp_path, network, keep):
    path = tmp_path / "model.safetensors"
    save_model(path, network, DESCRIPTION)
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(InputError, match=r"model\.safetensors: not a safetensors file"):
        load_model(path)


def test_file_of_another_kind(tmp_path):
    path = tmp_path / "model.safetensors"
    torch.save({"a": torch.ones(3)}, path)
    with pytest.raises(InputError, match=r"model\.safetensors: not a safetensors file"):
        load_model(path)


@pytest.mark.parametrize(("metadata", "found"), [(None, "None"), ({"format": "pt"}, "'pt'")])
def test_model_of_another_program(tmp_path, metadata, found):
    path = tmp_path / "model.safetensors"
    save_file({"weight": torch.ones(3)}, path, metadata)
    with pytest.raises(InputError, match=f"format {found}, need 'unetcore-1'"):
        load_model(path)


def test_error_about_a_model_is_one_line(tmp_path):
    path = tmp_path / "model.safetensors"
    path.write_bytes(b"\x89PNG\r\n\x1a\n" * 20)
    with pytest.raises(InputError) as caught:
        load_model(path)
    assert "\n" not in str(caught.value)
