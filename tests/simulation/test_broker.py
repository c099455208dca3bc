"""The simulated broker behaves like Kafka: offsets have gaps, and groups wait for silent members until a timeout."""

import asyncio
from collections.abc import Awaitable, Callable
from random import Random

from aiokafka import TopicPartition

from tests.simulation.broker import SESSION_SECONDS, Broker, Member
from tests.simulation.loop import Loop
from tests.simulation.trace import Trace

TOPIC = "shop.purchases"


def played(work: Callable[[Broker], Awaitable[None]]) -> Broker:
    loop = Loop(Random(1), Trace())
    broker = Broker(loop, Random(1), partitions=2)
    try:
        loop.run_until_complete(work(broker))
    finally:
        loop.close()
    return broker


def test_offsets_increase_with_gaps():
    async def write(broker: Broker) -> None:
        broker.gaps = 0.5
        for _ in range(50):
            broker.append(TOPIC, b"ann", b"", ())

    broker = played(write)
    [log] = broker.logs.values()
    offsets = [record.offset for record in log.records]
    assert offsets == sorted(set(offsets))
    assert log.end > offsets[-1] > 60


def test_a_group_shares_all_partitions_among_all_members():
    async def join(broker: Broker) -> None:
        group = broker.group("g")
        members = [Member(name, (TOPIC,), 0.0) for name in "ab"]
        assert len(await group.join(members[0])) == 2
        second = group.join(members[1])
        assert not second.done(), "the first has to come back"
        assert not group.is_current(members[0])
        shares = [*(await group.join(members[0])), *(await second)]
        assert sorted(shares) == [TopicPartition(TOPIC, 0), TopicPartition(TOPIC, 1)]
        assert all(map(group.is_current, members))

    played(join)


def test_a_group_expires_silent_members():
    async def be_silent(broker: Broker) -> None:
        watching = asyncio.create_task(broker.watch_members())
        group = broker.group("g")
        silent, other = Member("silent", (TOPIC,), 0.0), Member("other", (TOPIC,), 0.0)
        await group.join(silent)
        assert len(await group.join(other)) == 2
        assert broker.loop.time() >= SESSION_SECONDS
        assert group.members == [other]
        watching.cancel()

    played(be_silent)
