"""What the workers are fed: the grocer's purchases as they were, and a mixed stream made of them."""

from collections import deque
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from itertools import islice
from typing import Any, Final

from deploy.sample import cloudevent
from deploy.sample.cloudevent import CloudEvent
from deploy.sample.grocer import SOURCE, Basket, Sample, Year, purchase

_KEPT_BACK: Final = 200
"""How many baskets a review or a refund comes after its purchase."""

_PATTERN: Final = "PPPRPPPRPF"
"""Of ten events seven are purchases (P), two reviews (R), one is a refund (F)."""


def read_year() -> Sample:
    """All households, in the order of time."""
    return Year.read(datetime.now(UTC).date()).everything()


def purchases(year: Sample, count: int) -> Iterator[CloudEvent]:
    """The year's first purchases."""
    return map(purchase, islice(year.baskets(), count))


def mixed(year: Sample, count: int) -> Iterator[CloudEvent]:
    """So many events: 70 % purchases, 20 % reviews of bought products, 10 % refunds, interleaved."""
    baskets = year.baskets()
    kept_back = deque(islice(baskets, _KEPT_BACK))
    lately = [purchase(one) for one in kept_back]
    yield from lately[:count]
    for number in range(count - len(lately)):
        match _PATTERN[number % len(_PATTERN)]:
            case "P":
                basket = next(baskets)
                kept_back.append(basket)
                yield purchase(basket)
            case "R":
                yield _review(kept_back.popleft(), number)
            case _:
                yield _refund(kept_back.popleft(), number)


def _review(basket: Basket, number: int) -> CloudEvent:
    bought = basket.purchase["lines"][0]
    data = {
        "customer_id": basket.purchase["customer_id"],
        "review_id": f"review-{basket.basket}",
        "sku": bought["sku"],
        "rating": 5,
        "verified_purchase": True,
    }
    return _later(basket, cloudevent.REVIEWS, cloudevent.REVIEW_PUBLISHED, data, number)


def _refund(basket: Basket, number: int) -> CloudEvent:
    """Every other refund gives back one line, the others half of the order."""
    bought = basket.purchase
    data = {
        "customer_id": bought["customer_id"],
        "order_id": bought["order_id"],
        "refund_id": f"refund-{basket.basket}",
        "currency": bought["currency"],
    }
    if number // len(_PATTERN) % 2:
        line = bought["lines"][0]
        data |= {"amount": line["amount"], "lines": [{name: line[name] for name in ("line_id", "quantity", "amount")}]}
    else:
        data["amount"] = f"{Decimal(bought['total']) / 2:.2f}"
    return _later(basket, cloudevent.PURCHASES, cloudevent.PURCHASE_REFUNDED, data, number)


def _later(basket: Basket, topic: str, type_: str, data: dict[str, Any], number: int) -> CloudEvent:
    return CloudEvent(topic, type_, f"bench-{number}", SOURCE, basket.time + timedelta(hours=1), data)
