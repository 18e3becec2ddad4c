"""Model files and training states: what was written comes back, and nothing else is taken."""

import errno
import os

import pytest
import torch
from safetensors.torch import save_file

from unetcore.checkpoint import load_model, load_state, save_model, save_state, write_atomically
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


def test_state_comes_back_as_it_was(tmp_path):
    state = {"step": 7, "model": {"w": torch.rand(2, 3)}, "losses": [torch.tensor(0.5)], "of": "x"}
    path = tmp_path / "new" / "state.pt"
    save_state(path, state)
    loaded = load_state(path)
    assert (loaded["step"], loaded["of"]) == (7, "x")
    assert torch.equal(loaded["model"]["w"], state["model"]["w"])
    assert torch.equal(loaded["losses"][0], state["losses"][0])
    assert [p.name for p in path.parent.iterdir()] == ["state.pt"]


def test_absent_state(tmp_path):
    assert load_state(tmp_path / "state.pt") is None


@pytest.mark.parametrize("content", [b"", b"not a state", b"PK\x03\x04 cut off"])
def test_damaged_state_counts_as_none_and_says_so(tmp_path, content, caplog):
    path = tmp_path / "state.pt"
    path.write_bytes(content)
    assert load_state(path) is None
    (record,) = caplog.records
    assert record.levelname == "WARNING"
    assert f"{path} is damaged" in record.getMessage()
    assert "\n" not in record.getMessage()


def test_truncated_state_counts_as_none(tmp_path, caplog):
    path = tmp_path / "state.pt"
    save_state(path, {"w": torch.rand(1000)})
    path.write_bytes(path.read_bytes()[:2000])
    assert load_state(path) is None
    assert "is damaged" in caplog.text


def test_state_that_would_run_code_is_not_loaded(tmp_path):
    class Harm:
        def __reduce__(self):
            return os.mkdir, (str(tmp_path / "harm"),)

    torch.save({"step": Harm()}, tmp_path / "state.pt")
    assert load_state(tmp_path / "state.pt") is None
    assert not (tmp_path / "harm").exists()


@pytest.mark.parametrize("write", [write_atomically, lambda path, _: save_state(path, {"step": 2})])
def test_interrupted_write_leaves_the_old_file(tmp_path, monkeypatch, write):
    path = tmp_path / "state.pt"
    path.write_bytes(b"old")

    def stop(descriptor):
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "fsync", stop)
    with pytest.raises(KeyboardInterrupt):
        write(path, b"new")
    assert path.read_bytes() == b"old"


def test_write_replaces_the_whole_file(tmp_path):
    path = tmp_path / "a" / "b.txt"
    write_atomically(path, b"longer content")
    write_atomically(path, b"short")
    assert path.read_bytes() == b"short"


def test_full_disk_names_the_file_and_leaves_nothing(tmp_path, monkeypatch):
    def full(descriptor):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("unetcore.checkpoint.os.fsync", full)
    with pytest.raises(OSError, match="No space left") as caught:
        save_state(tmp_path / "run.pt", {"step": 1})
    assert caught.value.filename == str(tmp_path / "run.pt")
    assert list(tmp_path.iterdir()) == []
