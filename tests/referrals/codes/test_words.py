"""Which words no code has, and which ordinary ones it may have although an offensive one is a part of them."""

import re
import unicodedata
import zoneinfo

import pytest
from babel import Locale

from services.referrals.rules.codes.vanity import UnfitCodeError, check_fit, vanity
from services.referrals.rules.codes.words import is_offensive

OFFENSIVE = """
    fuck fuckyou fuuuuck fvck phuck fvcky0u shit 5h1t sh1thead bullshit bitch b1tch cunt asshole a55hole assh0le
    nigger n1gg3r n1gga faggot f4gg0t pussy pu55y penis p3n1s whore wh0re slut 5lut twat wanker porno porn freeporn
    dick mydick bigdick dick69 69dick d1ck cock 6cock9 tits t1t5 cum sexsex 5ex sexxx sexy69 ass 4ss myass kissmyass
    rape rapist r4pe anal nazi n4zi hitler heilhitler jizz dildo vagina retard xxx kkk88 kys666 hoe homo milf
"""
ARABIC = """
    kosomak kosommak kosomek kos0mak kosokhtak koso5tak sharmota sharmouta sharmoota shermuta charmouta sharamit
    sharameet khawal 5awal 5a5awal 3ars ya3ars m3aras metnak mitnak metnaka manyak manyook anikak aneekak nikomak neek
    a7a a77a teez 6eez teezak zobry zebi khara 5ara yakhara ya5ara kol5ara qahba ka7ba ga7ba 9a7ba ibnelkalb ebnkalb
    bentelkalb ibnsharmouta yel3an yl3n yen3al na3alabok wes5a weskha khanzir 5anzeer labwa dayouth airfeek ayrifik
"""
ORDINARY = """
    scunthorpe penistone clitheroe lightwater cockermouth essex sussex middlesex wessex arsenal charmouth whittier
    hancock peacock hitchcock cocktail cockpit babcock dickens dickinson dickson moby benedick cumberland cumin document
    circumference assassin assets classic grass pass passion mass massage assist cassandra bass compass analyst canal
    banal analog janus uranus manuscript grape drape scrape therapist trappist parapet title titan titanic constitution
    petite tithe raccoon tycoon cocoon cooper spice spicy hospice pakistan pakora torpedo pedometer expedition homer
    homogenous home shoe shoes phoenix hoekstra scrap crappie piston epistle saturday sturdy prickly buttercup button
    butter butler niger nigeria montenegro nazir nazia benazir nazareth snigger denigrate tuxedo matsushita yamashita
    harshit ishita akshit shital shiitake sextant sexton sextet unisex bissextile kosher kosovo kostas cosmic cosmos
    bukhara khartoum khawla khawaldeh sharm sharmila sharma charm manya mania maniac romania armani nikita nikolas
    anika monika annika zebra zeina zeinab zobaida khara2026x tizen tiziana teeter amina omar samar hamar anwar kalb
    aladdin ahmed mohammed muhammad fatima layla noor yasmin abdullah hussein salaam habibi marhaba shukran ramadan eid
    eidmubarak jihad hamza khaled qusay najla sakura kumar kusum dikshit laksita swetha twilight milford portsmouth
    bassett glasgow hooker dyker vandyke moffat titus titian fagin fagus fagernes butt bonnerx seekers essen tilt
    sperma angiosperm debugger smartwatch wristwatch pussycat pussyfoot popcorn porncity0 cornporridge analytics
"""


@pytest.mark.parametrize("word", [*OFFENSIVE.split(), *ARABIC.split()])
def test_an_offensive_word_is_refused(word: str):
    assert is_offensive(word.upper())


@pytest.mark.parametrize("word", ORDINARY.split())
def test_an_ordinary_word_is_not(word: str):
    assert not is_offensive(word.upper())


def test_no_country_language_or_city_is_offensive():
    names = {part for zone in zoneinfo.available_timezones() for part in zone.split("/")}
    for language in ("en", "de", "fr", "es", "tr", "id"):
        locale = Locale.parse(language)
        names.update(locale.territories.values(), locale.languages.values())
    words = {word for name in names for word in re.findall("[A-Z]{4,20}", _latin(name))}
    assert len(words) > 2000
    assert [word for word in sorted(words) if is_offensive(word)] == []


def _latin(name: str) -> str:
    return unicodedata.normalize("NFKD", name).encode("ascii", "ignore").decode().upper()


@pytest.mark.parametrize("text", ["ada1", "ADA-LOVE", "a-d-a-1", "A" * 20, "1234", "-ADA1-", "AAAAAAAA", "23456789A"])
def test_a_code_of_four_to_twenty_characters_may_be_chosen(text: str):
    code = vanity(text)
    check_fit(code)
    assert code == text.replace("-", "").upper()


@pytest.mark.parametrize(
    "text, words",
    [
        *[(text, "other characters") for text in ("ADA LOVE", " ADA1", "ada_love", "ädaä", "ADA\n1", "أحمد", "ADA1\n")],
        *[(text, "has ") for text in ("", "ADA", "A-D-A", "A" * 21, "----")],
        *[(text, "looks like") for text in ("23456789", "cdfg-hjkm", "RJ6HG5PF4", "RJ6HG5PF3", "QQQQQQQQ")],
        *[(text, "offend") for text in ("5h-1t", "fuck", "kos-omak", "sh4rmota")],
    ],
)
def test_other_codes_may_not(text: str, words: str):
    with pytest.raises(UnfitCodeError, match=words):
        check_fit(vanity(text))
