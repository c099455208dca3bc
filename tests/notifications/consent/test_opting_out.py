"""The words with which marketing text messages end."""

import pytest

from services.notifications.rules.opting_out import DEFAULT, with_words


@pytest.mark.parametrize(
    "words, locale, expected",
    [
        (DEFAULT, "en-GB", "Sale!\nReply STOP to opt out."),
        (DEFAULT, "ar", "Sale!\nلإيقاف الرسائل أرسل STOP."),
        (DEFAULT, "fr", "Sale!\nReply STOP to opt out."),
        ({"fr": "STOP au 36180", "fr-CA": "Répondez ARRET"}, "fr_CA", "Sale!\nRépondez ARRET"),
        ({"fr": "STOP au 36180"}, "en", "Sale!"),
        ({}, "en", "Sale!"),
    ],
)
def test_the_words_of_the_locale(words: dict[str, str], locale: str, expected: str):
    assert with_words("Sale!", words, locale) == expected
    assert with_words(expected, words, locale) == expected, "once"
