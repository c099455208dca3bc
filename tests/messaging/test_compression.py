"""Compressed content is restored up to a bound; other bytes are reported as corrupt."""

import gzip
import resource
import zlib
from contextlib import suppress

import cramjam
import pytest
from aiokafka import codec
from hypothesis import given
from hypothesis import strategies as st

from shared.messaging.compression import CorruptError, expand
from tests.support.raw_kafka import COMPRESS, GZIP, LZ4, SNAPPY, ZSTD

CODECS = (GZIP, SNAPPY, LZ4, ZSTD)
AIOKAFKA = {GZIP: codec.gzip_encode, SNAPPY: codec.snappy_encode, LZ4: codec.lz4_encode, ZSTD: codec.zstd_encode}
MOST = 1 << 20


@given(content=st.binary(max_size=3_000), times=st.sampled_from([1, 50]), number=st.sampled_from(CODECS))
def test_compressed_content_is_restored(content: bytes, times: int, number: int):
    content *= times
    assert expand(number, COMPRESS[number](content), MOST) == (content, True)
    assert expand(number, AIOKAFKA[number](content), MOST) == (content, True)


@pytest.mark.parametrize("number", CODECS)
@pytest.mark.parametrize("size", [0, 1, MOST - 1, MOST])
def test_content_up_to_the_bound_is_complete(number: int, size: int):
    assert expand(number, COMPRESS[number](bytes(size)), MOST) == (bytes(size), True)


@pytest.mark.parametrize("number", [GZIP, LZ4, ZSTD])
def test_beyond_the_bound_the_first_bytes_are_returned(number: int):
    content = bytes(range(256)) * (MOST // 100)
    assert expand(number, COMPRESS[number](content), MOST) == (content[:MOST], False)


def test_snappy_is_cut_to_complete_blocks():
    content = bytes(range(256)) * (MOST // 100)
    restored, is_all = expand(SNAPPY, AIOKAFKA[SNAPPY](content), MOST)
    assert (restored, is_all) == (content[: MOST // 32_768 * 32_768], False)
    assert expand(SNAPPY, COMPRESS[SNAPPY](content), MOST) == (b"", False)


@pytest.mark.parametrize("number", [GZIP, ZSTD])
def test_gigabytes_are_decompressed_up_to_the_bound(number: int):
    """A gigabyte in a few kilobytes: this process does not grow by a tenth of it."""
    compressor = zlib.compressobj(9, zlib.DEFLATED, 31) if number == GZIP else cramjam.zstd.Compressor()
    parts = [compressor.compress(bytes(1 << 20)) for _ in range(1_000)]
    swollen = b"".join(map(bytes, parts)) if number == GZIP else b""
    swollen += bytes(compressor.flush() if number == GZIP else compressor.finish())
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    restored, is_all = expand(number, swollen, MOST)
    assert (len(restored), is_all) == (MOST, False)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 100_000, "kilobytes"


@pytest.mark.parametrize("number", CODECS)
@given(data=st.data())
def test_other_bytes_are_corrupt_or_bounded(number: int, data: st.DataObject):
    whole = COMPRESS[number](data.draw(st.binary(max_size=300)) * 20)
    place = data.draw(st.integers(0, len(whole) - 1))
    changed = whole[:place] + data.draw(st.binary(max_size=8)) + whole[place + data.draw(st.integers(0, 8)) :]
    for content in (changed, data.draw(st.binary(max_size=60))):
        try:
            restored, _ = expand(number, content, 4_096)
        except CorruptError:
            continue
        assert len(restored) <= 4_096


@pytest.mark.parametrize("number", CODECS)
def test_truncated_content_is_corrupt(number: int):
    whole = COMPRESS[number](bytes(range(256)) * 9)
    with pytest.raises(CorruptError):
        expand(number, whole[:-3], MOST)


@pytest.mark.parametrize("number", [0, 5, 6, 7])
def test_other_codecs_are_unknown(number: int):
    with pytest.raises(CorruptError, match=f"unknown codec {number}"):
        expand(number, b"", MOST)


def test_a_gzip_member_is_followed_by_another_or_ignored_bytes():
    """Java's reader does the same, so a broker accepts such content."""
    whole = gzip.compress(b"one")
    assert expand(GZIP, whole + gzip.compress(b"two"), MOST) == (b"onetwo", True)
    assert expand(GZIP, whole + b"junk", MOST) == (b"one", True)


@pytest.mark.parametrize(
    "content",
    [b"\x82SNAPPY\x00", b"\x82SNAPPY\x00" + bytes(8) + b"\x7f\xff\xff\xff", b"\x82SNAPPY\x00" + bytes(8) + b"\xff" * 4],
)
def test_impossible_lengths_within_snappy_are_corrupt(content: bytes):
    with suppress(CorruptError):
        assert expand(SNAPPY, content, MOST) == (b"", True)
