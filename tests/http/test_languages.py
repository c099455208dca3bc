"""The language of a response by `Accept-Language`."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.http.languages import chosen

BOTH = {"en": "Gold", "ar": "ذهبي"}


@pytest.mark.parametrize(
    ("accepted", "tags", "expected"),
    [
        (None, "en ar", "en"),
        ("", "en ar", "en"),
        ("ar", "en ar", "ar"),
        ("AR", "en ar", "ar"),
        ("ar-SA", "en ar", "ar"),
        ("ar-SA", "ar en ar-SA", "ar-SA"),
        ("ar", "en ar-EG", "ar-EG"),
        ("ar_SA", "en ar", "en"),
        ("zh-Hant-TW", "en zh-Hant zh", "zh-Hant"),
        ("zh-x-private", "en zh", "zh"),
        ("en, ar", "en ar", "en"),
        ("en;q=0.5, ar", "en ar", "ar"),
        ("en;q=0.5, ar;q=0.501", "en ar", "ar"),
        ("en ;q=0.2 , ar ; q=0.8", "en ar", "ar"),
        ("ar;Q=1.000,en;q=0.999", "en ar", "ar"),
        ("fr, de;q=0.9", "en ar", "en"),
        ("fr, de;q=0.9", "ar tr", "ar"),
        ("fr, ar;q=0.1", "en ar", "ar"),
        ("fr, *;q=0.5, ar;q=0.1", "en ar", "en"),
        ("*", "ar en", "en"),
        ("*", "ar tr", "ar"),
        ("en;q=0, *", "en ar", "ar"),
        ("en;q=0", "en ar", "ar"),
        ("en;q=0", "en", "en"),
        ("*;q=0", "en ar", "en"),
        ("*;q=0, ar;q=0.3", "en ar", "ar"),
        ("en;q=0, en-GB", "en en-GB", "en-GB"),
        ("en-GB;q=0, en", "en-GB en-US", "en-US"),
        ("ar;q=2, en;q=0.5", "ar en", "en"),
        ("ar;q=0.1234, en;q=0.1", "ar en", "en"),
        ("!!, ;;, ar", "en ar", "ar"),
        ("pt-BR", "en pt_BR", "pt_BR"),
    ],
)
def test_the_language_is_the_preferred_one(accepted: str | None, tags: str, expected: str):
    assert chosen({tag: tag for tag in tags.split()}, accepted) == expected


def test_the_name_is_that_of_the_language():
    assert chosen(BOTH, "ar-SA,ar;q=0.9,en;q=0.8") == "ذهبي"


@given(st.text(), st.lists(st.sampled_from(["en", "ar", "tr-TR"]), min_size=1, unique=True))
def test_any_header_chooses_one_of_the_languages(accepted: str, tags: list[str]):
    assert chosen({tag: tag for tag in tags}, accepted) in tags


@given(st.permutations(["en", "ar", "tr"]), st.permutations([1.0, 0.5, 0.25]))
def test_the_highest_quality_wins_wherever_it_stands(order: list[str], qualities: list[float]):
    by_tag = dict(zip(order, qualities, strict=True))
    header = ", ".join(f"{tag};q={quality}" for tag, quality in by_tag.items())
    assert chosen({"en": "en", "ar": "ar", "tr": "tr"}, header) == max(by_tag, key=lambda tag: by_tag[tag])


def test_a_very_long_header_is_cut():
    assert chosen(BOTH, "fr," * 100_000 + "ar") == "Gold"
