"""Names for broker objects that no other test, and no other run on the same broker, uses."""

import uuid


def unique(name: str) -> str:
    """The name with a random tail; it does not begin with `amq`, which old brokers do not export."""
    return f"t.{name}.{uuid.uuid4().hex[:12]}"
