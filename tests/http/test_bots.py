"""Whose visits are counted."""

import pytest

from shared.http.bots import is_bot

PEOPLE = [
    (
        "Mozilla/5.0 (iPhone; CPU iPhone OS 18_5 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/18.5 "
        "Mobile/15E148 Safari/604.1"
    ),
    "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/142.0.0.0 Safari/537.36",
    (
        "Mozilla/5.0 (iPhone; CPU iPhone OS 17_5 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Mobile/15E148 "
        "[FBAN/FBIOS;FBAV/465.0.1;FBBV/602;FBDV/iPhone15,3]"
    ),
    (
        "Mozilla/5.0 (Linux; Android 14; SM-S918B; wv) AppleWebKit/537.36 (KHTML, like Gecko) Version/4.0 "
        "Chrome/126.0.0.0 Mobile Safari/537.36 Instagram 337.0.0.35.102 Android"
    ),
    "Mozilla/5.0 (Linux; Android 10; CUBOT) AppleWebKit/537.36 Chrome/120 Mobile Safari/537.36",
    *("okhttp/4.12.0", "Shop/7 CFNetwork/1490 Darwin/23", "python-httpx/0.28.1", "curl/8.5.0", "", None),
]
BOTS = [
    "Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)",
    *("WhatsApp/2.23.20.0", "facebookexternalhit/1.1", "TelegramBot (like TwitterBot)", "Twitterbot/1.0"),
    *("Slackbot-LinkExpanding 1.0 (+https://api.slack.com/robots)", "Discordbot/2.0", "LinkedInBot/1.0"),
    (
        "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/17.5 "
        "Safari/605.1.15 (Applebot/0.1)"
    ),
    *("SomethingNewBot/0.1", "my-crawler", "Mozilla/5.0 (compatible; Novel; +https://novel.example/about)"),
]


@pytest.mark.parametrize("user_agent", PEOPLE)
def test_a_person_is_no_bot(user_agent: str | None):
    assert not is_bot(user_agent)


@pytest.mark.parametrize("user_agent", BOTS)
def test_a_bot_is_known_by_its_name(user_agent: str):
    assert is_bot(user_agent)


def test_a_long_name_takes_no_longer():
    assert not is_bot("Mozilla/5.0 " * 100_000)
