"""Draws records of any bytes from a seed, and batches of them that a broker accepts."""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from random import Random
from typing import Any, Final

from shared.contracts import topics
from shared.contracts.examples import EXAMPLES
from shared.contracts.registry import TYPES
from tests.support import raw_kafka as raw
from tests.support.raw_kafka import Batch, Header, body, record, varint

_BY_TOPIC: Final = {
    topic: [name for name, event_type in TYPES.items() if event_type.topic == topic and name in EXAMPLES]
    for topic in topics.ALL
}
_CONTENT_TYPES: Final = (b"application/cloudevents+json", b"APPLICATION/CLOUDEVENTS+json", b"application/json", b"\xff")
_NAMES: Final = (b"content-type", b"ce_id", b"ce_type", b"ce_source", b"ce_time", b"ce_specversion", b"ce_subject")
_ODD_NAMES: Final = (b"caf\xe9", b"ce_\x00type", b"ce_type\x00", b"\x80", b"", b"\xff\xfe", b"content-type\x00", b"ce_")
_PIECES: Final = (
    b"null", b"[]", b"{}", b"1e999", b"-0", b"9" * 5_000, b'"\\ud800"', b'"\\u0000"', b"[" * 2_000, b'{"a":' * 300,
    b"\xef\xbb\xbf{}", b"{\x00}", b'{"specversion":"1.0"}', b"true", b'"text"', b"\x00", b"NaN", b"{}{}", b" ",
)  # fmt: skip
_CODECS: Final = (raw.NONE, raw.NONE, raw.GZIP, raw.SNAPPY, raw.LZ4, raw.ZSTD)


Content = tuple[bytes | None, bytes | None, list[Header]]
"""The key, the value and the headers of a record."""


@dataclass(frozen=True, slots=True)
class Made:
    """The bytes of a batch, and the number of its offsets."""

    content: bytes
    count: int


def batch(chance: Random, topic: str, size: int, among: Sequence[Content] = ()) -> Made:
    """A batch of odd records, with those of `among` between them."""
    codec = chance.choice(_CODECS)
    contents = [(_content(chance, topic), True) for _ in range(size)]
    for item in among:
        contents.insert(chance.randint(0, len(contents)), (item, False))
    records = [_encoded(chance, codec, number, content, is_odd) for number, (content, is_odd) in enumerate(contents)]
    fields = Batch(
        codec=codec,
        attributes=chance.choice((0, 0, 0, 0x40, 0x7F00)),
        first_timestamp=chance.choice((1_780_000_000_000, 0, -1, 2**63 - 1, -(2**63))),
        max_timestamp=chance.choice((1_780_000_000_000, 0, 2**63 - 1)),
    )
    return Made(fields.of(records), len(records))


def monsters(chance: Random) -> list[Made]:
    """Expanding batches, records with very many headers, and large values, each near the broker's limits."""
    zeros = b"\0" * 1_000_000
    return [
        Made(Batch(codec=raw.ZSTD).of([record(b"k", zeros, delta=number) for number in range(200)]), 200),
        Made(Batch(codec=raw.ZSTD).of([record(b"k", zeros * 200)]), 1),
        Made(Batch(codec=raw.GZIP).of([record(b"k", zeros * 60)]), 1),
        Made(Batch(codec=raw.ZSTD).of([record(b"k", b"{}", [(b"x", None)] * 400_000)]), 1),
        Made(Batch().of([record(b"k", None, [(b"", None)] * 300_000)]), 1),
        Made(Batch().of([record(b"k", chance.randbytes(1_000_000))]), 1),
        Made(Batch().of([record(chance.randbytes(1_000_000), b"{}")]), 1),
        Made(Batch().of([record(b"k", b"v", [(chance.randbytes(500_000), chance.randbytes(500_000))])]), 1),
        Made(Batch(codec=raw.ZSTD).of([record(b"k", b"[" + b"{}," * 340_000, delta=number) for number in range(3)]), 3),
    ]


def refusable() -> dict[str, bytes]:
    """Batches that Apache Kafka refuses."""
    content = record(b"\0\0\0\0", b"v")
    batches = {
        "a wrong checksum": Batch(crc=1).of([content]),
        "the first format": Batch(magic=0).of([content]),
        "the second format": Batch(magic=1).of([content]),
        "a format to come": Batch(magic=3).of([content]),
        "the end of a transaction": Batch(attributes=raw.CONTROL | raw.TRANSACTIONAL, producer_id=1).of([content]),
        "a part of no transaction": Batch(attributes=raw.TRANSACTIONAL, producer_id=1, producer_epoch=0).of([content]),
        "more records than there are": Batch(count=5, last_delta=4).of([content]),
        "fewer records than there are": Batch(count=1, last_delta=0).of([content, content]),
        "no records": Batch(count=0, last_delta=-1).of([]),
        "a key of a gigabyte": Batch().of([varint(20) + b"\0\0\0" + varint(2**30) + b"k" * 12]),
        "bytes at the end": Batch().around(content + b"junk", 1),
        "more than is taken": Batch().of([record(b"k", bytes(1_100_000))]),
    }
    names = {raw.GZIP: "gzip", raw.SNAPPY: "snappy", raw.LZ4: "lz4", raw.ZSTD: "zstd", 5: "5", 6: "6", 7: "7"}
    return batches | {f"no {name}": Batch(codec=codec).around(b"\0garbage", 1) for codec, name in names.items()}


def _encoded(chance: Random, codec: int, number: int, content: Content, is_odd: bool) -> bytes:
    """A record of a batch; a broker checks the offset within it in a compressed batch, and its length in others."""
    key, value, headers = content
    is_plain = codec == raw.NONE
    delta = chance.choice((0, 0, 1, 77, -5, 2**31 - 1)) if is_plain else number
    milliseconds = chance.choice((0, 0, 1, -1, 2**40, 2**62, -(2**62))) if is_odd else 0
    inner = body(key, value, headers, delta=delta, milliseconds=milliseconds)
    lies = is_odd and not is_plain and chance.random() < 0.1
    return varint(len(inner) + (chance.choice((1, 900, 2**30)) if lies else 0)) + inner


def _content(chance: Random, topic: str) -> Content:
    kind: Callable[[Random, str], Content] = chance.choices(
        (_noise, _piece, _truncated, _mutated, _changed, _binary), (3, 2, 2, 3, 2, 2)
    )[0]
    key, value, headers = kind(chance, topic)
    if chance.random() < 0.3:
        headers += [(_name(chance), _bytes(chance, 40)) for _ in range(chance.choice((1, 2, 20)))]
    if chance.random() < 0.02:
        headers += [(b"x", b"y")] * 1_200
    return key, value, headers


def _noise(chance: Random, _topic: str) -> Content:
    return _bytes(chance, 60), _bytes(chance, 300), [(_name(chance), _bytes(chance, 30))]


def _piece(chance: Random, _topic: str) -> Content:
    return b"somebody", chance.choice(_PIECES), [(b"content-type", chance.choice(_CONTENT_TYPES))]


def _truncated(chance: Random, topic: str) -> Content:
    key, event = _event(chance, topic)
    value = json.dumps(event).encode()
    return key, value[: chance.randrange(len(value))], [(b"content-type", _CONTENT_TYPES[0])]


def _mutated(chance: Random, topic: str) -> Content:
    """An event with some bytes replaced."""
    key, event = _event(chance, topic)
    value = bytearray(json.dumps(event).encode())
    for _ in range(chance.randint(1, 4)):
        value[chance.randrange(len(value))] = chance.randrange(256)
    return key, bytes(value), [(b"content-type", _CONTENT_TYPES[0])]


def _changed(chance: Random, topic: str) -> Content:
    """An event with a field missing or replaced."""
    key, event = _event(chance, topic)
    place: Any = event if chance.random() < 0.5 else event["data"]
    name = chance.choice(sorted(place))
    if chance.random() < 0.5:
        del place[name]
    else:
        place[name] = chance.choice((None, "", [], {}, 1e308, 10**400, "\ud800", "\x00", "a" * 20_000, [[]] * 3_000))
    return key, json.dumps(event).encode(), []


def _binary(chance: Random, topic: str) -> Content:
    """An event in binary mode with attributes missing, doubled or replaced by noise."""
    key, event = _event(chance, topic)
    headers = [
        (b"ce_" + name.encode(), _bytes(chance, 20) if chance.random() < 0.05 else str(content).encode())
        for name, content in event.items()
        if name != "data" and chance.random() < 0.97
    ]
    if chance.random() < 0.2:
        headers.append((chance.choice(_NAMES), _bytes(chance, 20)))
    return key, json.dumps(event["data"]).encode(), headers


def _event(chance: Random, topic: str) -> tuple[bytes, dict[str, Any]]:
    """The example event of a type of a topic, of an irrelevant customer."""
    event: dict[str, Any] = json.loads(json.dumps(EXAMPLES[chance.choice(_BY_TOPIC[topic])].envelope()))
    customer = f"odd-{chance.randrange(300)}"
    event["id"] = f"{chance.randrange(10**12)}"
    event["data"]["customer_id"] = customer
    event.pop("subject", None)
    if "order_id" in event["data"]:
        event["data"]["order_id"] = f"o{chance.randrange(50)}"
    return customer.encode(), event


def _name(chance: Random) -> bytes:
    return chance.choice((*_ODD_NAMES, *_NAMES, chance.randbytes(chance.randint(0, 20))))


def _bytes(chance: Random, most: int) -> bytes | None:
    return None if chance.random() < 0.1 else chance.randbytes(chance.randint(0, most))
