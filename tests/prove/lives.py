"""Draws the events of customers, each consistent with the customer's earlier events."""

from collections.abc import Callable
from dataclasses import dataclass, field
from decimal import Decimal
from random import Random
from typing import Any, Final

from shared.contracts import topics
from tests.prove.referring import DISPOSABLE

WEB: Final = "/shop/web"
TILL: Final = "/shop/till"

_SKUS: Final = tuple(f"s{number}" for number in range(40))
_CATEGORIES: Final = ("coffee", "home", "books", None)
_ACTIVITIES: Final = ("app_install", "quiz", "quiz", "share", "visit", "check_in")
_LOCALES: Final = ("en", "ar", "en-GB", "fr")
_SUSPICIOUS: Final = 0.3
"""The share of the sign-ups that the referral program flags."""
CENT: Final = Decimal("0.01")

Drawn = tuple[str, str, str, dict[str, Any]]
"""Topic, type, source, data."""


@dataclass(slots=True)
class Bought:
    """An order of a customer; `left` are the amounts not refunded yet, by line ("" without lines)."""

    order_id: str
    source: str
    currency: str
    left: dict[str, Decimal]
    refunds: int = 0
    delivered: bool = False


@dataclass(slots=True)
class Life:
    """A customer, with their history."""

    customer: str
    random: Random
    advocates: tuple[str, ...]
    is_registered: bool = False
    sign_ups: int = 0
    count: int = 0
    orders: list[Bought] = field(default_factory=list)
    reviews: list[str] = field(default_factory=list)

    def next(self) -> Drawn:
        """Draw the customer's next event."""
        if not self.is_registered:
            self.is_registered = True
            return self._profile("registered")
        if self.sign_ups == 0 and self.count < 3 and self.random.random() < 0.12:
            return self._sign_up()
        kinds, weights = zip(*_KINDS, strict=True)
        while True:
            [kind] = self.random.choices(kinds, weights)
            if (drawn := kind(self)) is not None:
                self.count += 1
                return drawn

    def _new(self, kind: str) -> str:
        self.count += 1
        return f"{kind}{self.count}"

    def _profile(self, verb: str) -> Drawn:
        random = self.random
        data: dict[str, Any] = {"customer_id": self.customer}
        if random.random() < 0.9:
            data["name"] = f"Name {random.randrange(1000)}"
        if random.random() < 0.01:  # a mail takes longer than everything else: few are enough
            data["email"] = f"{random.randrange(10**9)}@example.test"
        if random.random() < 0.5:
            data |= {"locale": random.choice(_LOCALES), "time_zone": "Asia/Riyadh", "country": "SA"}
        if random.random() < 0.3:
            data["birth_date"] = f"19{random.randrange(50, 99)}-0{random.randrange(1, 9)}-1{random.randrange(9)}"
        if verb == "updated" and random.random() < 0.2:
            data["phone"] = None
        return topics.CUSTOMERS, f"shop.customer.{verb}.v1", WEB, data

    def _update(self) -> Drawn:
        return self._profile("updated")

    def _erase(self) -> Drawn:
        return topics.CUSTOMERS, "shop.customer.erased.v1", WEB, {"customer_id": self.customer}

    def _buy(self) -> Drawn:
        random = self.random
        source = random.choice((WEB, WEB, TILL))
        order_id = self._new("o")
        currency = random.choices(("USD", "EUR", "JPY"), (96, 3, 1))[0]
        lines = self._lines() if random.random() < 0.5 else []
        total = sum((Decimal(line["amount"]) for line in lines), Decimal(0)) if lines else self._amount()
        data: dict[str, Any] = {"customer_id": self.customer, "order_id": order_id, "currency": currency}
        data |= {"total": str(total), "channel": random.choice(("web", "app", "store"))}
        if lines:
            data["lines"] = lines
        left = {line["line_id"]: Decimal(line["amount"]) for line in lines} or {"": total}
        self.orders.append(Bought(order_id, source, currency, left))
        return topics.PURCHASES, "shop.purchase.completed.v1", source, data

    def _amount(self) -> Decimal:
        cents = min(40_000, int(self.random.lognormvariate(8.1, 0.9)))
        return Decimal(cents) * CENT

    def _lines(self) -> list[dict[str, Any]]:
        lines: list[dict[str, Any]] = []
        for number in range(self.random.randint(1, 4)):
            line = {"line_id": str(number), "sku": self.random.choice(_SKUS), "quantity": self.random.randint(1, 3)}
            amount = Decimal(0) if self.random.random() < 0.05 else (self._amount() / 2).quantize(CENT)
            category = self.random.choice(_CATEGORIES)
            lines.append(line | {"amount": str(amount)} | ({"category": category} if category else {}))
        return lines

    def _refund(self) -> Drawn | None:
        open_ = [order for order in self.orders if any(order.left.values()) and order.refunds < 4]
        if not open_:
            return None
        order = self.random.choice(open_)
        order.refunds += 1
        data: dict[str, Any] = {"customer_id": self.customer, "order_id": order.order_id}
        data |= {"refund_id": f"r{order.refunds}", "currency": order.currency}
        named = "" not in order.left and self.random.random() < 0.6
        data |= self._of_a_line(order) if named else self._of_all(order)
        return topics.PURCHASES, "shop.purchase.refunded.v1", order.source, data

    def _of_a_line(self, order: Bought) -> dict[str, Any]:
        line = self.random.choice([name for name, left in order.left.items() if left])
        part = order.left[line] if self.random.random() < 0.5 else (order.left[line] / 2).quantize(CENT)
        order.left[line] -= part
        return {"amount": str(part), "lines": [{"line_id": line, "quantity": 1, "amount": str(part)}]}

    def _of_all(self, order: Bought) -> dict[str, Any]:
        whole = sum(order.left.values(), Decimal(0))
        share = self.random.choice((Decimal(1), Decimal("0.5"), Decimal("0.1"), Decimal("0.33")))
        order.left = {name: (left * (1 - share)).quantize(CENT) for name, left in order.left.items()}
        return {"amount": str((whole * share).quantize(CENT))}

    def _deliver(self) -> Drawn | None:
        order = next((order for order in reversed(self.orders) if not order.delivered), None)
        if order is None:
            return None
        order.delivered = True
        data = {"customer_id": self.customer, "order_id": order.order_id}
        return topics.PURCHASES, "shop.purchase.delivered.v1", order.source, data

    def _review(self) -> Drawn:
        random = self.random
        data: dict[str, Any] = {"customer_id": self.customer, "review_id": self._new("v"), "sku": random.choice(_SKUS)}
        data |= {"rating": random.randint(1, 5), "verified_purchase": random.random() < 0.8}
        data |= {"text_length": random.randrange(500), "photo_count": random.randrange(3)}
        self.reviews.append(data["review_id"])
        return topics.REVIEWS, "shop.review.published.v1", WEB, data

    def _withdraw(self) -> Drawn | None:
        if not self.reviews:
            return None
        review = self.reviews.pop(self.random.randrange(len(self.reviews)))
        data = {"customer_id": self.customer, "review_id": review}
        return topics.REVIEWS, "shop.review.withdrawn.v1", WEB, data

    def _act(self) -> Drawn:
        data = {
            "customer_id": self.customer,
            "activity_id": self._new("a"),
            "activity": self.random.choice(_ACTIVITIES),
        }
        return topics.ACTIVITIES, "shop.activity.performed.v1", WEB, data

    def _answer(self) -> Drawn:
        survey, low, high = self.random.choice((("nps", 0, 10), ("csat", 1, 5)))
        data = {"customer_id": self.customer, "answer_id": self._new("n"), "survey": survey}
        return topics.ACTIVITIES, "shop.survey.answered.v1", WEB, data | {"score": self.random.randint(low, high)}

    def _sign_up(self) -> Drawn | None:
        if self.sign_ups >= 2:
            return None
        self.sign_ups += 1
        advocate = self.random.choice(self.advocates)
        data = {"customer_id": self.customer, "code": code_of(advocate), "ip": "192.0.2.7"}
        if self.random.random() < _SUSPICIOUS:
            data["email"] = DISPOSABLE
        return topics.REFERRALS, "shop.referral.signed_up.v1", WEB, data


def code_of(advocate: str) -> str:
    """The referral code of an advocate, the same in every run."""
    letters = Random(f"code of {advocate}")
    return "".join(letters.choices("23456789CDFGHJKMNPQRTVWX", k=8))


_KINDS: Final[tuple[tuple[Callable[[Life], Drawn | None], float], ...]] = (
    (Life._buy, 46),
    (Life._refund, 10),
    (Life._deliver, 9),
    (Life._review, 9),
    (Life._withdraw, 2),
    (Life._act, 12),
    (Life._answer, 5),
    (Life._update, 5),
    (Life._sign_up, 1),
    (Life._erase, 0.3),
)
