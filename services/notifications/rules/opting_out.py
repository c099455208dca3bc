"""The words by which a text message says how to get no more of them."""

from collections.abc import Mapping
from typing import Final

DEFAULT: Final = {"en": "Reply STOP to opt out.", "ar": "لإيقاف الرسائل أرسل STOP."}
"""The words by locale; replies of STOP come from the provider as `unsubscribed`."""


def with_words(text: str, words: Mapping[str, str], locale: str) -> str:
    """A marketing text that ends with the words for a locale, its language, or English; without any, as it is."""
    tags = {tag.replace("_", "-").lower(): said for tag, said in words.items()}
    wanted = locale.replace("_", "-").lower()
    said = tags.get(wanted) or tags.get(wanted.partition("-")[0]) or tags.get("en")
    return text if not said or text.rstrip().endswith(said) else f"{text.rstrip()}\n{said}"
