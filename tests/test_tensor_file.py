"""Files of tensors: the same as the safetensors library's, either way."""

import json
import re

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save, save_file

from unetcore.errors import InputError
from unetcore.tensor_file import DTYPES, pack_tensors, read_tensors

METADATA = {"format": "mine", "note": "σ = 5 px"}


def some_tensors():
    generator = torch.Generator().manual_seed(0)
    drawn = {name: torch.rand(3, 5, generator=generator) * 100 for name in DTYPES}
    tensors = {f"of {name}": drawn[name].to(dtype) for name, dtype in DTYPES.items()}
    return tensors | {"scalar": torch.tensor(2.5), "none": torch.empty(0, 3), "a": torch.ones(7)}


def test_the_library_reads_what_is_packed(tmp_path):
    tensors = some_tensors()
    (tmp_path / "file").write_bytes(pack_tensors(tensors, METADATA))
    with safe_open(tmp_path / "file", framework="pt") as file:
        assert file.metadata() == METADATA
        assert set(file.keys()) == set(tensors)
        for name, tensor in tensors.items():
            assert torch.equal(file.get_tensor(name), tensor)


def test_what_the_library_writes_is_read(tmp_path):
    tensors = some_tensors()
    save_file(tensors, tmp_path / "file", METADATA)
    found, metadata = read_tensors(tmp_path / "file")
    assert metadata == METADATA
    assert set(found) == set(tensors)
    for name, tensor in tensors.items():
        assert found[name].dtype == tensor.dtype
        assert torch.equal(found[name], tensor)


def test_bytes_are_the_librarys_but_for_the_order_in_the_header():
    tensors = {"b": torch.arange(5.0), "a": torch.ones(2, 3), "n": torch.tensor(3)}
    metadata = {"note": "5 px"}
    library, ours = save(tensors, metadata), pack_tensors(tensors, metadata)
    assert len(library) == len(ours)
    end = 8 + int.from_bytes(ours[:8], "little")
    assert json.loads(library[8:end]) == json.loads(ours[8:end])
    assert library[end:] == ours[end:]


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"dtype": "F8"}, "'F8'"),
        ({"shape": [4]}, "12 bytes for a tensor of shape [4]"),
        ({"data_offsets": [4, 16]}, "a tensor at bytes 4 to 16, expected to begin at 0"),
        ({"data_offsets": [0, 8]}, "tensors of 8 bytes, and 12 are there"),
        ({"data_offsets": None}, "'NoneType' object is not iterable"),
    ],
)
def test_a_header_that_does_not_fit_is_one_line(tmp_path, change, complaint):
    entry = {"dtype": "F32", "shape": [3], "data_offsets": [0, 12]} | change
    header = json.dumps({"a": entry}).encode()
    path = tmp_path / "file"
    path.write_bytes(len(header).to_bytes(8, "little") + header + bytes(12))
    line = re.escape(f"file: not a safetensors file ({complaint})")
    with pytest.raises(InputError, match=line):
        read_tensors(path)
