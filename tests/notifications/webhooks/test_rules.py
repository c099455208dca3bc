"""What endpoints hear, how secrets are rotated, and when a webhook is tried again."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.notifications.rules import webhook
from services.notifications.rules.webhook import Disabled, Endpoint, Health, Outcome

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
DAY = timedelta(days=1)
MASTER = "a secret of thirty-two characters or more"
ENDPOINT = Endpoint(
    id=UUID(int=1),
    url="https://shop.example.org/hooks",
    types=(),
    description=None,
    enabled=True,
    disabled_reason=None,
    generation=1,
    rotated_at=(),
    failing_since=None,
    failed_at=None,
    created_at=NOW,
)


def outcome(status: int | None = None) -> Outcome:
    return Outcome(NOW, 0.1, status, None if status else "no connection")


@pytest.mark.parametrize(
    "types, type_, is_heard",
    [
        ((), "loyalty.points.earned.v1", True),
        (("loyalty.*",), "loyalty.message.sent.v1", True),
        (("loyalty.points.*",), "loyalty.points.earned.v1", True),
        (("loyalty.points.*",), "loyalty.tier.promoted.v1", False),
        (("loyalty.points.earned.v1",), "loyalty.points.earned.v1", True),
        (("loyalty.points.earned.v1",), "loyalty.points.reversed.v1", False),
        (("loyalty.points.earned.*", "loyalty.tier.*"), "loyalty.tier.promoted.v1", True),
        ((), "shop.purchase.completed.v1", False),
    ],
)
def test_what_an_endpoint_hears(types: tuple[str, ...], type_: str, is_heard: bool):
    assert (type_ in webhook.heard(types)) == is_heard


@pytest.mark.parametrize(
    "name",
    ["", "*", "shop.*", "loyalty", "loyalty.points", "loyalty.points*", "loyalty.nothing.*", "loyalty.points.x.v1"],
)
def test_types_that_no_event_has_are_refused(name: str):
    with pytest.raises(ValueError, match="has to be a type"):
        webhook.check_type(name)


def test_secrets_differ_by_endpoint_generation_and_master():
    secrets = {
        webhook.secret(master, UUID(int=number), generation)
        for master in (MASTER, MASTER + "!")
        for number in (1, 2)
        for generation in (1, 2)
    }
    assert len(secrets) == 8
    assert {len(secret) for secret in secrets} == {32}
    assert webhook.in_words(b"\x00" * 32) == "whsec_" + "A" * 43 + "="


def test_an_old_secret_signs_for_a_day():
    once = replace(ENDPOINT, generation=2, rotated_at=[NOW])
    assert webhook.signing_generations(ENDPOINT, NOW) == [1]
    assert webhook.signing_generations(once, NOW) == [2, 1]
    assert webhook.signing_generations(once, NOW + DAY - timedelta(seconds=1)) == [2, 1]
    assert webhook.signing_generations(once, NOW + DAY) == [2]


@given(st.lists(st.timedeltas(timedelta(0), 2 * DAY), max_size=12), st.timedeltas(timedelta(0), 2 * DAY))
def test_rotations_keep_the_newest_old_secrets(pauses: list[timedelta], later: timedelta):
    endpoint, now, replaced = ENDPOINT, NOW, dict[int, datetime]()
    for pause in pauses:
        now += pause
        replaced[endpoint.generation] = now
        endpoint = replace(endpoint, generation=endpoint.generation + 1, rotated_at=webhook.rotated(endpoint, now))
    now += later
    recent = [generation for generation, at in sorted(replaced.items(), reverse=True) if now < at + DAY]
    assert webhook.signing_generations(endpoint, now) == [endpoint.generation, *recent[:4]]


def test_attempts_are_made_for_three_days():
    pauses = [webhook.pause_after(tries, 0.0, None) for tries in range(1, 11)]
    hours = [timedelta(hours=hours) for hours in (2, 5, 10, 14, 20, 24)]
    assert pauses == [timedelta(seconds=5), timedelta(minutes=5), timedelta(minutes=30), *hours, None]


@given(st.integers(1, 9), st.floats(0, 1), st.none() | st.timedeltas(timedelta(0), DAY))
def test_a_pause_is_spread_and_as_long_as_the_endpoint_asks(tries: int, random: float, asked: timedelta | None):
    pause = webhook.pause_after(tries, random, asked)
    assert pause is not None
    assert pause >= max(webhook.PAUSES[tries - 1], asked or timedelta(0))
    assert pause <= max(webhook.PAUSES[tries - 1] * 1.2, asked or timedelta(0))


@pytest.mark.parametrize(
    "since, last, statuses, health",
    [
        (None, None, [200], Health(None, None)),
        (None, None, [500], Health(NOW, NOW)),
        (DAY, timedelta(hours=1), [204], Health(None, None)),
        (DAY, timedelta(hours=1), [500, 200], Health(None, None)),
        (DAY, timedelta(hours=1), [None, 302], Health(NOW - DAY, NOW)),
        (5 * DAY, timedelta(hours=29), [503], Health(NOW - 5 * DAY, NOW, Disabled.FAILING)),
        (9 * DAY, timedelta(hours=31), [503], Health(NOW, NOW)),  # these failures are no row
        (None, None, [410], Health(NOW, NOW, Disabled.GONE)),
        (None, None, [200, 410], Health(None, None, Disabled.GONE)),
    ],
)
def test_the_health_of_an_endpoint(
    since: timedelta | None, last: timedelta | None, statuses: list[int | None], health: Health
):
    endpoint = replace(
        ENDPOINT,
        failing_since=None if since is None else NOW - since,
        failed_at=None if last is None else NOW - last,
    )
    assert webhook.health_after(endpoint, [outcome(status) for status in statuses], NOW) == health


@pytest.mark.parametrize(
    "body, shown",
    [
        (b"", None),
        (b" \r\n ", None),
        (b"not now\r\n", "not now"),
        ("ليس الآن".encode(), "ليس الآن"),
        (b"\xff\x00\x1b[31mred\x1b[0m", "\ufffd\ufffd\ufffd[31mred\ufffd[0m"),
        ("a\u202eb\u2066c".encode(), "a\ufffdb\ufffdc"),
        (b"x" * 5_000, "x" * 500),
    ],
)
def test_an_excerpt_can_be_printed(body: bytes, shown: str | None):
    assert webhook.excerpt(body) == shown


@given(st.binary(max_size=3_000))
def test_any_answer_has_an_excerpt(body: bytes):
    shown = webhook.excerpt(body)
    assert shown is None or (shown.isprintable() and 0 < len(shown) <= 500)


@given(st.text(min_size=1, max_size=128), st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=128))
def test_an_id_is_a_header(source: str, event_id: str):
    name = webhook.webhook_id(source.encode("ascii", "replace").decode(), event_id)
    assert name.isascii()
    assert all(char.isalnum() or char in "_-" for char in name)


def test_the_id_of_an_event_of_wafa_is_its_own():
    id_ = "0199f0a0-0000-7000-8000-000000000001"
    assert webhook.webhook_id("/wafa/points", id_) == id_
    assert webhook.webhook_id("/a", "مبيعات") != webhook.webhook_id("/b", "مبيعات")
