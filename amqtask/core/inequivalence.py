"""What RabbitMQ says when an object exists with other properties: which one, what was wanted, what is there."""

import re
from dataclasses import dataclass

_TEXT = re.compile(
    r"inequivalent arg '(?P<argument>[^']+)' for (?P<kind>queue|exchange) '(?P<name>.*?)' in vhost '.*?': "
    r"received (?P<wanted>.+?) but current is (?P<found>.+)",
    re.DOTALL,
)
_VALUE = re.compile(r"the value '(?P<typed>.*)' of type '\w+'|'(?P<plain>.*)'", re.DOTALL)


@dataclass(frozen=True, slots=True, kw_only=True)
class Inequivalence:
    """One difference. `wanted` and `found` are None where one side has no such argument."""

    kind: str
    name: str
    argument: str
    wanted: str | None
    found: str | None

    def __str__(self) -> str:
        wanted = "none" if self.wanted is None else self.wanted
        found = "none" if self.found is None else self.found
        return f'{self.kind} "{self.name}": {self.argument} is {found} on the broker, and {wanted} is wanted'


def parse_inequivalence(text: str) -> Inequivalence | None:
    """The difference in the text of a 406 (`rabbit_misc:assert_args_equivalence/4`), or None: it says something else.

    The server names the first difference only.
    """
    match = _TEXT.search(text)
    if match is None:
        return None
    return Inequivalence(
        kind=match["kind"],
        name=match["name"],
        argument=match["argument"],
        wanted=_value(match["wanted"]),
        found=_value(match["found"]),
    )


def _value(text: str) -> str | None:
    text = text.strip()
    if text == "none":
        return None
    match = _VALUE.fullmatch(text)
    if match is None:
        return text
    return match["plain"] if match["typed"] is None else match["typed"]
