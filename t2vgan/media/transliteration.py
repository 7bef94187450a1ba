"""Transliterate other scripts to ASCII, using the letters' Unicode names.

The result is readable rather than exact. It is used in labels for letters that no system font has.
"""

import re
import unicodedata

CYRILLIC_LETTERS = "абвгдеёжзийклмнопрстуфхцчшщъыьэюяієїґ"
CYRILLIC_SOUNDS = (
    "a b v g d e yo zh z i y k l m n o p r s t u f kh ts ch sh shch _ y _ e yu ya i ye yi g"
)
CYRILLIC = dict(zip(CYRILLIC_LETTERS, CYRILLIC_SOUNDS.split(), strict=True))
ALPHABETS = ("ARABIC", "HEBREW", "GREEK", "ARMENIAN", "COPTIC", "SYRIAC")
"""Scripts whose letter names begin with the sound, such as BETA. In others, such as DEVANAGARI, the
name is the sound."""
SOUND = re.compile(r"[^AEIOU]+|[AEIOU]")
SIGNS = {"ANUSVARA": "n", "CANDRABINDU": "n", "VISARGA": "h"}


def transliterate(text: str) -> str:
    """Return a text in ASCII; letters without a known sound are escaped."""
    spelt = ""
    for character in unicodedata.normalize("NFC", text):
        name = unicodedata.name(character, "")
        if match := re.search(r"VOWEL SIGN (\w+)|SIGN VIRAMA", name):
            spelt = spelt.removesuffix("a") + (match[1] or "").lower()  # replaces the inherent a
        else:
            spelt += character if character.isascii() else _spell(character, name)
    return spelt


def _spell(character: str, name: str) -> str:
    if letter := CYRILLIC.get(character.lower()):
        letter = letter.strip("_")
        return letter.capitalize() if character.isupper() else letter
    if match := re.match(r"(?:HANGUL SYLLABLE|HIRAGANA LETTER|KATAKANA LETTER) (?:SMALL )?", name):
        return name[match.end() :].lower()
    latin = unicodedata.normalize("NFKD", character).encode("ascii", "ignore").decode()
    if latin.strip():
        return latin
    if match := re.search(r"CHARACTER SARA (\w+)", name):  # Thai vowels
        return match[1].lower()
    if unicodedata.category(character)[0] == "M":
        return SIGNS.get(name.split()[-1], "") if name else ""
    return _spell_by_name(character, name)


def _spell_by_name(character: str, name: str) -> str:
    if (digit := unicodedata.digit(character, None)) is not None:
        return str(digit)
    script, _, rest = name.partition(" ")
    if match := re.match(r"LETTER (?:SMALL |CAPITAL |FINAL )*(\w+)", rest) or re.match(
        r"(?:SMALL|CAPITAL) LETTER (?:FINAL )?(\w+)", rest
    ):
        sound = SOUND.match(match[1]) if script in ALPHABETS else None
        spelt = (sound[0] if sound else match[1]).lower()
        return spelt.capitalize() if character.isupper() else spelt
    if match := re.match(r"CHARACTER ([^AEIOU]+)", rest):  # Thai consonants
        return match[1].lower()
    if unicodedata.category(character)[0] in "PZC":
        return "" if unicodedata.category(character)[0] == "C" else " "
    if name and not re.match(r"CJK|YI |TANGUT|NUSHU", name):
        return f"[{name.lower()}]"
    return character.encode("ascii", "backslashreplace").decode()
