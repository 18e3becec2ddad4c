"""Length of time, as people read it."""


def duration(seconds: float) -> str:
    """Length of time in the unit that suits it.

    Examples
    --------
    >>> duration(3.2), duration(100), duration(1500), duration(9000)
    ('3 s', '100 s', '25 min', '2.5 h')
    """
    if seconds < 120:
        return f"{seconds:.0f} s"
    if seconds < 7200:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h"
