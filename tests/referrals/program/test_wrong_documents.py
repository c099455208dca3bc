"""Referral programs that are refused, each with the pointer of what is wrong, whatever they contain."""

import json
from datetime import UTC, datetime
from fractions import Fraction
from time import perf_counter
from typing import Any

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from services.referrals.rules.program.compiled import Program
from services.referrals.rules.program.kind import KIND
from services.referrals.rules.program.signals import SIGNALS
from shared.contracts.values import units
from shared.postgres.pool import Pool
from shared.programs.faults import DocumentError
from shared.programs.kind import dump, examine
from tests.points.asking import done, pointers, post
from tests.referrals.conftest import Headers
from tests.referrals.programs import DEFAULT, MINIMAL, WHOLE, parse
from tests.support.depth import examples
from tests.tiers.programs import changed

PROGRAMS = "/v1/referral-programs"
NOW = datetime(2026, 3, 10, tzinfo=UTC)
Change = tuple[str, Any]


def signal(id_: str, **fields: Any) -> Change:
    return ("/signals", [{"id": id_, **fields}])


WRONG: list[tuple[str, Change]] = [
    # rewards
    *(("/advocate_points", ("/advocate_points", wrong)) for wrong in (-1, 10**9 + 1, "500", 1.5, True, None)),
    ("/friend_points", ("/friend_points", -1)),
    ("/milestones/0/count", ("/milestones", [{"count": 0, "points": 5}])),
    ("/milestones/0/points", ("/milestones", [{"count": 5, "points": 0}])),
    ("/milestones/1/count", ("/milestones", [{"count": 5, "points": 5}, {"count": 5, "points": 9}])),
    # money
    ("/currency", ("/currency", "usd")),
    ("/rates/USD", ("/rates", {"USD": "1"})),
    ("/rates/SAR", ("/rates", {"SAR": "0"})),
    ("/rates/SAR", ("/rates", {"SAR": 0.2667})),
    ("/rates/SAR", ("/rates", {"SAR": "0.1234567890123"})),
    ("/time_zone", ("/time_zone", "Mars/Olympus")),
    # what qualifies
    *(("/qualifies/amount_at_least", ("/qualifies/amount_at_least", wrong)) for wrong in (20, "-1", "1e3", "0.00001")),
    *(("/qualifies/within_days", ("/qualifies/within_days", wrong)) for wrong in (0, 36_501, "30", 1.5)),
    *(("/qualifies/nth_order", ("/qualifies/nth_order", wrong)) for wrong in (0, 1_001, None)),
    ("/hold_days", ("/hold_days", -1)),
    ("/hold_days", ("/hold_days", 36_501)),
    # link and texts
    *(
        ("/link", ("/link", wrong))
        for wrong in (
            "https://shop.example.org/",
            "https://shop.example.org/?ref={CODE}",
            "https://shop.example.org/{code}/{name}",
            "https://shop.example.org/{{code}",
            "shop.example.org/{code}",
            "javascript:alert('{code}')",
            "https://{code}.example.org/",
            "https://ann:{code}@example.org/",
            "https://shop.example.org:{code}/",
            "https://shop.example.org:port/{code}",
            "https:///{code}",
            "https://[::1/{code}",
            "https://shop.example.org/{code}\r\nSet-Cookie: a=b",
            "https://shop.example.org/a b/{code}",
            "https://shop.example.org/" + "x" * 2_000 + "{code}",
            "",
        )
    ),
    ("/share/en", ("/share", {"en": "Join me!"})),
    ("/share/ar", ("/share", {"ar": "انضم"})),
    ("/share/en", ("/share", {"en": ""})),
    ("/share/en", ("/share", {"en": "{link}" + "x" * 1_000})),
    ("/share/english!", ("/share", {"english!": "{link}"})),
    ("/share", ("/share", None)),
    # caps
    ("/caps/0", ("/caps", [{"per": "month"}])),
    ("/caps/0", ("/caps", [{"count": 5, "points": 5, "per": "month"}])),
    ("/caps/0/count", ("/caps", [{"count": 0, "per": "month"}])),
    ("/caps/0/points", ("/caps", [{"points": 0, "per": "month"}])),
    ("/caps/0/per", ("/caps", [{"count": 5, "per": "fortnight"}])),
    ("/caps/0/per", ("/caps", [{"count": 5}])),
    ("/caps/0/scope", ("/caps", [{"count": 5, "per": "day", "scope": "friend"}])),
    # signals
    ("/signals/0/id", signal("same_shoes")),
    ("/signals/0/id", ("/signals", [{"action": "block"}])),
    ("/signals/0/action", signal("same_ip", action="warn")),
    *(("/signals/0/action", signal("self", action=wrong)) for wrong in ("off", "score", "flag")),
    *(("/signals/0/weight", signal("same_ip", action="score", weight=wrong)) for wrong in (-1, 1_001, "30", 0.5)),
    ("/signals/1/id", ("/signals", [{"id": "same_ip"}, {"id": "same_ip"}])),
    *(("/signals/0/threshold", signal(id_, threshold=1)) for id_, own in SIGNALS.items() if own.threshold is None),
    *(
        ("/signals/0/threshold", signal(id_, threshold=wrong))
        for id_, own in SIGNALS.items()
        if own.threshold is not None and own.threshold.is_whole
        for wrong in (0, -1, 1.5, "5", 10**6, True, [])
    ),
    *(("/signals/0/threshold", signal("similar_email", threshold=wrong)) for wrong in (0, 0.49, 1.01, "1.1", 2, "x")),
    ("/signals/0/weights", signal("same_ip", weights=5)),
    *((f"/{field}", (f"/{field}", wrong)) for field in ("flag_at", "block_at") for wrong in (0, 10**6 + 1, "50")),
    # the block list
    ("/blocklist/addresses/1", ("/blocklist", {"addresses": ["eve@example.org", "eve"]})),
    ("/blocklist/domains/0", ("/blocklist", {"domains": ["eve@example.org"]})),
    ("/blocklist/domains/0", ("/blocklist", {"domains": ["localhost"]})),
    ("/blocklist/cidrs/0", ("/blocklist", {"cidrs": ["203.0.113.0/33"]})),
    ("/blocklist/cidrs/0", ("/blocklist", {"cidrs": ["example.org"]})),
    ("/blocklist/cidrs/1", ("/blocklist", {"cidrs": ["8.0.0.0/8", "8.0.0.0/7"]})),
    ("/blocklist/cidrs/0", ("/blocklist", {"cidrs": ["2a00::/31"]})),
    ("/blocklist/cidrs", ("/blocklist", {"cidrs": [f"{number}.0.0.0/8" for number in range(1, 6)]})),
    ("/blocklist/countries/0", ("/blocklist", {"countries": ["Egypt"]})),
    ("/blocklist/names", ("/blocklist", {"names": ["Eve"]})),
    # undecided
    ("/undecided/after_days", ("/undecided", {"after_days": -1})),
    ("/undecided/then", ("/undecided", {"then": "void"})),
    ("/friend_point", ("/friend_point", 5)),
]


def pointers_of(document: dict[str, Any]) -> list[str]:
    with pytest.raises((DocumentError, ValidationError)) as caught:
        parse(document)
    if isinstance(caught.value, DocumentError):
        return [fault.pointer for fault in caught.value.faults]
    return [_place(document, error["loc"]) for error in caught.value.errors()]


def _place(document: Any, steps: tuple[str | int, ...]) -> str:
    """The pointer of an error, without pydantic's own steps, such as the types of a union."""
    place = ""
    for step in steps:
        is_there = step in document if isinstance(document, dict) else isinstance(step, int)
        if not is_there and (not isinstance(document, dict) or "[" in str(step)):
            break
        place += f"/{step}"
        document = document[step] if is_there else None
    return place


@pytest.mark.parametrize(("pointer", "change"), WRONG, ids=str)
def test_a_wrong_document_is_refused_at_its_place(pointer: str, change: Change):
    assert set(pointers_of(changed(MINIMAL, change))) == {pointer}


async def test_the_pointers_of_an_answer(client: httpx.AsyncClient, marketing: Headers):
    given = {
        "/advocate_points": -1,
        "/link": "https://shop.example.org/",
        "/share": {"ar": "انضم"},
        "/signals": [
            {"id": "same_ip", "threshold": 5},
            {"id": "ip_velocity", "threshold": "many"},
        ],
        "/rates": {"USD": "1", "sar": "1"},
    }
    answers = {
        place: pointers(await post(client, PROGRAMS, marketing, changed(MINIMAL, (place, wrong))))
        for place, wrong in given.items()
    }
    assert answers == {
        "/advocate_points": ["/advocate_points"],
        "/link": ["/link"],
        "/share": ["/share/ar"],
        "/signals": ["/signals/1/threshold", "/signals/1/threshold"],
        "/rates": ["/rates/sar"],
    }
    fixed = changed(MINIMAL, ("/signals", [{"id": "same_ip", "threshold": 5}, {"id": "self", "action": "off"}]))
    assert pointers(await post(client, PROGRAMS, marketing, fixed)) == ["/signals/0/threshold", "/signals/1/action"]
    for missing in ("advocate_points", "friend_points", "currency", "qualifies"):
        document = {name: value for name, value in MINIMAL.items() if name != missing}
        assert pointers(await post(client, PROGRAMS, marketing, document)) == [f"/{missing}"]


def test_all_faults_are_reported():
    wrong = changed(
        MINIMAL,
        ("/rates", {"USD": "1"}),
        ("/link", "https://shop.example.org/"),
        ("/caps", [{"per": "day"}]),
        ("/blocklist", {"domains": ["x"]}),
        ("/share", {"en": "x"}),
    )
    assert pointers_of(wrong) == ["/rates/USD", "/link", "/caps/0", "/blocklist/domains/0", "/share/en"]


@pytest.mark.parametrize(("pointer", "value"), [("/hold_days", -1), ("/time_zone", "Mars/Olympus"), ("/link", "x")])
async def test_a_document_is_checked_again_when_it_is_published(
    client: httpx.AsyncClient, pool: Pool, marketing: Headers, pointer: str, value: object
):
    await done(client, PROGRAMS, marketing, MINIMAL)
    # As after a release that accepts less than the previous one.
    await pool.execute(
        "UPDATE document_version SET document = jsonb_set(document::jsonb, $1, $2::text::jsonb)::json"
        " WHERE version = 2",
        pointer.split("/")[1:],
        json.dumps(value),
    )
    assert set(pointers(await post(client, f"{PROGRAMS}/2/publish", marketing))) == {pointer}
    assert await pool.fetchval("SELECT published_at FROM document_version WHERE version = 2") is None


LARGE: dict[str, Any] = WHOLE | {
    "rates": {f"{a}{b}{c}": "0.5" for a in "ABC" for b in "ABCDEFGH" for c in "ABCDEFGH"},
    "milestones": [{"count": number, "points": 10**9} for number in range(1, 51)],
    "caps": [{"count": number, "per": "week", "scope": "program"} for number in range(1, 21)],
    "signals": [{"id": id_, "action": "block", "weight": 1_000} for id_ in SIGNALS],
    "blocklist": {
        "addresses": [f"{number}@{'x' * 250}.example" for number in range(10_000)],
        "domains": [f"{'a.' * 100}{number}.example" for number in range(10_000)],
        "cidrs": [f"10.{number}.0.0/16" for number in range(256)] * 3,
        "countries": ["EG"] * 300,
    },
    "share": {f"en-{number}": "{x}" * 300 + "{link}" for number in range(99)},
}


def test_the_largest_document_is_examined_and_compiled_at_once():
    started = perf_counter()
    document = parse(LARGE)
    assert len(examine(KIND, document, NOW)) < 300
    Program.of(2, document)
    assert perf_counter() - started < 2


STRANGE = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.integers(0, 100)
    | st.floats()
    | st.text(max_size=20)
    | st.sampled_from(
        [*SIGNALS, "block", "off", "{code}", "{link}", "0.9", "99999999", "en", "::/0", "a@b.c", "9" * 999]
    ),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["id", "action", "threshold", "weight", "count", "en", "per"]) | st.text(), inner
        )
    ),
    max_leaves=8,
)
PLACES = [
    *(f"/{name}" for name in DEFAULT),
    *(f"/signals/{place}" for place in (0, 2)),
    *(f"/signals/0/{field}" for field in ("id", "action", "weight", "threshold")),
    *(f"/caps/0/{field}" for field in ("count", "points", "per", "scope")),
    *(f"/qualifies/{field}" for field in DEFAULT["qualifies"]),
    *(f"/blocklist/{field}/0" for field in DEFAULT["blocklist"]),
    *(f"/undecided/{field}" for field in DEFAULT["undecided"]),
    *("/share/en", "/milestones/0/count", "/rates/SAR"),
]
BASE: dict[str, Any] = changed(
    DEFAULT,
    ("/caps", WHOLE["caps"]),
    ("/milestones", WHOLE["milestones"]),
    ("/blocklist", {"addresses": ["a@b.c"], "domains": ["b.c"], "cidrs": ["2001:db8::/48"], "countries": ["EG"]}),
)


@given(st.lists(st.tuples(st.sampled_from(PLACES), STRANGE), min_size=1, max_size=3), st.booleans())
@examples(80, deep=600)
def test_no_document_is_answered_with_anything_but_its_faults(changes: list[Change], is_whole: bool):
    sent: Any = changes[0][1]
    if not is_whole:
        sent = dict(BASE)
        for place, value in sorted(changes, key=lambda change: len(change[0]), reverse=True):
            try:
                sent = changed(sent, (place, value))
            except (TypeError, ValueError, LookupError):
                continue  # the place went with an earlier change
    try:
        document = parse(sent)
    except (DocumentError, ValidationError):
        return
    for fault in examine(KIND, document, NOW):
        fault.message.encode()
    program = Program.of(2, document)
    # What was read is what is stored, and means the same.
    assert Program.of(2, parse(json.loads(json.dumps(dump(document))))) == program
    for currency, least in program.least.items():
        total = f"{least // 10_000}.{least % 10_000:04}"
        assert units(total) == least
        assert program.is_enough(total, currency)
        assert (program.worth(total, currency) or 0) >= program.amount
        if least:
            assert Fraction(least - 1, 10_000) * program.rates[currency] < program.amount
    latest = datetime.max.replace(tzinfo=UTC)
    assert program.deadline(NOW) <= program.deadline(latest) == program.due_at(latest) == latest
