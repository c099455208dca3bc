"""Words that no code has: insults and obscenities in English, and in Arabic as it is written in Latin letters.

Digits that look like letters count as these (`5H1T`), and a letter may be repeated (`FUUUCK`). Arabic digits of the
chat alphabet (2 hamza, 3 ain, 5 kha, 6 ta, 7 ha, 9 qaf or sad) are letters in Arabic words. A word that is a part of
ordinary ones (`ASS` of `CLASS`) is refused only by itself, with digits or a few other words around it.
"""

import re
from collections.abc import Iterable
from functools import lru_cache
from itertools import groupby
from typing import Final

_ANYWHERE: Final = """
    porno asshole arsehole dumbass jackass fatass lardass smartass asshat asswipe assclown assfuck asslick kissmyass
    eatmyass lickmyass ballsack bastard bellend bestiality biatch bitch blowjob bollock boobies bdsm bugger bukkake
    bullshit buttplug butthole cameltoe carpetmunch circlejerk clitoris cocksuck cumshot cumslut cunnilingus cunt
    deepthroat dickhead dildo doggystyle ejaculat faggot fcuk fellatio fuck fucc fudgepack gangbang golliwog handjob
    heilhitler hentai hitler incest jackoff jerkoff jigaboo jizz kaffir killyourself knobhead masturbat milf molest
    motherfuck muffdiv necrophil neonazi nigga nigger nutsack orgasm paedophil pedophil penis pissoff poontang
    prostitut childporn freeporn gayporn pornhub pornstar punani pussy raghead rapist retard rimjob sandnig scrotum
    shemale shit siegheil skank slut sodomy spastic testicle titties towelhead tranny twat upskirt vagina wanker
    wetback whitepower whore zoophil
"""
_ALONE: Final = """
    anal anus arse ass boner boob boobs chink clit cock coon crap cum dick dilf dyke fag fags fuk fuq gook hoe homo
    kike kkk kys lesbo minge nazi negro paki pedo pimp piss pissed porn prick rape sex sexy slag smut sperm spic
    spunk stfu thot tit tits titty turd twink wank wtf xxx
"""
_ARABIC_ALONE: Final = """
    2ayri ayri ayreh a7a a77a a7eh a7eeh ahaaa 3ars m3aras ma3ras 3ahera 3ahira 3ahra bzaz bezaz bneek dayouth
    dayooth dayyouth dayyooth kafir kos kosy kosom kosomo kossom ksmk khara 5ara kharaa 5araa khra 5ra labwa labwe
    neek neekni lo6i lou6i lu6i loo6i looti louti seks teez teezak teezek teezi tizak tizek 6eez 6iz 6eezak 6izak
    tozfeek tozfik 6ozfeek 6ozfik tuzfeek zebbi zebi zobr zobri zobry zobi zobbi 7mar 7omar 7emar
"""
_ARABIC: Final = (
    "[KQ]+[O0]+S+[EIA]*[O0U]+M+[AEIOU]*[KQ]",
    "K+[OU0]+S+[AEIOU]*(?:5|KH)+[OU0]*[T7]+[AEIOU]*K",
    "SH+[AEI4]*R+[AEIO0]*M+[OU0]+W*[T6]+",
    "CHA?RMOU?T+[AE4]$",
    "SH+[AE4]*R+[AE4]+M+[EI1Y3]+[T6]",
    "(?:KH|5)[AE4]+W+[AE4]+L(?!D[EI])",
    "M+[OAU0]+3+[AE]*R+[AE4]*[S9]",
    "M+[EIAU]*T+[EI]*N+[AE4]+K",
    "M+[AE]N+Y+[AOU04]+[KQ]",
    "[AE4]N[EI1]+K+[AE4]K",
    "N[EI1Y]+K+[OU0]+M+[AEIO]*K",
    "[KQG9C]+[AE4]+[7H]+B+[AE4]",
    "2[AE4]+7+B+[AE4]",
    "[AE2]+[YI]+R+[EIY1]*F+[EI]+K",
    "(?:IBN|EBN|BENT|BINT|WE?LE?A?D|AWLAD|OULE?A?D)(?:[EIA]?L)?(?:K[AE]LB|KL[AE]B|[7H]ARAM|[KQG9][A4]+[7H]BA)",
    "Y[AEI]*(?:N3+[AE]*L|L[AE]*3+[AE]*N)",
    "YEL+A{2,}N",
    "N[AE]*3+[AE]*L+[AEIO]*(?:ABO|ABU|DEEN|DIN|OM)",
    "YA(?:KHARA|5ARA|7MAR|7OMAR|KHAWAL|3ARS|LABWA|KALB|KELB)$",
    "KOL(?:KHARA|5ARA)",
    "W[EI]+S+(?:5|KH)A",
    "(?:KH|5)ANZ[EI1]+R",
    "MAL3[OU0]+N",
    "[AE]FSH[AE](?:5|KH)",
)
"""Written out, since their vowels are written in many ways."""

_ORDINARY: Final = """
    scunthorpe penistone pussycat pussyfoot pussywillow twater twatch therapist trappist retardant dildora pennisi
    matsushita yamashita kinoshita morishita yoshita ishita harshit kshit nishit rishit ashita shital shitric
    shitake shiitake snigger debugger swanker whittler milford
"""
"""Names and things of which an offensive word is a part; they are taken out before the search."""

_BEFORE: Final = (
    "my your the big fat hot free dirty i love ilove ieat isuck suck suckmy suckmya lick lickmy eat kiss ya"
)
_AFTER: Final = "s face head hole boy girl lover sucker eater"

_LIKE: Final = {
    "A": "[A4]",
    "B": "[B8]",
    "C": "C",
    "E": "[E3]",
    "F": "(?:F|PH)",
    "G": "[G69]",
    "I": "[I1]",
    "L": "[L1]",
    "O": "[O0]",
    "S": "[S5]",
    "T": "[T7]",
    "U": "[UV]",
    "Z": "[Z2]",
}

_MORE: Final = "{0}{{{1},}}"
"""A letter once or more often."""
_MANY: Final = "(?:{0}{{{1}}}|{0}{{{2},}})"
"""A letter once, or at least three times: by themselves, words are too much like ordinary ones (ANAL, ANNALS)."""


def is_offensive(code: str) -> bool:
    """Whether a code, in upper case and without hyphens, has an offensive word."""
    ordinary, anywhere, alone = _patterns()
    # What is taken out leaves a character behind, so that the rest makes no new word.
    rest = ordinary.sub("-", code)
    return anywhere.search(rest) is not None or alone.fullmatch(code) is not None


@lru_cache(maxsize=1)
def _patterns() -> tuple[re.Pattern[str], ...]:
    """Expressions of ordinary words, of offensive ones, and of codes that are one: compiled at the first use."""
    anywhere = _any(_spelled(word, _MORE) for word in _ANYWHERE.split())
    arabic = _any(_ARABIC)
    own = _any(_spelled(word, _MANY) for word in _ALONE.split())
    own_arabic = _any(map(_arabic, _ARABIC_ALONE.split()))
    before, after = _any(_BEFORE.upper().split()), _any(_AFTER.upper().split())
    return (
        re.compile(_any(_spelled(word, _MORE) for word in _ORDINARY.split())),
        re.compile(f"{anywhere}|{arabic}"),
        re.compile(f"[0-9]*{before}?(?:{own}|{own_arabic})+{after}?[0-9]*"),
    )


def _spelled(word: str, again: str) -> str:
    """An expression of an English word; a letter that it has twice has to be there twice."""
    runs = [(letter, len(list(run))) for letter, run in groupby(word.upper())]
    return "".join(again.format(_LIKE.get(letter, letter), count, count + 2) for letter, count in runs)


def _arabic(word: str) -> str:
    """An expression of an Arabic word, in which digits are letters of their own."""
    return "".join(f"{letter}+" for letter in word.upper())


def _any(patterns: Iterable[str]) -> str:
    return f"(?:{'|'.join(patterns)})"
