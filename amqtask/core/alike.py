"""Decoding content headers that are alike: those of one task differ in a few texts, such as ids.

A header is compared with one of the same length that was decoded before. Where all octets agree but for texts that are
known to differ, every name, type and length is the same, and these texts are all that is to be decoded. Measured on the
header of a task message: 3.4 µs instead of 10.6, of the 38 µs that a no-op task then cost its worker.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

from amqtask.core.content import BODY_SIZE, Span, decode_envelope, text_spans
from amqtask.core.message import Envelope, HeaderValue

FORMS = 256
"""Lengths of which a header is remembered."""
LESSONS = 32
"""How often headers of one length are compared in full; where they have little in common, that is no use."""


@dataclass(slots=True)
class _Form:
    """A header that was decoded: which of its octets must be the same in another one, and where its texts differ."""

    header: bytes
    envelope: Envelope
    fixed: tuple[tuple[int, int, bytes], ...]
    texts: tuple[Span, ...]
    nested: tuple[tuple[str, list[HeaderValue] | dict[str, HeaderValue]], ...]
    lessons: int

    def fill(self, header: bytes, body: bytes) -> Envelope:
        """What another header of this form says. Raises UnicodeDecodeError for a text that is none."""
        known = self.envelope
        headers = dict(known.headers)
        correlation_id = known.correlation_id
        for name, start, end in self.texts:
            text = header[start:end].decode()
            if name is None:
                correlation_id = text
            else:
                headers[name] = text
        for key, value in self.nested:
            headers[key] = value.copy()
        return Envelope(
            body=body,
            headers=headers,
            content_type=known.content_type,
            content_encoding=known.content_encoding,
            delivery_mode=known.delivery_mode,
            priority=known.priority,
            correlation_id=correlation_id,
            reply_to=known.reply_to,
            expiration=known.expiration,
            message_id=known.message_id,
            timestamp=known.timestamp,
            type=known.type,
            user_id=known.user_id,
            app_id=known.app_id,
        )


class HeaderReader:
    """Decodes the headers of one channel. Belongs to one thread."""

    def __init__(self) -> None:
        self._forms: dict[int, _Form] = {}

    def decode(self, header: bytes, body: bytes) -> Envelope:
        """As `amqtask.core.content.decode_envelope`, and equal to what that returns.

        Raises:
            MalformedMessage: as there.
        """
        form = self._forms.get(len(header))
        if form is not None:
            for start, end, octets in form.fixed:
                if header[start:end] != octets:
                    break
            else:
                try:
                    return form.fill(header, body)
                except UnicodeDecodeError:
                    return decode_envelope(header, body)
        envelope = decode_envelope(header, body)
        if form is None or form.lessons < LESSONS:
            self._learn(header, envelope, form)
        return envelope

    def _learn(self, header: bytes, envelope: Envelope, form: _Form | None) -> None:
        spans = text_spans(header)
        nested = [(name, value) for name, value in envelope.headers.items() if isinstance(value, list | dict)]
        # Each message gets lists and tables of its own; what is in them is shared, and so must not be changeable.
        if any(isinstance(item, list | dict) for _, value in nested for item in _items(value)):
            return
        texts: list[Span] = []
        if form is not None:
            before, known = form.header, form.texts
            texts = [span for span in spans if span in known or header[span[1] : span[2]] != before[span[1] : span[2]]]
            if any(before[start:end] != octets for start, end, octets in _between(header, texts)):
                texts = []  # they differ in more than texts: the new one takes the place of the old
        if len(self._forms) >= FORMS:
            self._forms.clear()
        self._forms[len(header)] = _Form(
            header=header,
            envelope=replace(envelope, body=b"", headers=dict(envelope.headers)),
            fixed=tuple(_between(header, texts)),
            texts=tuple(texts),
            nested=tuple((name, value.copy()) for name, value in nested),
            lessons=1 if form is None else form.lessons + 1,
        )


def _items(value: list[HeaderValue] | dict[str, HeaderValue]) -> Iterable[HeaderValue]:
    return value.values() if isinstance(value, dict) else value


def _between(header: bytes, texts: Iterable[Span]) -> Iterator[tuple[int, int, bytes]]:
    """The octets outside of the texts and of the body's size: (start, end, octets)."""
    at = 0
    for _, start, end in [(None, *BODY_SIZE), *texts]:
        yield at, start, header[at:start]
        at = end
    yield at, len(header), header[at:]
