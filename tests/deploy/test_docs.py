"""The generated parts of docs/operations.md are current, complete and correct."""

import re
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from deploy import docs
from services import SERVICES
from shared.contracts.reasons import Reason
from shared.telemetry import METRICS

FIELDS = [(service, name) for service in SERVICES for name in docs.settings_of(service).model_fields]

# A value that is not the default, for each type of field.
OTHER: dict[str, str] = {
    "port": "8123",
    "pool_size": "5",
    "smtp_tls": "starttls",
    "sender": "Shop <shop@example.org>",
    "time_zone": "Asia/Riyadh",
    "evidence_key": "the key of the evidence of a shop",
    "dkim_selector": "other",
    "dkim_domain": "example.org",
    "sms_account": "AC1",
    "vapid_subject": "mailto:other@example.org",
    "webhook_allow": "10.0.0.0/8",
    "locale": "ar",
    "currency": "SAR",
    "secret": "another secret of thirty-two bytes or more",
    "provider_secrets": '{"other": "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"}',
    "quiet_from": "20:00",
    "quiet_to": "09:00",
    "sms_opt_out": '{"en": "Reply STOP"}',
}
# Settings that are set together.
BESIDES = {
    "sms_account": {"sms_token": "t", "sms_sender": "Shop"},
    "sms_token": {"sms_account": "AC1", "sms_sender": "Shop"},
    "sms_sender": {"sms_account": "AC1", "sms_token": "t"},
}


def test_the_page_is_current():
    text = docs.PAGE.read_text(encoding="utf-8")
    assert docs.render(text) == text, "run `python -m deploy.docs` and commit what it wrote"


@pytest.mark.parametrize(("service", "name"), FIELDS)
def test_a_setting_is_read_from_the_variable_that_the_page_names(
    service: str, name: str, monkeypatch: pytest.MonkeyPatch
):
    settings = docs.settings_of(service)
    variable = docs.variable(settings, name)
    for besides, value in BESIDES.get(name, {}).items():
        monkeypatch.setenv(docs.variable(settings, besides), value)
    monkeypatch.setenv(variable, other(name, settings.model_fields[name].default))
    value, default = (plain(getattr(source, name)) for source in (settings(), settings.model_construct()))
    assert value != default
    written = variable.replace(service.upper(), "<SERVICE>") if variable not in page() else variable
    assert f"| `{written}` |" in page()


def other(name: str, default: object) -> str:
    """A value of a field that differs from its default."""
    if name in OTHER:
        return OTHER[name]
    if isinstance(default, bool):
        return str(not default)
    if isinstance(default, int | float):
        return str(int(default) + 1)
    return "http://127.0.0.1:1/other"


def plain(value: Any) -> Any:
    return value.get_secret_value() if isinstance(value, SecretStr) else value


def page() -> str:
    return docs.PAGE.read_text(encoding="utf-8")


def test_the_page_lists_exactly_the_metrics():
    named = set(re.findall(r"`(wafa_\w+)`", page()))
    metrics = {next(iter(metric.collect())).name for metric in METRICS}
    assert {name.removesuffix("_total") for name in named} == metrics


def test_every_setting_has_a_description():
    for service, name in FIELDS:
        assert docs.settings_of(service).model_fields[name].description


def test_the_page_explains_each_reason_of_a_dead_letter():
    dead_letters = page().partition("## Dead letters")[2].partition("## ")[0]
    assert {reason for reason in Reason if f"`{reason}`" in dead_letters} == set(Reason)


def test_a_page_without_a_place_for_a_part_is_refused():
    with pytest.raises(ValueError, match="one part metrics; it has 0"):
        docs.render("<!-- settings -->\n<!-- /settings -->\n")


def test_writing_and_checking(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    copy = tmp_path / "operations.md"
    copy.write_text(page().replace("| `WAFA_KAFKA_BOOTSTRAP` |", "| `WAFA_BROKER` |"), encoding="utf-8")
    monkeypatch.setattr(docs, "PAGE", copy)
    assert docs.main(["--check"]) == 1
    assert docs.main([]) == 0
    assert docs.main(["--check"]) == 0
    assert "WAFA_BROKER" not in copy.read_text(encoding="utf-8")
