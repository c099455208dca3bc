"""What the worker reads."""

import pytest
from pydantic import SecretStr, ValidationError
from structlog.testing import capture_logs

from services.referrals.settings import Settings
from services.referrals.worker import spec
from shared.contracts.registry import TYPES


def test_the_worker_reads_purchases_refunds_sign_ups_and_erasures():
    made = spec(Settings())
    assert made.wanted == {
        "shop.purchase.completed.v1",
        "shop.purchase.refunded.v1",
        "shop.referral.signed_up.v1",
        "shop.customer.registered.v1",
        "shop.customer.updated.v1",
        "shop.customer.erased.v1",
    }
    assert all(
        TYPES[name].topic == subscription.topic for subscription in made.subscriptions for name in subscription.types
    )


def test_a_missing_key_of_evidence_is_logged_and_a_short_one_is_refused():
    with capture_logs() as logs:
        spec(Settings())
        spec(Settings(evidence_key=SecretStr("x" * 32)))
    assert [log["event"] for log in logs] == ["evidence_key_missing"]
    with pytest.raises(ValidationError):
        Settings(evidence_key=SecretStr("x" * 31))
