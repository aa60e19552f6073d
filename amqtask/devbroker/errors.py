"""What the broker refuses, and how far the refusal reaches: a channel (soft) or the whole connection (hard)."""

NAMES = {
    311: "CONTENT_TOO_LARGE",
    312: "NO_ROUTE",
    313: "NO_CONSUMERS",
    320: "CONNECTION_FORCED",
    402: "INVALID_PATH",
    403: "ACCESS_REFUSED",
    404: "NOT_FOUND",
    405: "RESOURCE_LOCKED",
    406: "PRECONDITION_FAILED",
    501: "FRAME_ERROR",
    502: "SYNTAX_ERROR",
    503: "COMMAND_INVALID",
    504: "CHANNEL_ERROR",
    505: "UNEXPECTED_FRAME",
    506: "RESOURCE_ERROR",
    530: "NOT_ALLOWED",
    540: "NOT_IMPLEMENTED",
    541: "INTERNAL_ERROR",
}
"""Reply codes of AMQP 0-9-1 under the names that RabbitMQ writes into its reply texts."""


class Refusal(Exception):
    """The broker refuses what a client asked; `code` and `text` go into the close method that tells it."""

    def __init__(self, code: int, reason: str) -> None:
        self.code = code
        self.text = f"{NAMES.get(code, 'ERROR')} - {reason}"
        super().__init__(self.text)


class SoftError(Refusal):
    """Closes the channel that asked; the connection and its other channels go on."""


class HardError(Refusal):
    """Closes the connection."""


def access_refused(reason: str) -> SoftError:
    return SoftError(403, reason)


def not_found(reason: str) -> SoftError:
    return SoftError(404, reason)


def resource_locked(reason: str) -> SoftError:
    return SoftError(405, reason)


def precondition_failed(reason: str) -> SoftError:
    return SoftError(406, reason)


def connection_forced(reason: str) -> HardError:
    return HardError(320, reason)


def frame_error(reason: str) -> HardError:
    return HardError(501, reason)


def syntax_error(reason: str) -> HardError:
    return HardError(502, reason)


def command_invalid(reason: str) -> HardError:
    return HardError(503, reason)


def channel_error(reason: str) -> HardError:
    return HardError(504, reason)


def unexpected_frame(reason: str) -> HardError:
    return HardError(505, reason)


def not_allowed(reason: str) -> HardError:
    return HardError(530, reason)


def not_implemented(reason: str) -> HardError:
    return HardError(540, reason)


def internal_error(reason: str) -> HardError:
    return HardError(541, reason)
