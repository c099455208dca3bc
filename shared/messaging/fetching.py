"""aiokafka's consumer with a reader that can read past every record, whatever bytes it has.

aiokafka's reader raises at a header name that is not UTF-8, at a record whose length does not match its fields and at
a batch that it cannot decompress, and then starts at the same batch again, for ever. It skips a record whose offset in
its batch differs from the broker's count, and decompresses without a bound. Since aiokafka cannot be given another
reader, two of its functions run here with other classes under the global names that they look up.
"""

from collections import deque
from collections.abc import Callable, Iterator
from functools import partial
from operator import itemgetter
from types import FunctionType, MethodType
from typing import Any, Final, cast

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.consumer.fetcher import READ_COMMITTED, Fetcher
from msgspec import structs

from shared.contracts.envelope import Record, from_milliseconds
from shared.messaging import record_batches
from shared.messaging.record_batches import MOST_KEPT, Batch, Fetched, Place, Unreadable, next_batch

MOST_PULLED: Final = 8 * 1024 * 1024
"""Approximate maximum bytes of records that a call of `getmany` returns; the rest is fetched again."""

_FETCHES: Final = 5
"""Number of fetches before an unreadable batch is skipped, since it may have been damaged in transfer."""
_OVERHEAD: Final = 100
"""Approximate memory of a record besides its bytes."""
_CHEAPER: Final = 8
"""Cost of a returned byte in decompressed bytes."""


def end_of(fetched: Fetched) -> int:
    """The offset after a record, or after unreadable records."""
    return fetched.end if isinstance(fetched, Unreadable) else fetched.offset + 1


def _with(function: Callable[..., Any], **names: object) -> FunctionType:
    """A copy of a function with some of its global names replaced.

    Raises:
        LookupError: the function uses no such name, so aiokafka has changed.
    """
    plain = cast("FunctionType", function)
    if missing := names.keys() - {*plain.__code__.co_names}:
        raise LookupError(f"{plain.__qualname__} of this version of aiokafka does not use {', '.join(sorted(missing))}")
    copy = FunctionType(
        plain.__code__, {**plain.__globals__, **names}, plain.__name__, plain.__defaults__, plain.__closure__
    )
    copy.__kwdefaults__ = plain.__kwdefaults__
    return copy


class _Data:
    """The bytes that a fetch returned for a partition, with the interface that aiokafka expects."""

    def __init__(self, content: bytes) -> None:
        self.content = content

    def has_next(self) -> bool:
        """Whether there are any bytes."""
        return bool(self.content)

    def size_in_bytes(self) -> int:
        """The number of bytes."""
        return len(self.content)


class _Allowance:
    """The bytes that the current call may still return."""

    def __init__(self) -> None:
        self.left = MOST_PULLED


class _Doubts:
    """Positions of unreadable batches, with the number of their fetches."""

    def __init__(self) -> None:
        self._tries: dict[Place, tuple[int, int]] = {}

    def fetch_again(self, place: Place, position: int) -> bool:
        """Count a fetch; returns whether to try again."""
        before, tries = self._tries.get(place, (position, 0))
        tries = tries + 1 if before == position else 1
        self._tries[place] = position, tries
        return tries < _FETCHES


class _Reader:
    """The records of a partition in a fetch, in place of aiokafka's `PartitionRecords`.

    `next_fetch_offset` follows the last record that was taken.
    """

    def __init__(self, allowance: _Allowance, doubts: _Doubts, *given: Any) -> None:  # noqa: ANN401 aiokafka's own
        place, fetched, aborted, position, _, _, _, isolation_level = given
        self.next_fetch_offset: int = position
        self._allowance = allowance
        self._doubts = doubts
        self._place = Place(*place)
        self._data: bytes = fetched.content
        self._committed_only = isolation_level == READ_COMMITTED
        self._aborted: deque[tuple[int, int]] = deque(sorted(aborted or (), key=itemgetter(1)))
        """Producer and first offset of the aborted transactions that have not begun yet."""
        self._aborting: set[int] = set()
        self._found = self._read()

    def __iter__(self) -> Iterator[Fetched]:
        return self._found

    def __next__(self) -> Fetched:
        return next(self._found)

    def _read(self) -> Iterator[Fetched]:
        """Yield the records from the position on, and advance it, until the allowance is used up."""
        for batch in self._batches():
            if isinstance(batch, Unreadable):
                self.next_fetch_offset = batch.end
                yield batch
                continue
            contents = record_batches.contents(batch)
            if contents.data is not batch.data:
                self._allowance.left -= len(contents.data) // _CHEAPER
            for record, size in record_batches.read(batch, contents, self._place, self.next_fetch_offset):
                self.next_fetch_offset = record.end if isinstance(record, Unreadable) else record.offset + 1
                self._allowance.left -= size + _OVERHEAD
                yield record
                if self._allowance.left <= 0:  # checked again by the next call
                    return
            self.next_fetch_offset = max(self.next_fetch_offset, batch.end)

    def _batches(self) -> Iterator[Batch | Unreadable]:
        """Yield the batches with effective records, and an `Unreadable` in place of each unreadable batch."""
        data, start = self._data, 0
        while (batch := next_batch(data, start)) is not None:
            start = batch.stop
            if batch.end <= self.next_fetch_offset and batch.last_delta >= 0:
                continue
            fault = batch.fault()
            if fault is None:
                if self._counts(batch):
                    yield batch
                else:
                    self.next_fetch_offset = batch.end
            elif self._doubts.fetch_again(self._place, self.next_fetch_offset):
                return
            else:
                yield self._behind(batch, fault)
        if not start and not self._doubts.fetch_again(self._place, self.next_fetch_offset):
            yield self._not_a_batch(data)

    def _counts(self, batch: Batch) -> bool:
        """Whether the records of a batch are effective: it is no control batch, and its transaction was not aborted."""
        if self._committed_only:
            while self._aborted and self._aborted[0][1] <= batch.base_offset:
                self._aborting.add(self._aborted.popleft()[0])
            if batch.is_control and record_batches.is_abort(batch):
                self._aborting.discard(batch.producer_id)
            if batch.is_transactional and batch.producer_id in self._aborting:
                return False
        return not batch.is_control

    def _behind(self, batch: Batch, fault: str) -> Unreadable:
        """A faulty batch up to the following batch or, if there is none, only its first offset."""
        position = max(self.next_fetch_offset, batch.base_offset)
        following = next_batch(batch.data, batch.stop)
        if following is not None and following.base_offset > position and following.fault() is None:
            end = following.base_offset
        else:
            end = max(batch.end, position + 1) if batch.is_dense else position + 1
        return structs.replace(record_batches.rest(batch, self._place, position, fault), end=end)

    def _not_a_batch(self, data: bytes) -> Unreadable:
        """Bytes that are not a batch, in place of the record at the position."""
        position = self.next_fetch_offset
        record = Record(*self._place, position, None, data[:MOST_KEPT], (), from_milliseconds(0))
        return Unreadable(record, "the broker returned no complete batch; the value holds its bytes", position + 1)


class _Fetcher(Fetcher):
    """aiokafka's fetcher, with this module's reader."""

    def __init__(self, *given: Any, **options: Any) -> None:  # noqa: ANN401 aiokafka's own
        self._allowance = _Allowance()
        reader = partial(_Reader, self._allowance, _Doubts())
        # The base class starts the task that reads responses, so the reader has to be in place before.
        fetch = _with(Fetcher._proc_fetch_request, MemoryRecords=_Data, PartitionRecords=reader)  # noqa: SLF001 see above
        self._proc_fetch_request = MethodType(fetch, self)
        super().__init__(*given, **options)

    async def next_record(self, partitions: Any) -> Any:  # noqa: ANN401 see above
        self._allowance.left = MOST_PULLED
        return await super().next_record(partitions)

    async def fetched_records(self, *given: Any, **options: Any) -> Any:  # noqa: ANN401 see above
        self._allowance.left = MOST_PULLED
        return await super().fetched_records(*given, **options)


class Consumer(AIOKafkaConsumer):
    """aiokafka's consumer, which returns a `Record` for each record, or an `Unreadable`."""

    start = _with(AIOKafkaConsumer.start, Fetcher=_Fetcher)

    async def getmany(  # pyright: ignore[reportIncompatibleMethodOverride] other record types
        self, *partitions: TopicPartition, timeout_ms: int = 0, max_records: int | None = None
    ) -> dict[TopicPartition, list[Fetched]]:
        """As aiokafka's `getmany`, but no more than about `MOST_PULLED` bytes."""
        fetched: Any = await super().getmany(*partitions, timeout_ms=timeout_ms, max_records=max_records)
        return fetched
