"""Show a value without telling a secret: by the variable's name, by the value's form, and by how random it looks.

What is harmless stays readable (paths, numbers, host names, URLs without their password), because it is what one looks
for when a job does not find its server. In doubt a value is hidden: an over-careful mask costs a look into a file.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from itertools import pairwise

__all__ = ["is_secret_name", "mask", "oddities", "passwords"]

_SECRET_WORDS = frozenset(
    "PASS PASSWD PASSWORD PASSWORDS PASSPHRASE PWD SECRET SECRETS TOKEN TOKENS KEY KEYS APIKEY CREDENTIAL CREDENTIALS "
    "CRED CREDS AUTH PRIVATE SALT COOKIE SIGNATURE BEARER FERNET PAT OTP".split()
)
_SECRET_PARTS = re.compile(r"PASSWORD|PASSWD|PASSPHRASE|SECRET|TOKEN|CREDENTIAL|APIKEY|ACCESSKEY|PRIVATEKEY")
# What stands behind a secret's name when the value only points to it, or describes it.
_POINTERS = frozenset("FILE PATH DIR URL URI ENDPOINT HOST HOSTNAME PORT ALGORITHM TYPE REGION ENABLED ISSUER".split())
_COUNTS = frozenset(
    "MAX MIN TTL TIMEOUT LENGTH LEN SIZE COUNT LIMIT EXPIRE EXPIRES EXPIRY AGE SECONDS MINUTES HOURS DAYS".split()
)
_NOT_SECRET = frozenset(("PWD", "OLDPWD"))
_WORDS = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|\d+")
_NUMBER = re.compile(r"[+-]?\d+(\.\d+)?|true|false", re.I)

# A scheme is short: without a limit, a long text of words and dots would be read anew from each of its words.
_USERINFO = re.compile(r"(?P<head>\b[a-z][\w+.-]{0,40}://)(?P<user>[^\s:/?#]*):(?P<password>[^\s/?#]*)@", re.I)
# A password with an unescaped / ? or #: no valid URL, but people write it. After a port it is a path, not a password.
_LOOSE_USERINFO = re.compile(
    r"(?P<head>\b[a-z][\w+.-]{0,40}://)(?P<user>[^\s:@/?#]*):(?!\d{1,5}/)(?P<password>(?:(?!://)\S)*)@", re.I
)
_PAIR = re.compile(
    r"(?P<key>[\w.-]*(?:password|passwd|passphrase|pwd|secret|token|credential|api-?key|accountkey|access-?key|"
    r"private-?key|signature|\bsig|\bkey|_key)[\w.-]*[\"']?\s*[=:]\s*)"
    r"(?P<value>\"(?:[^\"\\]|\\.)*\"|'[^']*'|[^\s&;,}\]]+)",
    re.I,
)
_SCHEME = re.compile(r"(?P<head>\b(?:bearer|basic)\s+)(?P<value>\S+)", re.I)
_RUN = re.compile(r"[A-Za-z0-9]{12,}")
_BASE64 = re.compile(r"(?<![\w+/=.:~-])[A-Za-z0-9+/_-]{20,}={0,2}(?![\w+/.:-])")
_HEX = re.compile(r"[0-9a-f]+|[0-9A-F]+")
_UUID = re.compile(r"\b[0-9a-f]{8}-(?:[0-9a-f]{4}-){3}[0-9a-f]{12}\b", re.I)
_JWT = re.compile(r"\beyJ[\w-]+\.[\w-]+(?:\.[\w-]*)+")
_SYMBOLS = frozenset("!#$%^&*+~|<>?@")


def mask(name: str, value: str) -> str:
    """The value as it may be shown: whole, in part, or only its length. The last 2 characters of a long secret stay."""
    if not value:
        return value
    if is_secret_name(name) and not (_NUMBER.fullmatch(value) and _counts(name)):
        return _hidden(value)
    if "-----BEGIN" in value or _like_a_password(value):
        return _hidden(value)
    for pattern in (_USERINFO, _LOOSE_USERINFO):
        value = pattern.sub(lambda m: f"{m['head']}{m['user']}:***@", value)
    value = _PAIR.sub(lambda m: f"{m['key']}***", value)
    value = _SCHEME.sub(lambda m: f"{m['head']}***", value)
    value = _JWT.sub(lambda m: _hidden(m[0]), value)
    value = _UUID.sub(lambda m: _hidden(m[0]), value)
    value = _BASE64.sub(lambda m: _hidden(m[0]) if _random(m[0]) else m[0], value)
    return _RUN.sub(lambda m: _hidden(m[0]) if _random(m[0]) else m[0], value)


def is_secret_name(name: str) -> bool:
    """Whether a variable of this name holds a secret (`DB_PASSWORD`), not the place of one (`DB_PASSWORD_FILE`)."""
    words = [word.upper() for word in _WORDS.findall(name)]
    if not words or name.upper() in _NOT_SECRET or words[-1] in _POINTERS:
        return False
    return bool(_SECRET_WORDS.intersection(words) or _SECRET_PARTS.search(name.upper()))


def passwords(value: str) -> frozenset[str]:
    """The passwords in the URLs of a value, as they stand there.

    Where one may end at several places (`u:a@b@c`, or a URL in a list without spaces), the shortest and the longest.
    """
    found = [match["password"] for pattern in (_USERINFO, _LOOSE_USERINFO) for match in pattern.finditer(value)]
    return frozenset(reading for password in found for reading in (password, password.partition("@")[0]) if reading)


def oddities(value: str) -> tuple[str, ...]:
    """What nobody sees in a value and what breaks a login: spaces around it, quotes in it, a carriage return."""
    found = []
    if value.endswith("\r"):
        found.append("it ends with a carriage return (a file with Windows line ends)")
    elif value != value.strip():
        found.append("it begins or ends with white space")
    if len(value) > 1 and value[0] == value[-1] and value[0] in "\"'":
        found.append("the quotes are part of it")
    return tuple(found)


def _counts(name: str) -> bool:
    return bool(_COUNTS.intersection(word.upper() for word in _WORDS.findall(name)))


def _hidden(value: str) -> str:
    shown = value[-2:] if len(value) >= 20 and value[-2:].isalnum() else ""
    return f"***{shown} ({len(value)} characters)" if len(value) != 1 else "*** (1 character)"


def _like_a_password(value: str) -> bool:
    """Whether one word mixes all kinds of characters, as passwords must and hardly anything else does."""
    kinds = (str.isupper, str.islower, str.isdigit, _SYMBOLS.__contains__)
    word = 8 <= len(value) <= 128 and "://" not in value and not re.search(r"[\s={}]|\$\{", value)
    return word and all(any(map(kind, value)) for kind in kinds)


def _random(text: str) -> bool:
    """Whether letters and digits change places as they do by chance, and not as in names and numbers."""
    runs = re.findall(r"[A-Za-z0-9]+", text)
    plain = "".join(runs)
    if len(plain) < 16 or plain.isdigit():
        return False
    if _HEX.fullmatch(plain):
        return not plain.isalpha()
    if _entropy(plain) < 3.2:
        return False
    if plain.isalpha() and (plain.islower() or plain.isupper()):
        return len(runs) == 1 and bool(re.search(r"[bcdfghjklmnpqrstvwxz]{6}", plain.lower()))
    changes = sum(_kind(a) != _kind(b) for run in runs for a, b in pairwise(run))
    return changes / len(plain) >= (0.22 if plain == plain.lower() or plain == plain.upper() else 0.28)


def _kind(character: str) -> str:
    return "0" if character.isdigit() else "A" if character.isupper() else "a"


def _entropy(text: str) -> float:
    """Shannon's entropy, in bits a character."""
    return -sum(count / len(text) * math.log2(count / len(text)) for count in Counter(text).values())
