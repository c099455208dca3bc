"""No published tier program makes an event of any size or date fail, nor a read, the sweep, or `verify`."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import HealthCheck, given
from hypothesis import strategies as st
from msgspec import to_builtins

from services.tiers.api.views import TierView
from services.tiers.handlers import day as sweeping
from services.tiers.handlers import standing, verifying
from services.tiers.handlers.applying import apply_versions
from services.tiers.handlers.rejudging import rejudge
from services.tiers.rules.judging.state import Standing, State, decode_state, encode_state
from services.tiers.rules.program.lint import lint
from services.tiers.store.programs import Programs
from shared.contracts.envelope import Event
from shared.postgres.pool import Pool
from tests.points import books
from tests.support.depth import examples
from tests.tiers import shop, what_if
from tests.tiers.applied import apply
from tests.tiers.given import replace_first
from tests.tiers.oracles.absurd import documents, histories
from tests.tiers.programs import DEFAULT, changed, parse

NOW = datetime(2026, 6, 1, tzinfo=UTC)
DOOMSDAY = datetime(9999, 1, 1, tzinfo=UTC)
MOMENTS = (NOW, DOOMSDAY)


@pytest.mark.timeout(400)
@given(data=st.data(), history=histories)
@examples(
    8,
    deep=50,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow, HealthCheck.data_too_large],
)
async def test_nothing_fails_under_any_published_program(tiers_pool: Pool, data: st.DataObject, history: list[Event]):
    pool = tiers_pool
    first: Any = data.draw(documents())
    second: Any = data.draw(documents(before=first))
    await books.empty(pool)
    for document in (first, second):
        lint(parse(document), NOW)
    await replace_first(pool, first)
    cut = data.draw(st.integers(0, len(history)))
    at = data.draw(st.sampled_from([NOW, DOOMSDAY]))
    for event in history[:cut]:
        await apply(pool, event, now=NOW)
    draft = await what_if.draft(pool, second, NOW)
    simulation = await what_if.start(pool, draft, at, NOW)
    await what_if.simulate(pool, NOW)
    found = await what_if.find(pool, simulation)
    assert found.state == "done", found.failure
    await what_if.publish(pool, draft.version, at, NOW)
    await apply(pool, *history[cut:], now=NOW)
    for moment in (NOW, at):
        await apply_versions(pool, moment)
        await rejudge(pool, moment)
        assert not (await sweeping.run(pool, moment))[sweeping.LEFT]
    cached = Programs()
    for moment in MOMENTS:
        seen = await standing.read(pool, cached, "ann", moment)
        TierView.of(seen, "ar").model_dump_json(by_alias=True)
    async for check in verifying.verify(pool, 10, at):
        assert not check.offenders, check


@pytest.mark.deep
async def test_money_can_be_any_fraction(tiers_pool: Pool):
    """A refund by share and a refund of all of a line leave a fraction; those of many orders have no small divisor."""
    time = NOW - timedelta(days=9)
    for number in range(400):
        line, rest = 10**14 + 2 * number + 1, 3 * 10**14 + 7 * number
        order_id, time = str(number), time + timedelta(minutes=1)
        await apply(
            tiers_pool,
            shop.purchase(order_id, _money(line + rest), time, lines=[("1", _money(line)), ("2", _money(rest))]),
            shop.refund(order_id, "1", "0.0001", time + timedelta(seconds=1)),
            shop.refund(order_id, "2", _money(line), time + timedelta(seconds=2), lines=[("1", _money(line))]),
            now=NOW,
        )
    seen = await standing.read(tiers_pool, Programs(), "ann", NOW)
    spend = seen.status.values["spend"]
    assert spend.denominator.bit_length() > 14_300  # more than 4,300 decimal digits
    assert decode_state(to_builtins(encode_state(State(Standing("a"), 1, NOW, metrics={"spend": spend})))).metrics == {
        "spend": spend
    }


def _money(units: int) -> str:
    return f"{units // 10_000}.{units % 10_000:04}"


async def test_what_has_no_name_is_called_by_its_id(tiers_pool: Pool):
    benefit = {"id": "gift", "kind": "gift", "name": {}, "from": "0001-01-01", "to": "9999-12-31T23:59:59"}
    first = {"id": "member", "name": {}, "benefits": [benefit]}
    await replace_first(tiers_pool, changed(DEFAULT, ("/tiers/0", first), ("/time_zone", "Asia/Riyadh")))
    seen = await standing.read(tiers_pool, Programs(), "ann", NOW)
    shown = TierView.of(seen, "ar").model_dump(mode="json", by_alias=True)
    assert shown["name"] == "member"
    window = {"from": "0001-01-01T00:00:00Z", "to": "9999-12-31T20:59:59Z"}
    assert shown["benefits"] == [{"id": "gift", "kind": "gift", "name": "gift", **window}]
