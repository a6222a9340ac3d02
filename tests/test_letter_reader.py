"""The sandbox reads a letter also where the numbers of its glyphs look like PDF's own marks."""

import pytest

from gateway.sandbox.letter import lines

GLYPHS = {0x28: "a", 0x29: "b", 0x5C: "c", 0x41: "d"}


def letter(string: bytes) -> bytes:
    unicode_map = b"".join(b"<%04X> <%04X>\n" % (glyph, ord(text)) for glyph, text in GLYPHS.items())
    content = b"/f0 10 Tf [(" + string + b")]TJ"
    streams = b"".join(
        b"%d 0 obj <</Length %d>>\nstream\n%b\nendstream\n" % (number, len(body), body)
        for number, body in ((3, unicode_map), (4, content))
    )
    return b"1 0 obj <</Font<</f0 2 0 R>>>> endobj\n2 0 obj <</ToUnicode 3 0 R>> endobj\n" + streams


@pytest.mark.parametrize(
    ("string", "text"),
    [
        (b"\0A\0A", "dd"),
        (b"\0\\(\0A\0\\)", "adb"),
        (b"\0(\0A\0)", "adb"),  # balanced: they need no escape
        (b"\0(\0(\0A\0)\0)", "aadbb"),
        (b"\0\\\\\0A", "cd"),
    ],
)
def test_parentheses_in_a_string_end_it_only_when_they_are_its_own(string: bytes, text: str) -> None:
    assert lines(letter(string)) == [text]
