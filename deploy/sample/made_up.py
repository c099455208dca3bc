"""The made-up part of the sample: events that the grocer's year lacks.

NOTHING HERE IS REAL. Names, addresses, languages, consent, reviews, referrals and refunds are drawn from a seed; only
the baskets that they refer to were really bought. Every event of this part has the `source` `/sample/made-up`.

The draws for a household or a basket depend only on the seed and on its id. So a smaller sample is part of a larger
sample, ids are the same in every replay, and a repeated replay has no effect. Other seeds give other ids.
"""

import hashlib
import heapq
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import ROUND_HALF_EVEN, Decimal
from random import Random
from typing import Any, Final

from deploy.sample import cloudevent
from deploy.sample.cloudevent import CloudEvent
from deploy.sample.grocer import Basket, money, purchase

SOURCE: Final = "/sample/made-up"
SEED: Final = 2017

REVIEWED: Final = 0.08
WITHDRAWN: Final = 0.15
REFUNDED: Final = 0.02
ARABIC: Final = 0.35
CONSENTING: Final = 0.8
LATE_SIGN_UP: Final = 0.1
CIRCLE: Final = 12
"""In each group of this many households in the order of choice, the first refers the second and the third."""

_CENT: Final = Decimal("0.01")
_PLACES: Final[Mapping[str, Sequence[tuple[str, str]]]] = {
    "en": (("America/New_York", "US"), ("America/Chicago", "US"), ("Europe/London", "GB"), ("Asia/Dubai", "AE")),
    "ar": (("Africa/Cairo", "EG"), ("Asia/Riyadh", "SA"), ("Asia/Dubai", "AE"), ("Asia/Amman", "JO")),
}


@dataclass(frozen=True, slots=True)
class Referral:
    """A referral of one household by another."""

    advocate: int
    friend: int


@dataclass(frozen=True, slots=True)
class MadeUp:
    """Makes up the events of a sample, all of them before `end`."""

    seed: int
    end: datetime

    def registration(self, household: int, first_visit: datetime) -> CloudEvent:
        """The household opens its account an hour before its first basket."""
        chance = self._chance("household", household)
        locale = "ar" if chance.random() < ARABIC else "en"
        zone, country = chance.choice(_PLACES[locale])
        consents = chance.random() < CONSENTING
        data = {
            "customer_id": str(household),
            "name": f"أسرة {household}" if locale == "ar" else f"Household {household}",
            "email": f"household-{household}@example.org",
            "locale": locale,
            "time_zone": zone,
            "country": country,
            "marketing_consent": {"email": consents, "push": consents},
        }
        happened = first_visit - timedelta(hours=1)
        return self._event(cloudevent.REGISTERED, f"registration-{household}", happened, data)

    def sign_up(self, referral: Referral, code: str, first_visit: datetime) -> CloudEvent:
        """The friend signs up with the advocate's code: before the first basket, or (a few) too late, after it."""
        late = self._chance("sign-up", referral.friend).random() < LATE_SIGN_UP
        happened = first_visit + (timedelta(hours=1) if late else timedelta(minutes=-30))
        data = {
            "customer_id": str(referral.friend),
            "code": code,
            "email": f"household-{referral.friend}@example.org",
        }
        return self._event(cloudevent.SIGNED_UP, f"sign-up-{referral.friend}", happened, data)

    def after(self, basket: Basket) -> Iterator[CloudEvent]:
        """The events that follow a basket: possibly a review (and its withdrawal), possibly a refund."""
        review, refund = self._shares(basket)
        if review < REVIEWED:
            yield from self._review(basket)
        if refund < REFUNDED and Decimal(basket.purchase["total"]) > 0:
            yield self._refund(basket)

    def along(self, baskets: Iterable[Basket], prepared: Iterable[CloudEvent]) -> Iterator[CloudEvent]:
        """The purchases and all made-up events, in the order of time; `prepared` are registrations and sign-ups."""
        agenda = [(event.time, event.id, event) for event in prepared if event.time < self.end]
        heapq.heapify(agenda)
        for basket in baskets:
            while agenda and agenda[0][0] <= basket.time:
                yield heapq.heappop(agenda)[2]
            yield purchase(basket)
            for event in self.after(basket):
                if event.time < self.end:
                    heapq.heappush(agenda, (event.time, event.id, event))
        while agenda:
            yield heapq.heappop(agenda)[2]

    def _review(self, basket: Basket) -> Iterator[CloudEvent]:
        chance = self._chance("review", basket.basket)
        review = {"customer_id": basket.purchase["customer_id"], "review_id": f"review-{self.seed}-{basket.basket}"}
        written = basket.time + timedelta(seconds=chance.randrange(3_600, 14 * 86_400))
        bought = chance.choice(basket.purchase["lines"])
        opinion = {
            "sku": bought["sku"],
            "rating": chance.choices((1, 2, 3, 4, 5), (4, 6, 15, 35, 40))[0],
            "verified_purchase": True,
            "text_length": chance.randrange(400),
            "photo_count": chance.choices((0, 1, 2), (80, 15, 5))[0],
        }
        yield self._event(cloudevent.REVIEW_PUBLISHED, f"review-{basket.basket}", written, review | opinion)
        if chance.random() < WITHDRAWN:
            withdrawn = written + timedelta(seconds=chance.randrange(3_600, 30 * 86_400))
            yield self._event(cloudevent.REVIEW_WITHDRAWN, f"withdrawal-{basket.basket}", withdrawn, review)

    def _refund(self, basket: Basket) -> CloudEvent:
        chance = self._chance("refund", basket.basket)
        happened = basket.time + timedelta(seconds=chance.randrange(3_600, 21 * 86_400))
        data = {
            "customer_id": basket.purchase["customer_id"],
            "order_id": basket.purchase["order_id"],
            "refund_id": f"refund-{self.seed}-{basket.basket}",
            "currency": basket.purchase["currency"],
        } | _given_back(basket.purchase, chance)
        return self._event(cloudevent.PURCHASE_REFUNDED, f"refund-{basket.basket}", happened, data)

    def _event(self, type_: str, name: str, happened: datetime, data: Mapping[str, Any]) -> CloudEvent:
        return CloudEvent(_TOPICS[type_], type_, f"{name}-{self.seed}", SOURCE, happened, data)

    def _chance(self, what: str, number: int) -> Random:
        return Random(f"{self.seed}/{what}/{number}")  # noqa: S311 the draws have to be repeatable

    def _shares(self, basket: Basket) -> tuple[float, float]:
        """Two numbers in [0, 1) drawn for the basket; a digest costs a tenth of a generator."""
        digest = hashlib.blake2b(f"{self.seed}/basket/{basket.basket}".encode(), digest_size=8).digest()
        return int.from_bytes(digest[:4]) / 2**32, int.from_bytes(digest[4:]) / 2**32


_TOPICS: Final[Mapping[str, str]] = {
    cloudevent.PURCHASE_REFUNDED: cloudevent.PURCHASES,
    cloudevent.REVIEW_PUBLISHED: cloudevent.REVIEWS,
    cloudevent.REVIEW_WITHDRAWN: cloudevent.REVIEWS,
    cloudevent.SIGNED_UP: cloudevent.REFERRALS,
    cloudevent.REGISTERED: cloudevent.CUSTOMERS,
}


def referrals(households: Sequence[int]) -> list[Referral]:
    """The referrals among households in the order of choice."""
    return [
        Referral(advocate=households[place - place % CIRCLE], friend=friend)
        for place, friend in enumerate(households)
        if place % CIRCLE in (1, 2)
    ]


def _given_back(bought: Mapping[str, Any], chance: Random) -> dict[str, Any]:
    """A refund of one line, of all lines, or of a share of the whole without lines."""
    kind = chance.choice(("one line", "all lines", "no lines"))
    if kind == "no lines":
        share = Decimal(chance.choice((10, 25, 50, 100))) / 100
        amount = (Decimal(bought["total"]) * share).quantize(_CENT, ROUND_HALF_EVEN)
        return {"amount": money(max(amount, _CENT))}
    paid = [line for line in bought["lines"] if Decimal(line["amount"]) > 0]
    lines = [chance.choice(paid)] if kind == "one line" else bought["lines"]
    returned = [{name: line[name] for name in ("line_id", "quantity", "amount")} for line in lines]
    return {"amount": money(sum((Decimal(line["amount"]) for line in lines), Decimal(0))), "lines": returned}
