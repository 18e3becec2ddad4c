"""In which settings two experiments differ, in words."""

from collections.abc import Mapping

from unetcore.tables.records import flat


def describe_change(
    base: Mapping[str, object], changed: Mapping[str, object], name: str = "base"
) -> str:
    """Say in which settings a variant differs from its base.

    Parameters
    ----------
    base, changed : sections of settings.
    name : what the base is called.

    Returns
    -------
    str, with values as the configuration writes them; a setting that only one side has is null on
    the other.

    Examples
    --------
    >>> base = {"training": {"steps": 9, "learning_rate": 0.005}}
    >>> describe_change(base, {"training": {"steps": 9, "learning_rate": 0.001}}, "em")
    'training.learning_rate 0.001 (em: 0.005)'
    >>> describe_change(base, base, "em")
    'as em'
    """
    before, after = flat(base), flat(changed)
    keys = [key for key in (before | after) if before.get(key) != after.get(key)]
    changes = [f"{key} {_word(after.get(key))} ({name}: {_word(before.get(key))})" for key in keys]
    return "; ".join(changes) or f"as {name}"


def _word(value: object) -> str:
    """Value as the configuration writes it."""
    return {"None": "null", "True": "true", "False": "false"}.get(str(value), str(value))
