"""Hypothesis strategies of what happens: batches of events, decisions, versions, reads, time."""

from datetime import timedelta
from typing import Any, Final

from hypothesis import strategies as st

from tests.referrals.oracles.documents import programs

Step = tuple[Any, ...]

PEOPLE: Final = ("ada", "ben", "cy", "dee", "eve", "fay")

_PERSON: Final = st.integers(0, len(PEOPLE) - 1)
_AGO: Final = st.sampled_from(
    [
        *[timedelta()] * 4,
        timedelta(minutes=30),
        *(timedelta(hours=hours) for hours in (1, 5, 30, -2)),
        *map(timedelta, (1, 3, 6, 14, 31)),
    ]
)
_PAST: Final = _AGO.filter(lambda ago: ago >= timedelta())
"""Of events that tell evidence: an erasure of now covers them."""
_TRACES: Final = st.fixed_dictionaries(
    {},
    optional={
        "email": st.sampled_from(
            ("Ali.B+x@gmail.com", "alib@googlemail.com", "mona@example.org", "mona1@example.org", "x@spam.example",
             "ali@mailinator.com", "nobody", "")
        ),
        "phone": st.sampled_from(("+966 50 123 4567", "+966501234567", "+971501234567", "none")),
        "device_id": st.sampled_from(("d-1", "d-2", " ", "unknown")),
        "ip": st.sampled_from(
            ("81.2.69.142", "81.2.69.160", "85.10.0.7", "::ffff:81.2.69.142", "2a02:8071:1::1", "2a02:8071:1::2",
             "10.0.0.1", "what")
        ),
        "user_agent": st.sampled_from(("Firefox", "Safari")),
        "payment_fingerprint": st.sampled_from(("card-1", "card-2")),
    },
)  # fmt: skip
_PROFILE: Final = st.fixed_dictionaries(
    {},
    optional={
        "name": st.sampled_from(("Ali  Bin", "ali bin", "Mona", "مُحَمَّد", "محمد")),
        "country": st.sampled_from(("SA", "AE", "sa")),
    },
)
_SHARED: Final = st.sampled_from(
    (
        {},
        {"device_id": "d-1"},
        {"email": "mona@example.org", "ip": "81.2.69.142"},
        {"email": "mona1@example.org", "payment_fingerprint": "card-1"},
        {"ip": "2a02:8071:1::1", "user_agent": "Firefox"},
        {"phone": "+966501234567", "ip": "::ffff:81.2.69.142"},
    )
)
_SIGN_UP: Final = st.tuples(st.just("join"), _PERSON, _PERSON, _TRACES, _PAST)
_TOTAL: Final = st.sampled_from(("25.00", "25.00", "20.00", "21.00", "21.01", "19.9999", "0", "75.00"))
_BUY: Final = st.tuples(
    st.just("buy"), _PERSON, st.integers(0, 3), _TOTAL, st.sampled_from(("USD", "USD", "USD", "SAR", "EUR")), _AGO
)
_EVENT: Final = st.one_of(
    _SIGN_UP,
    _SIGN_UP,
    _BUY,
    _BUY,
    st.tuples(
        st.just("refund"), _PERSON, st.integers(0, 3), st.integers(0, 1),
        st.sampled_from(("1.00", "4.00", "5.01", "99.00")), st.sampled_from(("", "", "a")), _AGO,
    ),
    st.tuples(st.just("profile"), _PERSON, st.booleans(), _TRACES, _PROFILE, _PAST),
    st.tuples(st.just("repeat"), st.integers(0, 9)),
    st.tuples(st.just("wrong"), _PERSON, st.sampled_from(("code", "currency", "source", "line"))),
)  # fmt: skip


@st.composite
def _some(draw: st.DrawFn, least: int, most: int) -> list[int]:
    people = draw(st.permutations(range(len(PEOPLE))))
    return list(people[: draw(st.integers(least, most))])


@st.composite
def _ring(draw: st.DrawFn) -> list[Step]:
    """Each brings the next, the last the first."""
    people = draw(_some(2, 6))
    return [
        ("join", after, before, {}, timedelta()) for before, after in zip(people, people[1:] + people[:1], strict=True)
    ]


@st.composite
def _campaign(draw: st.DrawFn) -> list[Step]:
    """An advocate whose friends all buy, for caps and milestones; some of them share what the advocate uses."""
    advocate, *friends = draw(_some(3, 6))
    shared = draw(_SHARED)
    steps: list[Step] = [("profile", advocate, True, shared, {}, timedelta())] if shared else []
    traces = st.sampled_from((shared, {}, {"ip": "81.2.69.142"}, {"ip": "85.10.0.7"}, {"ip": "2a02:8071:1::1"}))
    steps += [("join", friend, advocate, draw(traces), timedelta()) for friend in friends]
    total = draw(_TOTAL)
    steps += [("buy", friend, number, total, "USD", timedelta()) for number in range(2) for friend in friends]
    return steps


@st.composite
def _suspects(draw: st.DrawFn) -> list[Step]:
    """Two who share something: one brings the other, who buys; perhaps before any of it is known, or too early."""
    advocate, friend = draw(_some(2, 2))
    shared, ago = draw(_SHARED), draw(st.sampled_from((timedelta(), timedelta(hours=1), timedelta(1))))
    steps: list[Step] = [
        ("profile", advocate, draw(st.booleans()), shared, {"name": "Mona  Ali"}, ago),
        ("profile", friend, draw(st.booleans()), {}, {"name": draw(st.sampled_from(("mona ali", "Ali")))}, ago),
        ("join", friend, advocate, shared, ago),
        ("buy", friend, draw(st.integers(0, 3)), draw(_TOTAL), "USD", draw(_AGO)),
    ]
    return list(draw(st.permutations(steps)))


@st.composite
def _returns(draw: st.DrawFn) -> list[Step]:
    """Refunds of several orders of one customer."""
    person, ago = draw(_PERSON), draw(_AGO)
    return [("refund", person, order, 1, draw(st.sampled_from(("5.01", "99.00"))), "", ago) for order in range(3)]


_WHICH: Final = st.integers(0, 9)
_DECISION: Final = st.sampled_from(("approve", "approve", "reject"))
_SPAN: Final = st.sampled_from(
    [timedelta(seconds=1), timedelta(hours=1), *map(timedelta, (1, 2, 3, 10, 14, 31, 60, 401))]
)
_STEP: Final = st.one_of(
    st.tuples(st.just("receive"), st.lists(_EVENT, min_size=1, max_size=4)),
    st.tuples(st.just("receive"), st.lists(_EVENT, min_size=1, max_size=8)),
    st.tuples(st.just("receive"), _ring()),
    st.tuples(st.just("receive"), _campaign()),
    st.tuples(st.just("receive"), _campaign()),
    st.tuples(st.just("receive"), _suspects()),
    st.tuples(st.just("receive"), _suspects()),
    st.tuples(st.just("receive"), _suspects()),
    st.tuples(st.just("receive"), _returns()),
    st.tuples(st.just("receive"), _returns()),
    st.tuples(st.just("decide"), _WHICH, _DECISION),
    st.tuples(st.just("decide_flagged"), _WHICH, _DECISION),
    st.tuples(st.just("decide_flagged"), _WHICH, _DECISION),
    st.tuples(st.just("decide_all"), _DECISION),
    st.tuples(st.just("overturn")),
    st.tuples(st.just("pass"), _SPAN),
    st.tuples(st.just("to_due"), st.sampled_from([timedelta(), timedelta(), timedelta(microseconds=-1)])),
    st.tuples(st.just("to_due"), st.sampled_from([timedelta(), timedelta(), timedelta(microseconds=-1)])),
    st.tuples(st.just("sweep")),
    st.tuples(st.just("publish"), programs()),
    st.tuples(st.just("erase"), _PERSON),
    st.tuples(st.just("read"), _WHICH),
    st.tuples(st.just("look")),
)

histories = st.tuples(programs(), st.lists(_STEP, min_size=5, max_size=25))
"""The first program, and the steps."""
