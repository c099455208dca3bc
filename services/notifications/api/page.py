"""The page behind the link in a message: unsubscribe with a button, or choose what to get. It needs no JavaScript."""

import base64
import hashlib
from collections.abc import Mapping
from html import escape
from typing import Final

from services.notifications.handlers.leaving import Held, What
from services.notifications.rules.message import Channel, Topic
from services.notifications.rules.preferences import SWITCHED

ACTION: Final = "action"
"""The field that says which button was used: a `What`, or `SAVE`."""
SAVE: Final = "save"
ON: Final = "on"
"""The field of every choice that is on: a channel, or `topic/channel`."""

_STYLE: Final = """
body { font: 1rem/1.5 system-ui, sans-serif; color: #1a1a1a; background: #fff; margin: 0 auto; padding: 1.5rem;
  max-width: 40rem }
h1 { font-size: 1.4rem } h2 { font-size: 1.15rem; margin-top: 2rem }
button { font: inherit; padding: .6rem 1rem; border: 1px solid #0b57d0; border-radius: .4rem; background: #fff;
  color: #0b57d0; cursor: pointer; margin-block: .25rem }
button.first { background: #0b57d0; color: #fff }
button:focus-visible, input:focus-visible { outline: 3px solid #f4b400; outline-offset: 2px }
table { border-collapse: collapse; width: 100% } th, td { text-align: start; padding: .35rem .5rem .35rem 0 }
thead th { font-weight: 600 } tbody th { font-weight: 400 } input { width: 1.2rem; height: 1.2rem }
[role=status] { background: #e6f4ea; padding: .75rem 1rem; border-radius: .4rem }
"""
_HASH: Final = base64.b64encode(hashlib.sha256(_STYLE.encode()).digest()).decode()

HEADERS: Final = {
    "Content-Security-Policy": f"default-src 'none'; style-src 'sha256-{_HASH}'; form-action 'self'; "
    "base-uri 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
}

_ENGLISH: Final[Mapping[str, str]] = {
    "title": "Your messages",
    "ask": "Unsubscribe?",
    "done": "Your choice is stored.",
    "gone": "There is nothing to unsubscribe from any more.",
    "topic": "Stop e-mails about: {topic}",
    "marketing": "Stop all marketing e-mails",
    "everything": "Stop all e-mails",
    "except": "You will still be told about your account itself.",
    "choose": "Choose what you get",
    "channels": "Channels",
    "save": "Save",
    "all": "All messages",
    "in_app": "Inbox",
    "email": "E-mail",
    "sms": "Text message",
    "push": "Push",
    "account": "Your account",
    "points": "Points",
    "tiers": "Tier",
    "referrals": "Referrals",
    "orders": "Orders",
    "surveys": "Surveys",
    "offers": "Offers",
    "news": "News",
}
_ARABIC: Final[Mapping[str, str]] = {
    "title": "رسائلك",
    "ask": "هل تريد إلغاء الاشتراك؟",
    "done": "تم حفظ اختيارك.",
    "gone": "لم يعد هناك ما يُلغى الاشتراك فيه.",
    "topic": "إيقاف رسائل البريد الإلكتروني عن: {topic}",
    "marketing": "إيقاف جميع رسائل البريد التسويقية",
    "everything": "إيقاف جميع رسائل البريد الإلكتروني",
    "except": "ستصلك مع ذلك الرسائل المتعلقة بحسابك نفسه.",
    "choose": "اختر ما تريد أن يصلك",
    "channels": "القنوات",
    "save": "حفظ",
    "all": "كل الرسائل",
    "in_app": "صندوق الرسائل",
    "email": "البريد الإلكتروني",
    "sms": "رسالة نصية",
    "push": "إشعار",
    "account": "حسابك",
    "points": "النقاط",
    "tiers": "الفئة",
    "referrals": "الدعوات",
    "orders": "الطلبات",
    "surveys": "الاستبيانات",
    "offers": "العروض",
    "news": "الأخبار",
}
_DIRECTIONS: Final = {"en": "ltr", "ar": "rtl"}
_WORDS: Final = {"en": _ENGLISH, "ar": _ARABIC}


def show(held: Held | None, *, is_done: bool = False) -> str:
    """The page for who holds a link; None: its message is not there any more, so that there is nothing to choose."""
    language = _language("" if held is None else held.locale)
    words = _WORDS[language]
    status = f'<p role="status">{words["done"]}</p>' if is_done else ""
    content = f"<p>{words['gone']}</p>" if held is None else _buttons(held, words) + _table(held, words)
    return (
        f'<!doctype html><html lang="{language}" dir="{_DIRECTIONS[language]}"><head><meta charset="utf-8">'
        f'<meta name="viewport" content="width=device-width, initial-scale=1"><meta name="robots" content="noindex">'
        f"<title>{words['title']}</title><style>{_STYLE}</style></head>"
        f"<body><main><h1>{words['title']}</h1>{status}{content}</main></body></html>"
    )


def _language(locale: str) -> str:
    language = locale.replace("_", "-").partition("-")[0].lower()
    return language if language in _WORDS else "en"


def _buttons(held: Held, words: Mapping[str, str]) -> str:
    topic = words["topic"].format(topic=words[held.message.topic])
    labels = {What.TOPIC: topic, What.MARKETING: words["marketing"], What.EVERYTHING: words["everything"]}
    buttons = "".join(
        f'<p><button name="{ACTION}" value="{what}"{" class=first" if index == 0 else ""}>{escape(label)}</button></p>'
        for index, (what, label) in enumerate(labels.items())
    )
    return f'<h2>{words["ask"]}</h2><form method="post">{buttons}<p>{words["except"]}</p></form>'


def _table(held: Held, words: Mapping[str, str]) -> str:
    heads = "".join(f'<th scope="col">{words[channel]}</th>' for channel in Channel)
    switches = "".join(
        _cell(channel, f"{words['all']}: {words[channel]}", held.preferences.wants(channel))
        if channel in SWITCHED
        else "<td></td>"
        for channel in Channel
    )
    rows = f'<tr><th scope="row">{words["all"]}</th>{switches}</tr>' + "".join(
        f'<tr><th scope="row">{words[topic]}</th>{_cells(held, topic, words)}</tr>' for topic in Topic
    )
    return (
        f'<h2>{words["choose"]}</h2><form method="post"><table><thead><tr><td></td>{heads}</tr></thead>'
        f'<tbody>{rows}</tbody></table><p><button name="{ACTION}" value="{SAVE}">{words["save"]}</button></p></form>'
    )


def _cells(held: Held, topic: Topic, words: Mapping[str, str]) -> str:
    return "".join(
        _cell(f"{topic}/{channel}", f"{words[topic]}: {words[channel]}", held.preferences.wants_topic(topic, channel))
        for channel in Channel
    )


def _cell(value: str, label: str, is_on: bool) -> str:  # noqa: FBT001 (a flag of the cell)
    checked = " checked" if is_on else ""
    return f'<td><input type="checkbox" name="{ON}" value="{value}" aria-label="{escape(label)}"{checked}></td>'
