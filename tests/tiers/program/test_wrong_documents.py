"""Tier programs that are refused, each with the pointer of what is wrong.

Planted and caught here: a document that is stored, or published, unchecked.
"""

import json
from typing import Any

import httpx
import pytest
from pydantic import ValidationError

from services.tiers.rules.program.checking import missing_moves
from shared.postgres.pool import Pool
from shared.programs.faults import DocumentError
from tests.points.asking import done, pointers, post
from tests.tiers.program.conftest import Headers
from tests.tiers.program.drafting import PROGRAMS, publish, put
from tests.tiers.programs import DEFAULT, MINIMAL, WHOLE, changed, parse, program

Change = tuple[str, Any]

SILVER, GOLD = "/tiers/1", "/tiers/2"
SPEND: Any = {"metric": "spend", "at_least": "500"}
QUIZ: Any = {"metric": "activities", "activity": "quiz", "at_least": 1}
GIFT: Any = {"id": "gift", "kind": "gift", "name": {"en": "Gift"}}
YEAR: Any = {"kind": "calendar_year"}


def at_once(period: Any, **fields: Any) -> tuple[Change, ...]:
    return (("/period", period), ("/downgrade", {"to": "earned", "when": "at_once", **fields}))


WRONG: list[tuple[str, tuple[Change, ...]]] = [
    # the first tier
    ("/tiers/0/enter", (("/tiers/0/enter", [[SPEND]]),)),
    ("/tiers/0/enter", (("/tiers/0/enter", []),)),
    ("/tiers/0/keep", (("/tiers/0/keep", [[SPEND]]),)),
    ("/tiers/0/permanent", (("/tiers/0/permanent", True),)),
    ("/tiers/0/points_multiplier", (("/tiers/0/points_multiplier", "1.25"),)),
    # higher tiers
    (f"{SILVER}/enter", ((f"{SILVER}/enter", None),)),
    (f"{SILVER}/enter", ((f"{SILVER}/enter", []),)),
    (f"{SILVER}/enter/1", ((f"{SILVER}/enter", [[SPEND], []]),)),
    (f"{SILVER}/keep", ((f"{SILVER}/keep", []),)),
    (f"{SILVER}/keep/0", ((f"{SILVER}/keep", [[]]),)),
    (f"{SILVER}/enter/0/1", ((f"{SILVER}/enter", [[SPEND, SPEND]]),)),
    (f"{SILVER}/keep/0/1", ((f"{SILVER}/keep", [[QUIZ, QUIZ]]),)),
    (f"{SILVER}/keep/0/2", ((f"{SILVER}/keep", [[QUIZ, QUIZ | {"activity": None}, QUIZ | {"activity": None}]]),)),
    (f"{SILVER}/points_multiplier", ((f"{SILVER}/points_multiplier", "10000.1"),)),
    (f"{SILVER}/points_multiplier", ((f"{SILVER}/points_multiplier", 1.5),)),
    (f"{SILVER}/points_multiplier", ((f"{SILVER}/points_multiplier", "-1"),)),
    (f"{SILVER}/points_multiplier", ((f"{SILVER}/points_multiplier", "1.0000000001"),)),
    (f"{SILVER}/permanent", ((f"{SILVER}/permanent", "yes"),)),
    (f"{GOLD}/id", ((f"{GOLD}/id", "silver"),)),
    (f"{GOLD}/id", ((f"{GOLD}/id", "a/b"),)),
    (f"{GOLD}/name", ((f"{GOLD}/name", None),)),
    (f"{GOLD}/name/en", ((f"{GOLD}/name", {"en": ""}),)),
    (f"{GOLD}/name/en", ((f"{GOLD}/name", {"en": 5}),)),
    (f"{GOLD}/name/english!", ((f"{GOLD}/name", {"english!": "Gold"}),)),
    (f"{GOLD}/needs", ((f"{GOLD}/needs", []),)),
    # conditions
    *(
        (f"{SILVER}/enter/0/0/at_least", ((f"{SILVER}/enter/0/0/at_least", wrong),))
        for wrong in ("0", "0.00", 500, "-1")
    ),
    *(
        (f"{SILVER}/enter/0/0/at_least", ((f"{SILVER}/enter/0/0/at_least", wrong),))
        for wrong in ("1.00001", "1e3", None)
    ),
    *(
        (f"{SILVER}/enter/0/0/at_least", ((f"{SILVER}/enter", [[{"metric": metric, "at_least": wrong}]]),))
        for metric, wrong in {"orders": 0, "points": "10", "reviews": 1.5, "referrals": -1, "activities": True}.items()
    ),
    (f"{SILVER}/enter/0/0/metric", ((f"{SILVER}/enter/0/0/metric", "visits"),)),
    (f"{SILVER}/enter/0/0/metric", ((f"{SILVER}/enter/0/0", {"at_least": 1}),)),
    (f"{SILVER}/enter/0/0/activity", ((f"{SILVER}/enter/0/0", {"metric": "orders", "activity": "x", "at_least": 1}),)),
    (f"{SILVER}/enter/0/0/activity", ((f"{SILVER}/enter/0/0", QUIZ | {"activity": ""}),)),
    # benefits
    (f"{SILVER}/benefits/1/id", ((f"{SILVER}/benefits", [GIFT, GIFT]),)),
    (f"{SILVER}/benefits/0/kind", ((f"{SILVER}/benefits", [GIFT | {"kind": "surprise"}]),)),
    (f"{SILVER}/benefits/0/name", ((f"{SILVER}/benefits", [{"id": "gift", "kind": "gift"}]),)),
    *(
        (f"{SILVER}/benefits/0/to", ((f"{SILVER}/benefits", [GIFT | {"from": start, "to": end}]),))
        for start, end in {
            "2026-03-01": "2026-03-01",
            "2026-03-02": "2026-03-01",
            "2026-03-01T03:00:00+03:00": "2026-03-01",
            "2026-03-03": "2026-02-30",
            "2026-03-04": "soon",
        }.items()
    ),
    (f"{SILVER}/benefits/0/from", ((f"{SILVER}/benefits", [GIFT | {"from": "12:00"}]),)),
    (f"{SILVER}/benefits/0/uses/count", ((f"{SILVER}/benefits", [GIFT | {"uses": {"count": 0, "per": "year"}}]),)),
    (f"{SILVER}/benefits/0/uses/per", ((f"{SILVER}/benefits", [GIFT | {"uses": {"count": 1, "per": "month"}}]),)),
    (f"{SILVER}/benefits/0/uses/per", ((f"{SILVER}/benefits", [GIFT | {"uses": {"count": 1}}]),)),
    # money and time
    ("/currency", (("/currency", "usd"),)),
    ("/rates/USD", (("/rates", {"USD": "1"}),)),
    ("/rates/SAR", (("/rates", {"SAR": "0"}),)),
    ("/rates/SAR", (("/rates", {"SAR": "0.0000000000001"}),)),
    ("/rates/SAR", (("/rates", {"SAR": 0.26}),)),
    ("/rates/riyal", (("/rates", {"riyal": "0.26"}),)),
    ("/time_zone", (("/time_zone", "Mars/Olympus"),)),
    ("/period/kind", (("/period", {"kind": "month"}),)),
    ("/period/days", (("/period", {"kind": "rolling_days"}),)),
    ("/period/days", (("/period", {"kind": "rolling_days", "days": 0}),)),
    ("/period/days", (("/period", {"kind": "rolling_days", "days": 36_501}),)),
    ("/period/days", (("/period", {"kind": "calendar_year", "days": 365}),)),
    # falling
    ("/downgrade/to", (("/downgrade", {}),)),
    ("/downgrade/to", (("/downgrade/to", "two_steps"),)),
    ("/downgrade/when", (("/downgrade/when", "later"),)),
    ("/downgrade/on_refund", (("/downgrade/on_refund", "maybe"),)),
    ("/downgrade/grace_days", (("/downgrade/grace_days", -1),)),
    ("/downgrade/grace_days", (("/downgrade/grace_days", 365),)),
    ("/downgrade/grace_days", (("/period/days", 30), ("/downgrade/grace_days", 30))),
    *(
        ("/downgrade/grace_days", (("/period", {"kind": kind}), ("/downgrade/grace_days", 365)))
        for kind in ("calendar_year", "anniversary", "lifetime")
    ),
    ("/downgrade/when", (*at_once(YEAR), ("/on_publish", "full"))),
    ("/downgrade/when", (*at_once({"kind": "anniversary"}), ("/on_publish", "full"))),
    ("/downgrade/grace_days", (*at_once({"kind": "lifetime"}, grace_days=1), ("/on_publish", "full"))),
    ("/on_publish", at_once({"kind": "lifetime"})),
    ("/on_publish", (("/on_publish", "demote"),)),
    ("/at_risk_days/1", (("/at_risk_days", [7, 0]),)),
    ("/at_risk_days/0", (("/at_risk_days", ["7"]),)),
    # moves
    ("/moves/plus", (("/moves", {"plus": "bronze"}),)),
    ("/moves/pl~1us", (("/moves", {"pl/us": "gold"}),)),
    # the document
    ("/tiers", (("/tiers", []),)),
    (SILVER, ((SILVER, 5),)),
    ("/version", (("/version", 7),)),
    *((f"/{name}", ((f"/{name}", None),)) for name in ("currency", "time_zone", "period", "tiers", "downgrade")),
]


def pointers_of(document: object) -> list[str]:
    """The pointers of a document's faults; those of wrong fields have the variant of their condition or period too."""
    try:
        parse(document)
    except DocumentError as error:
        return [fault.pointer for fault in error.faults]
    except ValidationError as error:
        return [f"/{'/'.join(map(str, fault['loc']))}" for fault in error.errors()]
    return []


@pytest.mark.parametrize("document", [DEFAULT, MINIMAL, WHOLE])
def test_valid_documents(document: dict[str, Any]):
    assert pointers_of(document) == []


@pytest.mark.parametrize(("pointer", "changes"), WRONG)
async def test_a_document_is_refused_where_it_is_wrong(
    client: httpx.AsyncClient, tiers_pool: Pool, marketing: Headers, pointer: str, changes: tuple[Change, ...]
):
    sent = changed(MINIMAL | {"at_risk_days": [], "rates": {}}, *changes)
    assert pointers(await post(client, PROGRAMS, marketing, sent)) == [pointer]
    assert await tiers_pool.fetchval("SELECT max(version) FROM document_version") == 1


@pytest.mark.parametrize("path", ["/currency", "/time_zone", "/period", "/tiers", "/downgrade", "/tiers/1/name"])
async def test_what_must_not_be_left_out(client: httpx.AsyncClient, marketing: Headers, path: str):
    sent: Any = changed(MINIMAL)
    place = sent["tiers"][1] if path.startswith("/tiers/") else sent
    del place[path.rpartition("/")[2]]
    assert pointers(await post(client, PROGRAMS, marketing, sent)) == [path]


def lists(count: int, each: int = 1) -> list[Any]:
    return [[QUIZ | {"activity": f"a{number}-{item}"} for item in range(each)] for number in range(count)]


TOO_LARGE: dict[str, dict[str, Any]] = {
    "/rates": {"rates": {f"{a}{b}{c}": "1" for a in "ABC" for b in "ABCDEFGH" for c in "ABCDEFGHI"}},
    "/tiers": {"tiers": [MINIMAL["tiers"][0], *({**MINIMAL["tiers"][1], "id": str(number)} for number in range(50))]},
    "/tiers/1/enter": {"tiers": changed(MINIMAL, (f"{SILVER}/enter", [[SPEND]] * 21))["tiers"]},
    "/tiers/2/enter": {
        "tiers": changed(MINIMAL, (f"{SILVER}/enter", lists(20, 2)), (f"{GOLD}/enter", lists(1, 40)))["tiers"]
    },
    "/tiers/26/enter": {
        "tiers": [
            MINIMAL["tiers"][0],
            *(MINIMAL["tiers"][1] | {"id": str(number), "enter": [[SPEND]] * 20} for number in range(26)),
        ]
    },
    "/tiers/1/benefits": {
        "tiers": changed(MINIMAL, (f"{SILVER}/benefits", [GIFT | {"id": str(number)} for number in range(501)]))[
            "tiers"
        ]
    },
    "/moves": {"moves": {str(number): "gold" for number in range(101)}},
    "/at_risk_days": {"at_risk_days": list(range(1, 22))},
}


@pytest.mark.parametrize("pointer", TOO_LARGE)
async def test_a_document_that_is_too_large_is_refused(client: httpx.AsyncClient, marketing: Headers, pointer: str):
    answer = await post(client, PROGRAMS, marketing, MINIMAL | TOO_LARGE[pointer])
    assert pointer in pointers(answer)
    assert any("at most" in error["message"] for error in answer.json()["errors"] if error["pointer"] == pointer)


def test_all_faults_are_reported():
    wrong = changed(MINIMAL, ("/tiers/0/permanent", True), ("/moves", {"a": "b"}), ("/downgrade/grace_days", 400))
    assert pointers_of(wrong) == ["/tiers/0/permanent", "/downgrade/grace_days", "/moves/a"]


async def test_a_replaced_draft_is_checked(client: httpx.AsyncClient, tiers_pool: Pool, marketing: Headers):
    made = await done(client, PROGRAMS, marketing, MINIMAL)
    wrong = changed(MINIMAL, ("/tiers/0/permanent", True))
    assert pointers(await put(client, marketing, 2, wrong, made["etag"])) == ["/tiers/0/permanent"]
    assert await tiers_pool.fetchval("SELECT revision FROM document_version WHERE version = 2") == 1


@pytest.mark.parametrize(
    ("pointer", "value"),
    [("/tiers/0/permanent", True), ("/period/days", 0), ("/time_zone", "Mars/Olympus"), ("/moves/a", "b")],
)
async def test_a_document_is_checked_again_when_it_is_published(
    client: httpx.AsyncClient, tiers_pool: Pool, marketing: Headers, pointer: str, value: object
):
    await done(client, PROGRAMS, marketing, MINIMAL)
    # As after a release that accepts less than the previous one.
    await tiers_pool.execute(
        "UPDATE document_version SET document = jsonb_set(document::jsonb, $1, $2::text::jsonb)::json"
        " WHERE version = 2",
        pointer.split("/")[1:],
        json.dumps(value),
    )
    assert pointers(await publish(client, marketing, 2)) == [pointer]
    assert await tiers_pool.fetchval("SELECT published_at FROM document_version WHERE version = 2") is None


def test_each_tier_that_goes_needs_a_move():
    renamed = changed(MINIMAL, ("/tiers/1/id", "plus"), ("/tiers/2/id", "top"))
    assert [fault.pointer for fault in missing_moves(program(), parse(renamed))] == ["/moves", "/moves"]
    moved = changed(renamed, ("/moves", {"gold": "plus"}))
    [fault] = missing_moves(program(), parse(moved))
    assert "silver of version 1" in fault.message
    assert missing_moves(program(), parse(changed(renamed, ("/moves", {"gold": "top", "silver": "plus"})))) == []
