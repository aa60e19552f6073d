"""Signatures of control messages: HMAC-SHA256 over the time, a number used once, and the body."""

import collections
import hashlib
import hmac

from amqtask.core.message import Headers, HeaderValue

TIME = "aqt-time"
NONCE = "aqt-nonce"
SIGNATURE = "aqt-signature"

WINDOW = 60.0
"""Seconds by which a command's time may differ from ours; for so long its nonce is remembered."""


class Refused(Exception):
    """The message is not signed by somebody who knows the secret, or not now."""


def sign(secret: str, body: bytes, *, now: float, nonce: str) -> dict[str, HeaderValue]:
    """The headers that sign a body."""
    return {TIME: int(now * 1000), NONCE: nonce, SIGNATURE: _mac(secret, int(now * 1000), nonce, body)}


def verify(secret: str, body: bytes, headers: Headers) -> tuple[float, str]:
    """The time and the nonce of a body that is signed with the secret.

    Raises:
        Refused: it is unsigned, or signed with another secret.
    """
    time, nonce, signature = headers.get(TIME), headers.get(NONCE), headers.get(SIGNATURE)
    if not isinstance(time, int) or not isinstance(nonce, str) or not isinstance(signature, str):
        raise Refused("it is not signed")
    if not hmac.compare_digest(_mac(secret, time, nonce, body), signature):
        raise Refused("its signature is wrong")
    return time / 1000, nonce


class Guard:
    """Takes each signed message once, within the window. With no secret it takes all."""

    def __init__(self, secret: str | None) -> None:
        self._secret = secret
        self._seen: collections.OrderedDict[str, float] = collections.OrderedDict()
        self.refused = 0
        """How many messages were refused."""

    def check(self, body: bytes, headers: Headers, now: float) -> None:
        """Let a message pass.

        Raises:
            Refused: it is unsigned, wrongly signed, too old, from the future, or was here before.
        """
        if self._secret is None:
            return
        try:
            self._check(self._secret, body, headers, now)
        except Refused:
            self.refused += 1
            raise

    def _check(self, secret: str, body: bytes, headers: Headers, now: float) -> None:
        time, nonce = verify(secret, body, headers)
        if abs(now - time) > WINDOW:
            raise Refused(f"it was signed {now - time:.0f} s ago, by the clocks of here and there")
        while self._seen and next(iter(self._seen.values())) < now - 2 * WINDOW:
            self._seen.popitem(last=False)
        if nonce in self._seen:
            raise Refused("it was here before")
        self._seen[nonce] = now


def _mac(secret: str, time: int, nonce: str, body: bytes) -> str:
    return hmac.new(secret.encode(), f"{time}.{nonce}.".encode() + body, hashlib.sha256).hexdigest()
