"""Compressed bodies and the limit of what they unfold to."""

import bz2
import gzip
import lzma
import struct
import tracemalloc
import zlib

import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from amqtask.core.compress import COMPRESSORS, Compressor, compress, decompress, find_compressor
from amqtask.errors import ConfigError, ContentRefused, Undecodable

NAMES = ("gzip", "zlib", "bzip2", "bz2", "lzma", "xz", "zstd", "zstandard")
TYPES = ("application/x-gzip", "application/x-bz2", "application/x-lzma", "application/zstd")
MIB = 2**20


@given(st.binary(max_size=2000), st.sampled_from(NAMES))
def test_every_compression_brings_back_what_it_was_given(body: bytes, name: str) -> None:
    squeezed, content_type = compress(body, name)

    assert content_type in TYPES
    assert decompress(squeezed, content_type, 2000) == body
    assert decompress(squeezed, name, 2000) == body


@pytest.mark.parametrize("name", NAMES)
def test_the_limit_is_the_largest_size_that_is_allowed(name: str) -> None:
    squeezed, content_type = compress(b"x" * 10_000, name)

    assert len(decompress(squeezed, content_type, 10_000)) == 10_000
    for limit in (9_999, 1, 0):
        with pytest.raises(Undecodable, match=f"more than the {limit} bytes that are allowed"):
            decompress(squeezed, content_type, limit)


@pytest.mark.parametrize("content_type", TYPES)
def test_a_bomb_is_refused_without_the_memory_that_it_asks_for(content_type: str) -> None:
    squeezed, _ = compress(bytes(64 * MIB), content_type)
    assert len(squeezed) < MIB

    tracemalloc.start()
    with pytest.raises(Undecodable, match=f"more than the {MIB} bytes"):
        decompress(squeezed, content_type, MIB)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()

    # lzma's dictionary alone is 8 MiB.
    assert peak < 16 * MIB


def test_a_zstd_frame_that_does_not_say_its_size_is_bounded_as_well() -> None:
    squeezer = zstandard.ZstdCompressor(write_content_size=False)
    frame = squeezer.compress(bytes(50 * MIB))
    small = squeezer.compress(b"abc")

    assert decompress(small, "zstd", 10) == b"abc"
    with pytest.raises(Undecodable, match="application/zstd"):
        decompress(frame, "zstd", MIB)


def test_an_lzma_header_that_asks_for_a_huge_dictionary_is_refused() -> None:
    honest = lzma.compress(b"abc", format=lzma.FORMAT_ALONE)
    body = honest[:1] + struct.pack("<I", 2**30) + honest[5:]

    assert decompress(honest, "lzma", MIB) == b"abc"
    with pytest.raises(Undecodable, match=r"application/x-lzma: Memory usage limit"):
        decompress(body, "lzma", MIB)


@pytest.mark.parametrize("name", ["gzip", "bz2", "lzma", "zstd"])
def test_data_that_are_cut_off_or_damaged_or_too_many_are_refused(name: str) -> None:
    squeezed, _ = compress(b"hello world" * 20, name)

    for end in range(len(squeezed)):
        with pytest.raises(Undecodable, match="cannot be decompressed as application"):
            decompress(squeezed[:end], name, 1000)
    with pytest.raises(Undecodable):
        decompress(squeezed + b"tail", name, 1000)
    with pytest.raises(Undecodable):
        decompress(b"not compressed at all", name, 1000)


@given(st.binary(max_size=100), st.sampled_from(TYPES))
def test_any_bytes_are_decompressed_or_refused(body: bytes, content_type: str) -> None:
    try:
        plain = decompress(body, content_type, 1000)
    except Undecodable:
        return
    assert len(plain) <= 1000


def test_the_formats_are_those_that_celery_writes() -> None:
    assert compress(b"abc", "gzip") == (zlib.compress(b"abc"), "application/x-gzip")
    assert compress(b"abc", "bzip2") == (bz2.compress(b"abc"), "application/x-bz2")
    assert compress(b"abc", "lzma") == (lzma.compress(b"abc"), "application/x-lzma")


def test_what_is_really_gzip_is_read_as_well() -> None:
    assert decompress(gzip.compress(b"abc"), "application/x-gzip", 10) == b"abc"


def test_an_unknown_compression_is_a_mistake_here_and_refused_from_others() -> None:
    with pytest.raises(ConfigError, match=r"unknown compression 'rar' \(known are bz2, bzip, bzip2, gzip"):
        compress(b"", "rar")
    with pytest.raises(ContentRefused, match="compression 'application/x-brotli' is not known here"):
        decompress(b"", "application/x-brotli", 10)


def test_a_compressor_knows_whether_its_module_is_here() -> None:
    missing = Compressor(content_type="x/y", names=("y",), compress=bytes, decompress=lambda b, _: b, module="no_such")

    assert missing.missing_module() == "no_such"
    assert all(compressor.missing_module() is None for compressor in COMPRESSORS)
    assert find_compressor("zstd").module == "zstandard"
