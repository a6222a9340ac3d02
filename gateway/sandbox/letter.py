"""Reads the letter as a person would: the text in the PDF, and the code to type among it.

No PDF library: enough of ISO 32000 to read what Typst writes (objects in clear, streams with FlateDecode, fonts with a
ToUnicode map, strings in parentheses).
"""

import re
import zlib
from collections.abc import Iterator, Sequence
from typing import Final

_OBJECT: Final = re.compile(rb"(\d+) 0 obj\s+(.*?)\s*(?:endobj|stream\r?\n)", re.DOTALL)
_LENGTH: Final = re.compile(rb"/Length (\d+)")
_FONT_NAME: Final = re.compile(rb"/(f\d+) (\d+) 0 R")
_UNICODE_MAP: Final = re.compile(rb"/ToUnicode (\d+) 0 R")
_GLYPH: Final = re.compile(rb"<([0-9A-F]{4})> <([0-9A-F]+)>")
_SHOWN: Final = re.compile(rb"/(f\d+) [\d.]+ Tf.*?\[(.*?)\]TJ", re.DOTALL)
_ESCAPE: Final = re.compile(rb"\\([0-7]{1,3}|.)", re.DOTALL)
_LETTERS: Final = {b"n": b"\n", b"r": b"\r", b"t": b"\t", b"b": b"\b", b"f": b"\f"}
_CODE: Final = re.compile(r"[0-9A-HJKMNP-TV-Z]{4} [0-9A-HJKMNP-TV-Z]{4}")

Glyphs = dict[int, str]


def code_in(said: Sequence[str]) -> str | None:
    """The code to type on the answer page, among the lines of a letter; None where it has none."""
    return next((line for line in reversed(said) if _CODE.fullmatch(line)), None)


def lines(letter: bytes) -> list[str]:
    """The texts of the letter, in the order in which they are drawn."""
    objects = {int(found[1]): (found[2], _stream(letter, found)) for found in _OBJECT.finditer(letter)}
    fonts = _fonts(objects)
    pages = [content for head, content in objects.values() if b" Tf" in content and b"/Type" not in head]
    return [
        "".join(_text(string, fonts.get(font, {})) for string in _strings(shown))
        for page in pages
        for font, shown in _SHOWN.findall(page)
    ]


def _strings(shown: bytes) -> Iterator[bytes]:
    """What stands in parentheses; within a string they come escaped, or as they are where they balance (7.3.4.2)."""
    depth = start = place = 0
    while place < len(shown):
        match shown[place : place + 1]:
            case b"\\":
                place += 1
            case b"(":
                start = start if depth else place + 1
                depth += 1
            case b")":
                depth -= 1
                if depth == 0:
                    yield shown[start:place]
            case _:
                pass
        place += 1


def _stream(letter: bytes, found: re.Match[bytes]) -> bytes:
    length = _LENGTH.search(found[2])
    if length is None or found[0].endswith(b"endobj") or b"/Subtype" in found[2]:  # of a font or its metadata
        return b""
    content = letter[found.end() : found.end() + int(length[1])]
    return zlib.decompress(content) if b"/FlateDecode" in found[2] else content


def _fonts(objects: dict[int, tuple[bytes, bytes]]) -> dict[bytes, Glyphs]:
    fonts: dict[bytes, Glyphs] = {}
    for head, _ in objects.values():
        for name, number in _FONT_NAME.findall(head):
            font = _UNICODE_MAP.search(objects[int(number)][0])
            if font is not None:
                fonts[name] = _glyphs(objects[int(font[1])][1])
    return fonts


def _glyphs(unicode_map: bytes) -> Glyphs:
    return {
        int(glyph, 16): bytes.fromhex(text.decode()).decode("utf-16-be") for glyph, text in _GLYPH.findall(unicode_map)
    }


def _text(string: bytes, glyphs: Glyphs) -> str:
    """Two bytes for each glyph, with PDF's escapes."""
    raw = _ESCAPE.sub(lambda found: _unescaped(found[1]), string)
    return "".join(glyphs.get(int.from_bytes(raw[place : place + 2], "big"), "") for place in range(0, len(raw), 2))


def _unescaped(escape: bytes) -> bytes:
    if escape.isdigit():
        return bytes([int(escape, 8) & 255])
    return _LETTERS.get(escape, escape)
