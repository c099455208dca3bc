"""Segments of text messages, against a table and a slow counter."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.notifications.rules.segments import Encoding, Segments, measure

GSM, UCS = Encoding.GSM_7, Encoding.UCS_2


@pytest.mark.parametrize(
    "text, expected",
    [
        ("", Segments(GSM, 0, 1)),
        ("a" * 160, Segments(GSM, 160, 1)),
        ("a" * 161, Segments(GSM, 161, 2)),
        ("a" * 306, Segments(GSM, 306, 2)),
        ("a" * 307, Segments(GSM, 307, 3)),
        ("a" * 459, Segments(GSM, 459, 3)),
        ("a" * 460, Segments(GSM, 460, 4)),
        ("€" * 80, Segments(GSM, 160, 1)),
        ("€" * 81, Segments(GSM, 162, 2)),
        # An escape and its character stay in one segment: 152 + 2 > 153.
        ("a" * 152 + "€" + "a" * 152, Segments(GSM, 306, 3)),
        ("a" * 151 + "€" + "a" * 153, Segments(GSM, 306, 2)),
        ("Grüße, ¿qué? Ø ~[]", Segments(GSM, 21, 1)),
        ("café ç", Segments(UCS, 6, 1)),
        ("Ç", Segments(GSM, 1, 1)),
        ("`", Segments(UCS, 1, 1)),
        ("“quoted”", Segments(UCS, 8, 1)),
        ("ن" * 70, Segments(UCS, 70, 1)),
        ("ن" * 71, Segments(UCS, 71, 2)),
        ("ن" * 134, Segments(UCS, 134, 2)),
        ("ن" * 135, Segments(UCS, 135, 3)),
        ("😀" * 35, Segments(UCS, 70, 1)),
        ("😀" * 36, Segments(UCS, 72, 2)),
        # A surrogate pair stays in one segment: 33 of them in each of 67 units.
        ("😀" * 66, Segments(UCS, 132, 2)),
        ("😀" * 67, Segments(UCS, 134, 3)),
        ("\u2068Mona\u2069", Segments(UCS, 6, 1)),
    ],
)
def test_segments(text: str, expected: Segments):
    assert measure(text) == expected


@given(st.text(st.sampled_from("aé€^نç😀 \n"), max_size=400))
def test_segments_against_messages_that_are_really_cut(text: str):
    is_gsm = not set(text) & set("نç😀")
    sizes = [len(c.encode("utf-16-le")) // 2 if not is_gsm else 1 + (c in "€^") for c in text]
    cuts: list[int] = [0]
    for size in sizes:
        if cuts[-1] + size > (153 if is_gsm else 67):
            cuts.append(0)
        cuts[-1] += size
    whole = sum(sizes) <= (160 if is_gsm else 70)
    assert measure(text) == Segments(GSM if is_gsm else UCS, sum(sizes), 1 if whole else len(cuts))
