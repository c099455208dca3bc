"""Due mails over the connections of their channel."""

from shared.postgres.pool import Pool
from tests.notifications.mail_server import MailServer
from tests.notifications.test_sending import register, sender
from tests.notifications.world import NOW, earned, handle, states


async def test_mails_go_over_several_connections_at_a_time(pool: Pool, mail_server: MailServer):
    await register(pool, "mona")
    await handle(pool, *(earned("mona", number) for number in range(1, 31)))
    await sender(mail_server, channel=mail_server.channel(connections=3)).run(pool, NOW)
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
