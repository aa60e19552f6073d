"""Fields: a mapping from outside (YAML, JSON, a command line) read key by key, each with its type."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from amqtask.errors import InvalidSchedule


@dataclass(frozen=True, slots=True)
class Fields:
    """The fields of one thing, called `what` in messages. Every method raises `InvalidSchedule` for a wrong value."""

    what: str
    data: Mapping[str, object]

    def only(self, known: Collection[str]) -> "Fields":
        """Itself, if there is no key but these."""
        unknown = [str(key) for key in self.data if key not in known]
        if unknown:
            raise InvalidSchedule(f"{self.what}: there is no {', '.join(unknown)}, only {', '.join(sorted(known))}")
        return self

    def text(self, key: str) -> str:
        value = self.data.get(key)
        if not isinstance(value, str):
            raise self._wrong(key, "a text")
        return value

    def number(self, key: str, default: float | None = None) -> float:
        value = self.data.get(key, default)
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            raise self._wrong(key, "a number")
        return value

    def whole(self, key: str, default: int) -> int:
        value = self.data.get(key, default)
        if isinstance(value, bool) or not isinstance(value, int):
            raise self._wrong(key, "a whole number")
        return value

    def flag(self, key: str, default: bool) -> bool:
        value = self.data.get(key, default)
        if not isinstance(value, bool):
            raise self._wrong(key, "true or false")
        return value

    def items(self, key: str) -> tuple[object, ...]:
        value = self.data.get(key, ())
        if isinstance(value, str) or not isinstance(value, Sequence):
            raise self._wrong(key, "a list")
        return tuple(value)

    def mapping(self, key: str) -> dict[str, object]:
        value = self.data.get(key, {})
        if not isinstance(value, Mapping):
            raise self._wrong(key, "a mapping")
        return {str(name): item for name, item in value.items()}

    def instant(self, key: str) -> datetime:
        value = self.data.get(key)
        if isinstance(value, datetime):
            return value
        try:
            return datetime.fromisoformat(value if isinstance(value, str) else "")
        except ValueError as error:
            raise self._wrong(key, "a time such as 2026-12-24T18:00:00") from error

    def has(self, key: str) -> bool:
        return self.data.get(key) is not None

    def _wrong(self, key: str, wanted: str) -> InvalidSchedule:
        return InvalidSchedule(f"{self.what}: `{key}` must be {wanted}, not {self.data.get(key)!r}")
