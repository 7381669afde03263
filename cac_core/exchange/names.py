"""Names in a zip that does not say how they are written: which encoding it most likely is. Standard library only.

A zip says of each name that it is UTF-8, or nothing; then archivers of macOS write UTF-8, and those of Windows what the
country's systems take: GBK, Shift-JIS, Korean, Big5, or a code page of DOS. Each encoding that fits all names gives a
text; the likeliest text is taken, by how often its letters are met in its language. Before any of that, its list of
files must be short.
"""

import os
import struct
import unicodedata
import zipfile
import zlib
from collections.abc import Iterable
from itertools import pairwise
from math import log
from typing import BinaryIO

from cac_core.sentences import say

UTF_8 = 0x800  # the flag of a name that says so
MOST = 300  # names that are looked at
# by the name of Python's codec, the most common first
ENCODINGS = {
    "utf-8": "UTF-8", "gb18030": "GBK", "cp932": "Shift-JIS", "cp949": "EUC-KR", "big5": "Big5", "cp437": "CP437",
    "cp866": "CP866", "cp1252": "Windows-1252",
}  # fmt: skip


def check_directory(file: BinaryIO, most: int) -> None:
    """Before zipfile makes an object of every entry: the list of files may have so many bytes, by the record that it
    reads. Raises ValueError."""
    size = file.seek(0, os.SEEK_END)
    file.seek(max(size - 22 - 20 - 65535, 0))
    tail = file.read()
    end = tail.rfind(b"PK\5\6")
    if end < 0 or len(tail) - end < 22:
        raise ValueError(say("it is no zip file, or it was cut short"))
    if tail[:end][-20:].startswith(b"PK\6\7"):
        raise ValueError(say("it is of the kind for huge archives (zip64)"))
    if (listed := int.from_bytes(tail[end + 12 : end + 16], "little")) > most:
        raise ValueError(say(
            "its list of files alone has {size} MB; {most} MB at most",
            size=f"{listed / 1e6:.0f}", most=f"{most / 1e6:g}",
        ))  # fmt: skip


def raw_name(entry: zipfile.ZipInfo) -> bytes | None:
    """The name as it stands in the zip, where the zip does not say how it is written and there is more than ASCII."""
    if entry.flag_bits & UTF_8 or entry.orig_filename.isascii() or said_apart(entry):
        return None
    return entry.orig_filename.encode("cp437")  # as zipfile took it, byte for byte


def said_apart(entry: zipfile.ZipInfo) -> str:
    """The name in UTF-8 that some archivers put beside the other, in Info-ZIP's extra field 0x7075; "" without."""
    extra = entry.extra
    while len(extra) >= 4:
        kind, size = struct.unpack("<HH", extra[:4])
        data, extra = extra[4 : 4 + size], extra[4 + size :]
        if kind == 0x7075 and data[:1] == b"\1" and not entry.flag_bits & UTF_8:
            right = zlib.crc32(entry.orig_filename.encode("cp437")) == int.from_bytes(data[1:5], "little")
            return data[5:].decode("utf-8", "ignore") if right else ""
    return ""


def fitting(names: Iterable[bytes]) -> list[str]:
    """The encodings that all these names may be written in, of ENCODINGS, the likeliest first."""
    every = set(names)
    parts = sorted({part for name in every for part in name.split(b"/") if not part.isascii()})[:MOST]
    fits = {}
    for encoding in ENCODINGS:
        try:
            for name in every:
                name.decode(encoding)
            fits[encoding] = sum(_likely(part.decode(encoding), encoding) for part in parts)
        except UnicodeDecodeError:
            continue
    return sorted(fits, key=lambda encoding: (encoding != "utf-8", -fits[encoding]))


def _likely(text: str, encoding: str) -> float:
    """The logarithm of how likely a name is in the language that an encoding is for, letter by letter.

    A letter of ASCII beside one of another script is rare; beside one with an accent it is not.
    """
    mixed = sum(_foreign(a) and b.isalpha() and b.isascii() for pair in pairwise(text) for a, b in (pair, pair[::-1]))
    return mixed * log(1 / 300) + sum(log(1 / 40 if a.isascii() else _share(a, encoding)) for a in text)


def _foreign(letter: str) -> bool:
    return not letter.isascii() and "LATIN" not in unicodedata.name(letter, "")


# how often a consonant at the beginning, a vowel and a consonant at the end are met in Korean, roughly, in the order in
# which Unicode composes syllables of them
FIRST = (14, 2, 8, 9, 1, 6, 6, 4, 0.5, 11, 1, 20, 9, 0.5, 3, 2, 2, 2, 8)
MIDDLE = (19, 6, 1.5, 0.1, 11, 6, 4, 1, 12, 2, 0.5, 2, 1, 9, 1, 0.3, 1.5, 1, 8, 1.5, 18)
LAST = (50, 6, 0.3, 0.1, 12, 0.1, 0.3, 0.5, 10, 0.2, 0.1, 0.1, 0.1, 0.1, 0.1, 0.1, 5, 2, 0.3, 2.5, 1, 9, 0.4, 0.4, 0.1,
        0.4, 0.4, 0.4)  # fmt: skip
RARE = 1e-7


def _share(letter: str, encoding: str) -> float:
    """How often a letter that is not ASCII is met in the language of an encoding, roughly.

    Of the characters of each of the Chinese and Japanese sets, the first level holds those in common use.
    """
    lead = letter.encode(encoding)[0]
    kana = "\u3040" <= letter <= "\u30ff"
    if encoding == "gb18030":
        return 1 / 2500 if 0xB0 <= lead <= 0xD7 and _in(letter, "gb2312") else 1e-5 if _in(letter, "gb2312") else RARE
    if encoding == "cp932":
        return (
            1 / 250 if kana else 1 / 3000 if 0x88 <= lead <= 0x97 else 1e-5 if lead not in range(0xA1, 0xE0) else 1e-4
        )
    if encoding == "cp949":
        if not "가" <= letter <= "힣":
            return RARE
        middle, last = divmod((ord(letter) - ord("가")) % 588, 28)
        return FIRST[(ord(letter) - ord("가")) // 588] * MIDDLE[middle] * LAST[last] / 1e6
    if encoding == "big5":
        return 1 / 2500 if 0xA4 <= lead <= 0xC6 else 1e-6
    if encoding == "cp866":
        return RARE if "CYRILLIC" not in unicodedata.name(letter, "") else 1 / 60 if letter.islower() else 1 / 400
    latin = letter.isalpha() and "LATIN" in unicodedata.name(letter, "")
    return (1 / 600 if encoding == "cp437" else 1 / 800) / (1 if letter.islower() else 4) if latin else RARE


def _in(letter: str, encoding: str) -> bool:
    try:
        letter.encode(encoding)
        return True
    except UnicodeEncodeError:
        return False
