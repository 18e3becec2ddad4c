"""JSON records, as trainings and evaluations leave them behind."""

import json
from collections.abc import Mapping
from pathlib import Path

from unetcore.errors import InputError


def read_record(path: Path) -> dict[str, object]:
    """Read a JSON file that holds one object.

    Raises
    ------
    InputError : no such file, no JSON, or something else than an object.
    """
    path = Path(path)
    if not path.is_file():
        raise InputError(f"{path}: no such file")
    try:
        content = json.loads(path.read_text("utf-8"))
    except json.JSONDecodeError as error:
        raise InputError(f"{path}: not a JSON file ({error})") from error
    if not isinstance(content, dict):
        raise InputError(f"{path}: expected one JSON object")
    return content


def flat(record: Mapping[str, object], prefix: str = "") -> dict[str, object]:
    """Record without sections: their parts are called SECTION.PART, lists are joined by spaces.

    Examples
    --------
    >>> flat({"training": {"steps": 9}, "frames": ["a", "b"]})
    {'training.steps': 9, 'frames': 'a b'}
    """
    parts: dict[str, object] = {}
    for key, value in record.items():
        if isinstance(value, dict):
            parts |= flat(value, f"{prefix}{key}.")
        else:
            parts[prefix + key] = " ".join(map(str, value)) if isinstance(value, list) else value
    return parts
