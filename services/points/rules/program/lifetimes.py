"""When the points of a rule become available, and when they expire. `dates.py` computes the instants."""

from typing import Annotated, Literal

from pydantic import Field

from services.points.rules.program.values import Days
from shared.programs.values import Part


class ActivateNow(Part):
    """Available at once."""

    kind: Literal["now"]


class ActivateAfterDays(Part):
    """Available from 00:00 of a later day, in the program's time zone."""

    kind: Literal["after_days"]
    days: Annotated[Days, Field(description="Days after the day of the event.")]


class ActivateOnDelivery(Part):
    """Available when the order is delivered."""

    kind: Literal["on_delivery"]
    cancel_after_days: Annotated[
        Days | None,
        Field(description="Days after the order's day, from which the points of an undelivered order are taken back."),
    ] = None


Activation = Annotated[ActivateNow | ActivateAfterDays | ActivateOnDelivery, Field(discriminator="kind")]


class ExpireNever(Part):
    """Never."""

    kind: Literal["never"]


class ExpireAfterDays(Part):
    """Some days after activation."""

    kind: Literal["after_days"]
    days: Annotated[Days, Field(description="Days from the day of activation to the last day of the points.")]


class ExpireAfterMonths(Part):
    """Some months after activation: on the same day, or on the last day of a shorter month."""

    kind: Literal["after_months"]
    months: Annotated[int, Field(strict=True, ge=1, le=1200, description="Months from the day of activation.")]


class ExpireEndOfYear(Part):
    """At the end of a calendar year."""

    kind: Literal["end_of_year"]
    years: Annotated[
        int, Field(strict=True, ge=0, le=100, description="Years after the year of activation; 0 is that year.")
    ] = 0


Expiry = Annotated[
    ExpireNever | ExpireAfterDays | ExpireAfterMonths | ExpireEndOfYear,
    Field(discriminator="kind"),
]
