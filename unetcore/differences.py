"""What differs between the settings of two trainings, in words."""

import json
from collections.abc import Iterator, Mapping

NAMED = 5
ABSENT = object()


def differences(there: Mapping, now: Mapping) -> str:
    """Say in which settings an earlier training differs from the one that is asked for.

    Parameters
    ----------
    there, now : settings as plain JSON values, in nested dicts.

    Returns
    -------
    As in "training.steps 100, now 200; seed 0, now 1", in the order of `now`; the rest is counted
    after `NAMED`. Empty if they are the same.

    Examples
    --------
    >>> differences({"training": {"steps": 100}}, {"training": {"steps": 200}, "seed": 1})
    'training.steps 100, now 200; seed absent, now 1'
    """
    found = list(_differences(dict(_flatten(there)), dict(_flatten(now))))
    named = found[:NAMED]
    if left := len(found) - len(named):
        named.append(f"and {left} more")
    return "; ".join(named)


def _differences(there: dict, now: dict) -> Iterator[str]:
    for name in now | there:
        earlier, later = there.get(name, ABSENT), now.get(name, ABSENT)
        if earlier != later:
            yield f"{name} {_said(earlier)}, now {_said(later)}"


def _flatten(settings: Mapping, prefix: str = "") -> Iterator[tuple[str, object]]:
    """Pairs of dotted name and value."""
    for key, value in settings.items():
        if isinstance(value, Mapping):
            yield from _flatten(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def _said(value: object) -> str:
    return "absent" if value is ABSENT else json.dumps(value, ensure_ascii=False)
