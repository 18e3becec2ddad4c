"""The safetensors format: named tensors, and named strings, in one file.

It is small enough to be read and written here, so that no machine needs a library for it.

A file is the length of its header in 8 bytes, little-endian; the header as JSON, padded with blanks
to a multiple of 8; and the tensors, at offsets that count from the end of the header.
"""

import json
import math
from collections.abc import Mapping
from pathlib import Path

import torch

from unetcore.errors import InputError

DTYPES = {
    "F64": torch.float64,
    "F32": torch.float32,
    "F16": torch.float16,
    "BF16": torch.bfloat16,
    "I64": torch.int64,
    "I32": torch.int32,
    "I16": torch.int16,
    "I8": torch.int8,
    "U8": torch.uint8,
    "BOOL": torch.bool,
}
NAMES = {dtype: name for name, dtype in DTYPES.items()}
METADATA = "__metadata__"
LENGTH_BYTES = 8
ALIGNMENT = 8  # bytes, of the first tensor: other programs map files into memory


def pack_tensors(tensors: Mapping[str, torch.Tensor], metadata: Mapping[str, str]) -> bytes:
    """Content of a safetensors file; equal tensors make equal bytes.

    Parameters
    ----------
    tensors : of the number types in `DTYPES`, by name. The widest types come first, so that each
        tensor is aligned, and among equals the names are in order.
    metadata : strings by name.
    """
    header, parts, end = {METADATA: dict(metadata)}, [], 0
    for name in sorted(tensors, key=lambda name: (-tensors[name].itemsize, name)):
        tensor = tensors[name].detach().cpu().contiguous()
        begin, end = end, end + tensor.nbytes
        header[name] = {
            "dtype": NAMES[tensor.dtype],
            "shape": list(tensor.shape),
            "data_offsets": [begin, end],
        }
        parts.append(tensor.reshape(-1).view(torch.uint8).numpy().tobytes())
    text = json.dumps(header, sort_keys=True, separators=(",", ":")).encode()
    text += b" " * (-len(text) % ALIGNMENT)
    return b"".join((len(text).to_bytes(LENGTH_BYTES, "little"), text, *parts))


def read_tensors(path: Path) -> tuple[dict[str, torch.Tensor], dict[str, str]]:
    """Read a safetensors file.

    Returns
    -------
    tensors on the CPU by name, metadata.

    Raises
    ------
    InputError : the file is no such file, or is damaged.
    """
    content = bytearray(path.read_bytes())
    start = LENGTH_BYTES + int.from_bytes(content[:LENGTH_BYTES], "little")
    try:
        header = json.loads(content[LENGTH_BYTES:start]) if start <= len(content) else None
        if not isinstance(header, dict):
            raise ValueError("no header")
        metadata = header.pop(METADATA, {})
        _check_offsets([entry["data_offsets"] for entry in header.values()], len(content) - start)
        tensors = {name: _tensor(entry, content, start) for name, entry in header.items()}
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        reason = str(error).splitlines()[0]
        raise InputError(f"{path}: not a safetensors file ({reason})") from error
    return tensors, metadata


def _check_offsets(offsets, size):
    """Refuse tensors that do not lie one behind the other, up to the end of the file."""
    end = 0
    for first, last in sorted(map(tuple, offsets)):
        if first != end or last < first:
            raise ValueError(f"a tensor at bytes {first} to {last}, expected to begin at {end}")
        end = last
    if end != size:
        raise ValueError(f"tensors of {end} bytes, and {size} are there")


def _tensor(entry, content, start):
    """Tensor that an entry of the header describes, in memory of its own."""
    begin, end = (start + offset for offset in entry["data_offsets"])
    dtype, shape = DTYPES[entry["dtype"]], entry["shape"]
    if math.prod(shape) * dtype.itemsize != end - begin:
        raise ValueError(f"{end - begin} bytes for a tensor of shape {shape}")
    if begin == end:
        return torch.empty(shape, dtype=dtype)
    return torch.frombuffer(content[begin:end], dtype=dtype).reshape(shape)
