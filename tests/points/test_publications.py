"""The events of `loyalty.points`, byte for byte, and as the contract's model reads them.

Planted and caught here: a field that is missing, misnamed or in another place; a null; an instant without its fraction.
"""

import json
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest

from services.points.rules.books.state import Announced
from services.points.rules.ledger.accounts import Account
from services.points.rules.ledger.transactions import Transaction, TransactionContext
from services.points.store import publications
from services.points.store.notices import Ending
from shared.contracts import loyalty
from shared.contracts.envelope import STRUCTURED, Cause, Event, Publication, Record, decode
from shared.contracts.registry import TYPES

TIME = datetime(2026, 3, 1, 12, tzinfo=UTC)
LATER = TIME + timedelta(days=30, microseconds=120)
TRANSACTION = UUID("00000000-0000-7000-8000-000000000001")
ACCOUNT = Account("عميل-1", 10, 20, 30, 0, 90, 15, 7, 3, TIME)
CAUSE = Cause("order-event", "refund-event")

HEAD = '{"customer_id":"عميل-1","transaction_id":"00000000-0000-7000-8000-000000000001",'
BALANCE = '"balance":{"available":10,"pending":20,"held":30,"debt":0}}'
DATES: dict[str, Any] = {"expires_at": LATER, "expiring": 4}
# By kind: the signed points, the reason, further fields of the transaction, and what is published of these.
KINDS: dict[str, tuple[int, dict[str, str], dict[str, Any], str]] = {
    "earned": (
        9,
        {"kind": "purchase", "order_id": 'a"1'},
        {"pending": 5, "activates_at": TIME, "activating": 2, **DATES, "repaid": 1, "rules_version": 3},
        (
            '"points":9,"reason":{"kind":"purchase","order_id":"a\\"1"},"qualifying_points":9,"pending_points":5,'
            '"activates_at":"2026-03-01T12:00:00Z","activating_points":2,"expires_at":"2026-03-31T12:00:00.000120Z",'
            '"expiring_points":4,"repaid_points":1,"rules_version":3,'
        ),
    ),
    "activated": (
        9,
        {"kind": "review", "review_id": "r"},
        DATES,
        (
            '"points":9,"reason":{"kind":"review","review_id":"r"},"qualifying_points":9,'
            '"expires_at":"2026-03-31T12:00:00.000120Z","expiring_points":4,'
        ),
    ),
    "reversed": (
        -9,
        {"kind": "refund", "order_id": "a", "refund_id": "b"},
        {"rules_version": 1},
        (
            '"points":9,"reason":{"kind":"refund","order_id":"a","refund_id":"b"},"qualifying_points":-9,'
            '"rules_version":1,'
        ),
    ),
    "redeemed": (
        -9,
        {"kind": "redemption", "redemption_id": "c"},
        {},
        '"points":9,"reason":{"kind":"redemption","redemption_id":"c"},"qualifying_points":-9,',
    ),
    "restored": (
        9,
        {"kind": "cancellation", "redemption_id": "c"},
        {**DATES, "repaid": 9},
        (
            '"points":9,"reason":{"kind":"cancellation","redemption_id":"c"},"qualifying_points":9,'
            '"expires_at":"2026-03-31T12:00:00.000120Z","expiring_points":4,"repaid_points":9,'
        ),
    ),
    "expired": (-9, {"kind": "expiry"}, {}, '"points":9,"reason":{"kind":"expiry"},"qualifying_points":-9,'),
    "adjusted": (
        -9,
        {"kind": "adjustment", "note": "sorry"},
        {},
        '"points":9,"reason":{"kind":"adjustment","note":"sorry"},"qualifying_points":-9,',
    ),
}


@pytest.mark.parametrize("kind", KINDS)
def test_the_event_of_a_transaction(kind: str):
    points, reason, fields, published = KINDS[kind]
    version = fields.get("rules_version")
    dates = {name: value for name, value in fields.items() if name != "rules_version"}
    context = TransactionContext(TIME, TIME, "origin/1", reason, version, {}, b"")
    transaction = Transaction(TRANSACTION, ACCOUNT, kind, points, context, (), **dates)
    made = publications.of_transaction(Announced(transaction, TIME, points, CAUSE))
    event = check(made, kind, CAUSE, HEAD + published + BALANCE)
    assert isinstance(event.data, loyalty.PointsMoved)
    assert (event.data.points, event.data.qualifying_points) == (9, points)


def test_the_notice_of_points_that_will_expire():
    ending = Ending(ACCOUNT.customer_id, LATER, 30, 4, TRANSACTION)
    published = (
        '"points":4,"reason":{"kind":"expiry"},"qualifying_points":0,'
        '"expires_at":"2026-03-31T12:00:00.000120Z","expiring_points":4,'
    )
    made = publications.of_ending(ending, ACCOUNT, TIME)
    check(made, "expiring", Cause(str(TRANSACTION), str(TRANSACTION)), HEAD + published + BALANCE)


def check(made: Publication, kind: str, cause: Cause, data: str) -> Event:
    """The event as the contract reads it, once its bytes are as they have to be."""
    type_ = f"loyalty.points.{kind}.v1"
    assert made.value.decode() == (
        f'{{"specversion":"1.0","id":"{made.event_id}","source":"/wafa/points","type":"{type_}",'
        f'"time":"2026-03-01T12:00:00Z","subject":"عميل-1","datacontenttype":"application/json",'
        f'"correlationid":"{cause.correlation_id}","causationid":"{cause.causation_id}","data":{data}}}'
    )
    record = Record(made.topic, 0, 0, made.key, made.value, ((b"content-type", STRUCTURED),), TIME)
    event = decode(record, frozenset({type_}))
    assert event is not None
    assert json.loads(event.data.model_dump_json(exclude_none=True)) == json.loads(data)
    return event


def test_every_kind_of_event_is_made():
    assert {f"loyalty.points.{kind}.v1" for kind in (*KINDS, "expiring")} == {
        name for name, type_ in TYPES.items() if type_.model is loyalty.PointsMoved
    }


def test_the_fields_are_those_of_the_contract_in_their_order():
    assert publications.PointsMoved.__struct_fields__ == tuple(loyalty.PointsMoved.model_fields)
    assert publications.Balance.__struct_fields__ == tuple(loyalty.Balance.model_fields)
