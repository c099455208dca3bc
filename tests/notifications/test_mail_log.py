"""Log lines about mails that were not accepted contain no address and no name."""

from structlog.testing import capture_logs

from shared.postgres.pool import Pool
from tests.notifications.mail_server import MailServer
from tests.notifications.test_sending import register, sender
from tests.notifications.world import NOW, earned, handle


async def test_no_address_and_no_name_reaches_the_log(pool: Pool, mail_server: MailServer):
    await register(pool, "mona", "ben", "cat", name="Xanthippe")
    await handle(pool, earned("mona", 5), earned("ben", 5), earned("cat", 5))
    await pool.execute("UPDATE message SET facts = '{}' WHERE customer_id = 'cat' AND channel = 'email'")
    said = {"mona": "550 5.1.1 <mona@example.org>: no such user mona", "ben": "451 4.7.1 <BEN@example.org> later"}
    mail_server.at_recipient = lambda address: said.get(address.partition("@")[0])
    with capture_logs() as lines:
        await sender(mail_server).run(pool, NOW)
    assert sorted(line["event"] for line in lines) == ["message_not_rendered", "message_put_off", "message_refused"]
    words = " ".join(str(value) for line in lines for name, value in line.items() if name != "message_id").lower()
    assert not [word for word in ("mona", "ben@", "example.org", "xanthippe") if word in words], words
    assert "no such user" in words
