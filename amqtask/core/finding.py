"""What a check found, with its place in the configuration."""

from collections.abc import Iterable
from dataclasses import dataclass
from difflib import get_close_matches

from amqtask.core.topology import Path


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """Something wrong, or with `is_warning` something worth a look, at a path of the configuration."""

    path: Path
    message: str
    hint: str | None = None
    is_warning: bool = False


def nearest(name: str, known: Iterable[str]) -> str:
    """A hint: the name that was probably meant, or all of them where none is near."""
    names = list(known)
    # Of a name of two letters, one wrong letter is half.
    if close := get_close_matches(name, names, n=1, cutoff=0.5 if len(name) < 4 else 0.6):
        return f'did you mean "{close[0]}"?'
    return f"known: {', '.join(names)}" if names else "none is known"
