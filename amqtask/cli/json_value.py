"""Options whose value is JSON."""

import json
from collections.abc import Callable
from typing import Any

import click


def json_value(kind: type[Any]) -> Callable[[click.Context, click.Parameter, str | None], Any]:
    """A callback that decodes an option's JSON; `kind` is list or dict."""

    def decode(context: click.Context, parameter: click.Parameter, value: str | None) -> Any:
        if value is None:
            return None
        try:
            decoded = json.loads(value)
        except json.JSONDecodeError as error:
            raise click.BadParameter(
                f"not JSON: {error.msg} at character {error.pos + 1}", context, parameter
            ) from None
        if not isinstance(decoded, kind):
            raise click.BadParameter(f"not a JSON {'object' if kind is dict else 'list'}", context, parameter)
        return decoded

    return decode
