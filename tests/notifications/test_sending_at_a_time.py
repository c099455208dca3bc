"""Due mails over the connections of their channel."""

import asyncio
from collections.abc import Sequence
from datetime import timedelta

from services.notifications.sending.recording import Recorder
from services.notifications.sending.ways import Mails
from shared.postgres.pool import Pool
from tests.notifications.mail_server import MailServer
from tests.notifications.test_sending import register, sender
from tests.notifications.world import NOW, earned, handle, library, states


async def test_mails_go_over_several_connections_at_a_time(pool: Pool, mail_server: MailServer):
    await register(pool, "mona")
    await handle(pool, *(earned("mona", number) for number in range(1, 31)))
    await sender(mail_server, way=Mails(library(), mail_server.channel(connections=3))).run(pool, NOW)
    assert min(str(taken["Subject"]) for taken in mail_server.taken) == "You earned 1 point"
    assert (len(mail_server.taken), mail_server.connections) == (30, 3)
    assert {state for _, state, _ in await states(pool, "mona")} == {"sent"}


async def test_connections_are_used_again_by_the_next_run(pool: Pool, mail_server: MailServer):
    await register(pool, "mona")
    at_work = sender(mail_server)
    for number in range(1, 4):
        await handle(pool, earned("mona", number))
        await at_work.run(pool, NOW)
    assert (len(mail_server.taken), mail_server.connections) == (3, 1)


async def test_many_connections_for_few_mails_take_each_once(pool: Pool, mail_server: MailServer):
    await register(pool, "mona")
    await handle(pool, *(earned("mona", number) for number in range(1, 24)))
    way = Mails(library(), mail_server.channel(connections=7))
    await sender(mail_server, way=way, batch=5, longest=timedelta(seconds=30)).run(pool, NOW)
    assert len({taken["Message-ID"] for taken in mail_server.taken}) == len(mail_server.taken) == 23


async def test_outcomes_that_come_together_are_written_together():
    groups: list[list[int]] = []
    gate = asyncio.Event()

    async def write(group: Sequence[int]) -> None:
        groups.append(list(group))
        await gate.wait()
        if 3 in group:
            raise ConnectionResetError("the database is gone")

    recorder = Recorder(write)
    tasks = [asyncio.create_task(recorder.record(number)) for number in range(4)]
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    tasks += [asyncio.create_task(recorder.record(number)) for number in (4, 5)]
    gate.set()
    done = await asyncio.gather(*tasks, return_exceptions=True)
    assert groups == [[0, 1, 2, 3], [4, 5]]
    assert [isinstance(each, ConnectionResetError) for each in done] == [True] * 4 + [False] * 2
    await recorder.record(6)
    assert groups[-1] == [6]
