"""Conditions on an order: its amount, where it was placed, its currency, its position among the customer's orders."""

from typing import Annotated, Literal

from pydantic import Field

from services.points.rules.program.conditions.condition import Condition, LintContext, Terms, Test, ValueIn
from services.points.rules.program.extents import NO_END, YES, Extent, Multiples, Span, is_empty, meet
from services.points.rules.program.values import On
from shared.contracts.values import UNITS, units
from shared.programs.values import Amount


class AmountAtLeast(Condition):
    """What is kept of the order is worth at least `amount`, in the program's currency."""

    events = ("purchase",)
    looks_at = "order"
    subject = "an amount"
    everything = Span(0, NO_END)

    kind: Literal["amount_at_least"]
    amount: Amount

    def test(self, terms: Terms) -> Test:
        least = units(self.amount)
        return lambda _, basket: basket.total * UNITS >= least * basket.scale

    def extent(self, terms: Terms) -> Extent:
        return Span(units(self.amount), NO_END)

    def suits(self, on: On) -> bool:
        return super().suits(on) or not units(self.amount)


class ChannelIn(ValueIn):
    """The order was placed on one of these channels."""

    events = ("purchase",)
    subject = "a channel"
    noun = "channel"
    fact = "channel"

    kind: Literal["channel_in"]


class StoreIn(ValueIn):
    """The order was placed at one of these stores."""

    events = ("purchase",)
    subject = "a store"
    noun = "store"
    fact = "store_id"

    kind: Literal["store_in"]


class CurrencyIn(ValueIn):
    """The order was paid in one of these currencies."""

    events = ("purchase",)
    subject = "a currency"
    noun = "currency"
    fact = "currency"

    kind: Literal["currency_in"]

    @classmethod
    def possible(cls, terms: Terms) -> Extent:
        return terms.currencies

    def doubt(self, context: LintContext) -> str | None:
        if is_empty(meet(self.extent(context.terms), self.possible(context.terms))):
            return "none of these currencies is the program's or has a rate: the rule never matches"
        return None


class FirstPurchase(Condition):
    """The order is the customer's first."""

    events = ("purchase",)
    looks_at = "ordinal"
    subject = "a place among the customer's purchases"

    kind: Literal["first_purchase"]

    def test(self, terms: Terms) -> Test:
        return lambda facts, _: facts.ordinal == 1

    def extent(self, terms: Terms) -> Extent:
        return YES


class EveryNthPurchase(Condition):
    """A stamp card: the order is the customer's nth, 2nth, 3nth …"""

    events = ("purchase",)
    looks_at = "ordinal"
    subject = "a place among the customer's purchases"
    everything = Multiples(1)

    kind: Literal["every_nth_purchase"]
    n: Annotated[int, Field(strict=True, ge=1, le=10**6, description="The number of orders that fill the card.")]

    def test(self, terms: Terms) -> Test:
        every = self.n
        return lambda facts, _: facts.ordinal is not None and facts.ordinal % every == 0

    def extent(self, terms: Terms) -> Extent:
        return Multiples(self.n)

    def doubt(self, context: LintContext) -> str | None:
        if self.n > 1 and any(isinstance(other, FirstPurchase) for other in context.conditions):
            return "a customer's first purchase is not the nth as well: the rule never matches"
        return None


OrderCondition = AmountAtLeast | ChannelIn | StoreIn | CurrencyIn | FirstPurchase | EveryNthPurchase
