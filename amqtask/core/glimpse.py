"""A short look at a value of unknown origin, for error messages: bounded in time and length, and it never raises."""

from datetime import datetime
from decimal import Decimal


def glimpse(value: object) -> str:
    """The value itself where it is a small scalar, else what kind of thing it is."""
    if value is None or isinstance(value, bool | float | Decimal | datetime):
        return repr(value)
    if type(value) is int:
        # Python refuses to write out ints of more than some thousand digits.
        return repr(value) if value.bit_length() <= 64 else f"an int of {value.bit_length()} bits"
    if type(value) is str or type(value) is bytes:
        return repr(value) if len(value) <= 80 else f"{value[:80]!r}…"
    if isinstance(value, list | tuple):
        return f"a list of {len(value)}"
    if isinstance(value, dict):
        return f"an object with {len(value)} members"
    return f"a {type(value).__name__}"
