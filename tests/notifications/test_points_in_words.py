"""The message about earned points, from the earning rules through the published event to the text.

Planted and caught here: the day after the last day of validity; the first expiry given for all points; points that
wait for delivery called usable; the first activation given for all waiting points; a part missing from the message.
"""

import json
import re
from datetime import UTC, datetime
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.notifications.rendering.renderer import InAppText, Reader
from services.notifications.rules.notice import notices
from shared.contracts.envelope import Event, Record, decode
from shared.contracts.registry import TYPES
from shared.postgres.pool import Pool
from tests.notifications.world import Texts, earned, reader, templates, tier
from tests.points import books, shop
from tests.points.asking import enact

RIYADH = "Asia/Riyadh"
ENGLISH, ARABIC = reader("Mona", "en", RIYADH), reader("منى", "ar", RIYADH)
NOON = datetime(2026, 3, 1, 9, tzinfo=UTC)  # in Riyadh

TEN_DAYS = {"kind": "after_days", "days": 10}
DELIVERY = {"kind": "on_delivery", "cancel_after_days": 30}


def rule(name: str, points: int, **fields: Any) -> dict[str, Any]:
    return {"id": name, "on": "purchase", "award": {"kind": "fixed", "points": points}, **fields}


async def read_after_order(pool: Pool, reader: Reader, *rules: dict[str, Any]) -> InAppText:
    """The message about an order under these rules."""
    await enact(pool, *rules, time_zone=RIYADH)
    await books.deliver(pool, shop.purchase("A-1", "50.00", NOON), now=NOON)
    (published,) = await books.published(pool)
    return read(event_of(published), reader)


def event_of(published: dict[str, Any]) -> Event:
    key = published["data"]["customer_id"].encode()
    record = Record(TYPES[published["type"]].topic, 0, 1, key, json.dumps(published).encode(), (), NOON)
    event = decode(record, frozenset(TYPES))
    assert event is not None
    return event


def read(event: Event, reader: Reader) -> InAppText:
    """The inbox message; the mail has the same sentences in both of its parts."""
    (notice,) = notices(event)
    # As it is stored for the mail.
    facts = json.loads(json.dumps(notice.facts))
    inbox = templates().notification(notice.trigger, facts, reader)
    mail = templates().mail(notice.trigger, facts, reader)
    assert mail.subject == inbox.title
    for sentence in re.split(r"(?<=\.) ", inbox.body)[1:]:
        assert sentence in mail.text
        assert sentence in mail.html
    return inbox


async def test_points_are_valid_until_the_last_day_on_which_they_can_be_used(points_pool: Pool):
    text = await read_after_order(points_pool, ENGLISH, rule("base", 30, expire=TEN_DAYS))
    (ends_at,) = [row[0] for row in await points_pool.fetch("SELECT expires_at FROM lot")]
    assert ends_at == datetime(2026, 3, 11, 21, tzinfo=UTC)  # 00:00 of 12 March in Riyadh: expired on that day
    assert "They are valid until March 11, 2026." in text.body


async def test_expiring_points_are_named_among_points_without_expiry(points_pool: Pool):
    text = await read_after_order(points_pool, ENGLISH, rule("ever", 10), rule("ends", 20, expire=TEN_DAYS))
    assert text.title == "You earned 30 points"
    assert "20 of them end on March 11, 2026." in text.body
    assert "valid until" not in text.body


async def test_points_that_wait_for_delivery_are_named_separately(points_pool: Pool):
    text = await read_after_order(points_pool, ENGLISH, rule("now", 10), rule("later", 40, activate=DELIVERY))
    assert text.title == "You earned 50 points"
    assert text.body.endswith(" 40 of them can be used once your order is delivered. You now have 10 points to use.")


async def test_in_arabic(points_pool: Pool):
    text = await read_after_order(
        points_pool, ARABIC, rule("now", 10), rule("later", 40, activate=DELIVERY), rule("ends", 2, expire=TEN_DAYS)
    )
    assert text.title == "حصلت على 52 نقطة"
    assert "يمكنك استخدام 40 نقطة منها بعد تسليم طلبك. " in text.body
    assert "وتنتهي صلاحية نقطتين منها في 11 مارس 2026. " in text.body
    assert text.body.endswith("رصيدك المتاح الآن: 12 نقطة.")


async def test_points_that_wait_for_two_things(points_pool: Pool):
    rules = [rule("dated", 30, activate={"kind": "after_days", "days": 14}), rule("later", 15, activate=DELIVERY)]
    text = await read_after_order(points_pool, ENGLISH, *rules, rule("now", 5))
    assert "30 of them can be used from March 15, 2026 on. 15 more can be used later. " in text.body


@pytest.mark.parametrize(
    "changes, expected",
    [
        ({"activates_at": "2026-04-01T00:00:00Z"}, "You can use them from April 1, 2026 on. You now"),
        ({"expires_at": "2026-04-01T00:00:00Z"}, "They are valid until April 1, 2026. You now"),
        ({"pending_points": 50}, "You can use them once your order is delivered. You now"),
        ({"repaid_points": 50}, "They settled what was open. You now"),
        ({"repaid_points": 20}, "20 of them settled what was open. You now"),
        ({"balance": {"available": 0, "debt": 7}}, "have 0 points to use. The next 7 points that you earn will"),
        ({"balance": {"available": 0, "debt": 1}}, "have 0 points to use. The next point that you earn will"),
    ],
)
def test_all_of_them_or_some(changes: dict[str, Any], expected: str):
    assert expected in read(earned("c", 50, **changes), ENGLISH).body


@pytest.mark.parametrize(
    "points, changes, expected",
    [
        (1, {}, "وهي صالحة حتى"),
        (2, {}, "وهما صالحتان حتى"),
        (11, {}, "وهي صالحة حتى"),
        (2, {"expiring_points": 1}, "وتنتهي صلاحية نقطة واحدة منهما في"),
        (9, {"expiring_points": 3}, "وتنتهي صلاحية 3 نقاط منها في"),
        (99, {"expiring_points": 11}, "وتنتهي صلاحية 11 نقطة منها في"),
        (200, {"expiring_points": 100}, "وتنتهي صلاحية 100 نقطة منها في"),
        (2, {"repaid_points": 2}, "وقد خُصمتا لسداد"),
        (5, {"repaid_points": 2}, "وقد خُصم منها نقطتان لسداد"),
        (2, {"pending_points": 2}, "يمكنك استخدامهما بعد تسليم طلبك."),
    ],
)
def test_arabic_agrees_in_number(points: int, changes: dict[str, Any], expected: str):
    changes = {"expires_at": "2027-03-01T00:00:00Z", **changes}
    assert expected in read(earned("c", points, **changes), ARABIC).body


@pytest.mark.parametrize(
    "zone, expected",
    [
        (RIYADH, "March 11"),
        ("UTC", "March 11"),  # usable until 20:59:59 on that day
        ("Pacific/Auckland", "March 12"),
        ("America/New_York", "March 11"),
    ],
)
def test_the_last_day_is_the_readers(zone: str, expected: str):
    event = earned("c", 30, expires_at="2026-03-11T21:00:00Z", expiring_points=30)
    assert f"until {expected}, 2026." in read(event, reader("Mona", "en", zone)).body


def test_a_customer_without_a_time_zone_gets_days_in_the_programs():
    (notice,) = notices(earned("c", 30, expires_at="2026-03-12T04:00:00Z", expiring_points=30))
    for zone, day in (("America/New_York", 11), ("UTC", 12)):
        zoned = Texts(ZoneInfo(zone))
        assert f"until March {day}, 2026." in zoned.notification(notice.trigger, notice.facts, reader()).body
        gone = reader(time_zone="Mars/Olympus")  # not in the time zone database
        assert f"until March {day}, 2026." in zoned.notification(notice.trigger, notice.facts, gone).body


def test_a_tier_message_gives_its_last_day():
    event = tier("promoted", "c", "gold", valid_until="2026-12-31T21:00:00Z")
    (notice,) = notices(event)
    assert "yours until December 31, 2026." in templates().notification(notice.trigger, notice.facts, ENGLISH).body


def test_mails_with_facts_of_older_releases_can_be_rendered():
    stored = {"points": 30, "reason": "purchase", "order_id": "o", "available": 0, "activates_at": None}
    dates = {"activates_at": "2026-04-01T00:00:00Z", "expires_at": "2027-04-01T00:00:00Z"}
    (notice,) = notices(earned("c", 30))
    assert "valid" not in templates().mail(notice.trigger, {**stored, "expires_at": None}, ENGLISH).text
    text = templates().mail(notice.trigger, stored | dates, ENGLISH).text
    assert "You can use them from April 1, 2026 on. They are valid until April 1, 2027." in text


COUNTS = st.integers(1, 60) | st.sampled_from([10**15, 2**63 - 1])


@settings(deadline=None, max_examples=150)  # the machine may be busy
@given(st.data(), COUNTS, st.sampled_from([ENGLISH, ARABIC, reader("منى", "ar-EG")]))
def test_every_part_and_every_number_is_in_the_message(data: st.DataObject, points: int, reader: Reader):
    """Parts of any sizes: each that is not 0 is in the message, with its number unless it is the whole."""
    part = st.integers(0, points) | st.sampled_from([0, 1, points])
    pending, repaid, expiring = (data.draw(part) for _ in range(3))
    activating = min(pending, data.draw(part))
    changes = {
        "pending_points": pending or None,
        "activating_points": activating or None,
        "activates_at": "2031-06-01T00:00:00Z" if activating else None,
        "repaid_points": repaid or None,
        "expiring_points": expiring or None,
        "expires_at": "2032-06-01T00:00:00Z" if expiring else None,
    }
    fields = {name: value for name, value in changes.items() if value is not None}
    body = read(earned("c", points, **fields), reader).body
    western = body.translate(str.maketrans("٠١٢٣٤٥٦٧٨٩٬", "0123456789,")).replace(",", "")
    assert ("2031" in western, "2032" in western) == (bool(activating), bool(expiring))
    in_words = {1, 2} if reader is not ENGLISH else set[int]()
    for count in {activating or pending, pending - activating, repaid, expiring} - {0, points} - in_words:
        assert re.search(rf"(?<!\d){count}(?!\d)", western), count
    assert not re.search(r"[{}#]|None|  ", body)
