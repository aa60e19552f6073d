"""Compressed bodies, with an end to what a small message may unfold to.

The content types are kombu's (`kombu/compression.py`), which call zlib's own format `application/x-gzip`; both zlib's
and gzip's are read. zstd needs the package `zstandard`; some builds of Python lack bz2 or lzma.
"""

import importlib.util
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from amqtask.errors import ConfigError, ContentRefused, Problem, Undecodable

_LZMA_MEMORY = 128 * 2**20
"""Bytes. lzma allocates the dictionary that a header asks for, up to 4 GiB; preset 9 needs 65 MiB."""

_ZSTD_WINDOW = 2**27
"""Bytes. The largest window that the zstd tool takes unless told otherwise."""

_ZLIB_OR_GZIP = 32 + zlib.MAX_WBITS


@dataclass(frozen=True, slots=True, kw_only=True)
class Compressor:
    """A way to compress: its content type, its names, and the functions.

    `decompress` takes the data and a limit in bytes, and may return one byte more than that to say that there is more.
    """

    content_type: str
    names: tuple[str, ...]
    compress: Callable[[bytes], bytes]
    decompress: Callable[[bytes, int], bytes]
    module: str | None = None

    def missing_module(self) -> str | None:
        """The module that it needs and that is not installed."""
        if self.module is None or importlib.util.find_spec(self.module) is not None:
            return None
        return self.module


def find_compressor(name: str) -> Compressor:
    """The compressor of this name or content type.

    Raises:
        ConfigError: there is none, or its module is not installed.
    """
    compressor = _BY_NAME.get(name)
    if compressor is None:
        known = ", ".join(sorted(known for known in _BY_NAME if "/" not in known))
        raise ConfigError([Problem(message=f"unknown compression {name!r}", hint=f"known are {known}")])
    missing = compressor.missing_module()
    if missing is not None:
        raise ConfigError([Problem(message=f"compression {name!r} needs the Python module {missing}")])
    return compressor


def compress(body: bytes, name: str) -> tuple[bytes, str]:
    """The compressed body and the content type that says how.

    Raises:
        ConfigError: there is no such compression here.
    """
    compressor = find_compressor(name)
    return compressor.compress(body), compressor.content_type


def decompress(body: bytes, content_type: str, max_size: int) -> bytes:
    """The body as it was; `content_type` may also be a name. No more than `max_size` bytes are ever made.

    Raises:
        ContentRefused: the compression is unknown, or its module is not installed.
        Undecodable: the data are damaged or cut off, or hold more than `max_size` bytes.
    """
    compressor = _BY_NAME.get(content_type)
    if compressor is None:
        raise ContentRefused(f"compression {content_type!r:.100} is not known here")
    missing = compressor.missing_module()
    if missing is not None:
        raise ContentRefused(f"compression {content_type!r} needs the Python module {missing}, which is not installed")
    try:
        plain = compressor.decompress(body, max_size)
    except Undecodable:
        raise
    except Exception as error:
        reason = str(error) or type(error).__name__
        raise Undecodable(f"the body cannot be decompressed as {compressor.content_type}: {reason}") from error
    if len(plain) > max_size:
        raise _too_large(max_size)
    return plain


def _too_large(max_size: int) -> Undecodable:
    return Undecodable(f"the compressed body holds more than the {max_size} bytes that are allowed")


class _Decompressor(Protocol):
    @property
    def eof(self) -> bool: ...
    @property
    def unused_data(self) -> bytes: ...
    def decompress(self, data: bytes, max_length: int, /) -> bytes: ...


def _bounded(decompressor: _Decompressor, body: bytes, max_size: int) -> bytes:
    plain = decompressor.decompress(body, max_size + 1)
    if len(plain) > max_size:
        return plain
    if not decompressor.eof:
        raise ValueError("the data are cut off")
    if decompressor.unused_data:
        raise ValueError("there are more data after the end")
    return plain


def _decompress_zlib(body: bytes, max_size: int) -> bytes:
    return _bounded(zlib.decompressobj(_ZLIB_OR_GZIP), body, max_size)


def _compress_bz2(body: bytes) -> bytes:
    import bz2

    return bz2.compress(body)


def _decompress_bz2(body: bytes, max_size: int) -> bytes:
    import bz2

    return _bounded(bz2.BZ2Decompressor(), body, max_size)


def _compress_lzma(body: bytes) -> bytes:
    import lzma

    return lzma.compress(body)


def _decompress_lzma(body: bytes, max_size: int) -> bytes:
    import lzma

    return _bounded(lzma.LZMADecompressor(memlimit=_LZMA_MEMORY), body, max_size)


def _compress_zstd(body: bytes) -> bytes:
    import zstandard

    return zstandard.ZstdCompressor().compress(body)


def _decompress_zstd(body: bytes, max_size: int) -> bytes:
    import zstandard

    frame = zstandard.get_frame_parameters(body)
    if frame.content_size != zstandard.CONTENTSIZE_UNKNOWN and frame.content_size > max_size:
        raise _too_large(max_size)
    decompressor = zstandard.ZstdDecompressor(max_window_size=_ZSTD_WINDOW)
    return decompressor.decompress(body, max_output_size=max_size, allow_extra_data=False)


COMPRESSORS = (
    Compressor(
        content_type="application/x-gzip",
        names=("gzip", "zlib"),
        compress=zlib.compress,
        decompress=_decompress_zlib,
    ),
    Compressor(
        content_type="application/x-bz2",
        names=("bzip2", "bzip", "bz2"),
        compress=_compress_bz2,
        decompress=_decompress_bz2,
        module="_bz2",
    ),
    Compressor(
        content_type="application/x-lzma",
        names=("lzma", "xz"),
        compress=_compress_lzma,
        decompress=_decompress_lzma,
        module="_lzma",
    ),
    Compressor(
        content_type="application/zstd",
        names=("zstd", "zstandard"),
        compress=_compress_zstd,
        decompress=_decompress_zstd,
        module="zstandard",
    ),
)

_BY_NAME = {name: compressor for compressor in COMPRESSORS for name in (compressor.content_type, *compressor.names)}
