"""Conditions on order lines: a rule matches a purchase where one line satisfies all of them."""

from typing import Literal

from services.points.rules.program.conditions.condition import LineFilter, ValueIn


class CategoryIn(ValueIn):
    """A line of the order is in one of these categories."""

    events = ("purchase",)
    looks_at = "lines"
    subject = "a category"
    noun = "category"

    kind: Literal["category_in"]

    def line_filter(self) -> LineFilter:
        values = frozenset(self.values)
        return lambda lines, indexes: [index for index in indexes if lines[index].category in values]


class SkuIn(ValueIn):
    """A line of the order, or the reviewed product, has one of these SKUs."""

    events = ("purchase", "review")
    looks_at = "lines"
    subject = "a product"
    noun = "product"
    fact = "sku"

    kind: Literal["sku_in"]

    def line_filter(self) -> LineFilter:
        values = frozenset(self.values)
        return lambda lines, indexes: [index for index in indexes if lines[index].sku in values]


LineCondition = CategoryIn | SkuIn
