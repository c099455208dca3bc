"""Codes: which mistakes their check symbol notices, and how people may type them."""

import random
from itertools import pairwise

import pytest

from services.referrals.rules.codes.code import (
    LENGTH,
    OLD_LENGTH,
    OLD_SYMBOLS,
    SYMBOLS,
    is_shaped_as_given_out,
    key_of,
    parse,
    with_check,
)

CODE = "RJ6HG5PF4"
"""A code whose symbols all differ from their neighbours."""
OLD = "CDFGHJKM"


def test_symbols_have_no_vowels_and_nothing_that_looks_alike_and_go_into_a_url():
    assert len(set(SYMBOLS)) == len(SYMBOLS) == 23
    assert not set(SYMBOLS) & set("AEIOUY" + "01ILO" + "BSZ" + "Q")
    assert SYMBOLS.isascii()
    assert SYMBOLS.isalnum()
    assert set(SYMBOLS) < set(OLD_SYMBOLS)


# A weighted sum is linear, so whether a mistake is noticed hangs on the place and the two symbols alone. All of those
# are tried, in codes whose other symbols are drawn.
def test_every_single_wrong_symbol_is_noticed_also_the_check_symbol():
    chance = random.Random(1)
    for place in range(LENGTH):
        for right in SYMBOLS:
            code = _code_with(chance, {place: right})
            assert parse(code) == code
            for wrong in set(OLD_SYMBOLS) - {right}:
                assert parse(_replaced(code, {place: wrong})) != code
                if wrong in SYMBOLS:
                    assert parse(_replaced(code, {place: wrong})) is None


def test_every_swap_of_neighbours_is_noticed_also_with_the_check_symbol():
    chance = random.Random(2)
    tried: set[tuple[int, str, str]] = set()
    for left, right in pairwise(range(LENGTH)):
        for first in SYMBOLS:
            for second in set(SYMBOLS) - {first}:
                code = _code_with(chance, {left: first, right: second})
                assert parse(code) == code
                assert parse(_replaced(code, {left: second, right: first})) is None
                tried.add((left, first, second))
    assert len(tried) == 8 * 23 * 22


def test_a_code_is_one_of_its_symbols_in_23():
    assert sum(parse(f"RJ6HG5PF{symbol}") is not None for symbol in SYMBOLS) == 1
    assert with_check("RJ6HG5PF") == CODE


@pytest.mark.parametrize(
    "text",
    [
        *("rj6hg5pf4", " RJ6 HG5 PF4\n", "RJ6-HG5-PF4", "rj6‑hg5–pf4", "RJ6−HG5\u00a0PF4", "\u200fRJ6HG5PF4\u200e"),
        *("ＲＪ６ＨＧ５ＰＦ４", "RJ٦HG٥PF٤", "rj۶hg۵pf۴"),
    ],
)
def test_a_code_is_read_as_people_type_it(text: str):
    assert parse(text) == CODE


@pytest.mark.parametrize(
    "text",
    [
        *("", "-", "ABC", "A" * 21, "x" * 2000, "RJ6HG5PF2", "RJ6HG5PF4!", "RJ6_HG5PF3", "ßßßßß", "ıııııı"),
        *("كود صديقي", "\x00", "ａ" * 21),
    ],
)
def test_other_texts_are_no_code(text: str):
    assert parse(text) is None


def test_codes_that_were_given_out_before_stay_valid():
    assert parse(" cdfg-hjkm ") == OLD
    assert len(OLD) == OLD_LENGTH
    assert is_shaped_as_given_out(OLD)
    assert parse("QQQQQQQQ") == "QQQQQQQQ"


def test_chosen_codes_that_look_alike_have_one_key_which_does_not_tell_them():
    keys = {parse(text) for text in ("OLIVIA", "0livia", "o1ivia", "OL1VIA", "O-L-I-V-I-A", "0LLVLA")}
    assert keys == {key_of("OLIVIA")}
    assert parse("OLIVIE") not in keys
    assert "VIA" not in str(keys)
    assert key_of(CODE) == CODE
    assert key_of(OLD) == OLD


def _replaced(code: str, symbols: dict[int, str]) -> str:
    return "".join(symbols.get(place, symbol) for place, symbol in enumerate(code))


def _code_with(chance: random.Random, symbols: dict[int, str]) -> str:
    """A valid code with these symbols at these places, its check symbol among them or not."""
    while True:
        drawn = "".join(symbols.get(place) or chance.choice(SYMBOLS) for place in range(LENGTH - 1))
        code = with_check(drawn)
        if all(code[place] == symbol for place, symbol in symbols.items()):
            return code
