"""Domains of public mailboxes: their DMARC records refuse mail that other servers send for them."""

from typing import Final

_NAMES: Final = """
163.com 126.com aim.com aol.com att.net bellsouth.net bk.ru bluewin.ch bol.com.br btinternet.com charter.net
comcast.net cox.net daum.net duck.com earthlink.net fastmail.com fastmail.fm foxmail.com free.fr freenet.de
gmail.com googlemail.com hanmail.net hey.com hushmail.com icloud.com inbox.lv inbox.ru interia.pl internet.ru
juno.com laposte.net libero.it list.ru mac.com mail.com mail.ru maktoob.com me.com msn.com nate.com naver.com
neuf.fr o2.pl onet.pl optonline.net orange.fr passport.com pm.me proton.me protonmail.ch protonmail.com qq.com
rambler.ru rediffmail.com rocketmail.com sapo.pt sbcglobal.net seznam.cz sfr.fr shaw.ca sina.cn sina.com sky.com
sohu.com sympatico.ca t-online.de talktalk.net terra.com.br tiscali.it tuta.com tutanota.com tutanota.de
ukr.net uol.com.br verizon.net virgilio.it virginmedia.com walla.co.il wanadoo.fr web.de windowslive.com wp.pl
ya.ru yeah.net ymail.com zoho.com zohomail.com
"""
_PUBLIC: Final = frozenset(_NAMES.split())

# Of these there is one in many countries: yahoo.co.uk, hotmail.fr.
_FAMILIES: Final = frozenset({"gmx", "hotmail", "live", "outlook", "yahoo", "yandex"})
_LONGEST_SUFFIX: Final = 2


def is_public(domain: str) -> bool:
    """Whether anybody can have a mailbox in a domain."""
    name, _, suffix = domain.lower().rstrip(".").partition(".")
    labels = suffix.split(".")
    is_suffix = len(labels) <= _LONGEST_SUFFIX and all(2 <= len(label) <= 3 for label in labels)
    return f"{name}.{suffix}" in _PUBLIC or (name in _FAMILIES and is_suffix)
