"""The values that an event tells of its customer."""

from collections.abc import Iterator

from services.referrals.rules.evidence import normal
from services.referrals.rules.evidence.kinds import Kind, Value
from shared.contracts.shop import CustomerProfile, ReferralSignedUp

Telling = CustomerProfile | ReferralSignedUp
"""Data of the events that tell of a customer."""


def values(data: Telling, country: str | None) -> list[Value]:
    """The values of an event in their normal forms; `country` explains its phone number if it has none itself.

    Blank values, those that cannot be read, and addresses that many share are left out.
    """
    of_phone = country if needs_country(data) else country_of(data)
    return [*_of_contact(data, of_phone), *_of_origin(data), *_of_profile(data)]


def country_of(data: Telling) -> str | None:
    """The country that an event tells."""
    return normal.country(data.country) if isinstance(data, CustomerProfile) and data.country is not None else None


def needs_country(data: Telling) -> bool:
    """Whether an event has a phone number that only the country of an earlier event can explain."""
    return data.phone is not None and country_of(data) is None and not normal.is_international(data.phone)


def _of_contact(data: Telling, country: str | None) -> Iterator[Value]:
    if data.email is not None and (mailbox := normal.mailbox(data.email)) is not None:
        yield Value(Kind.EMAIL, mailbox.text, mailbox.local)
        yield Value(Kind.DOMAIN, mailbox.domain)
    if data.phone is not None and (phone := normal.phone(data.phone, country)) is not None:
        yield Value(Kind.PHONE, phone)


def _of_origin(data: Telling) -> Iterator[Value]:
    if data.payment_fingerprint is not None and (payment := normal.token(data.payment_fingerprint)) is not None:
        yield Value(Kind.PAYMENT, payment)
    if data.device_id is not None and (device := normal.token(data.device_id)) is not None:
        yield Value(Kind.DEVICE, device)
    if data.ip is None or (place := normal.place(data.ip)) is None:
        return
    yield Value(Kind.IP, place.ip)
    yield Value(Kind.NETWORK, place.network)
    if data.user_agent is not None and (agent := normal.agent(data.user_agent)) is not None:
        yield Value(Kind.IP_AND_AGENT, f"{place.ip}\x00{agent}")


def _of_profile(data: Telling) -> Iterator[Value]:
    if not isinstance(data, CustomerProfile):
        return
    if data.name is not None and (name := normal.name(data.name)) is not None:
        yield Value(Kind.NAME, name)
    if (country := country_of(data)) is not None:
        yield Value(Kind.COUNTRY, country)
