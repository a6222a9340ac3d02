"""The letter as an accessible PDF (PDF/UA-1), made by Typst. No I/O but reading the template and fonts, once."""

import threading
from datetime import datetime
from pathlib import Path
from typing import Final, Literal

import msgspec
import typst

from adapters.email.content import Content

_TEMPLATE: Final = Path(__file__).parent / "templates" / "brief.typ"
_FONTS: Final = typst.Fonts()


class Letters:
    """Makes letters in any thread; each thread keeps a compiler of its own, which is not made for sharing."""

    def __init__(self) -> None:
        self._kept = threading.local()

    def pdf(self, content: Content, time: datetime) -> bytes:
        """The same bytes for the same content and time."""
        brief = {"brief": msgspec.json.encode(content).decode()}
        try:
            return self._compile(brief, time, "ua-1")
        except typst.TypstError:
            # PDF/UA wants a glyph for every character; a name in a script that no font here has, is shown as boxes
            return self._compile(brief, time, None)

    def _compile(self, inputs: dict[str, str], time: datetime, standard: Literal["ua-1"] | None) -> bytes:
        made = self._compiler().compile(
            format="pdf", sys_inputs=inputs, pdf_standards=standard, timestamp=int(time.timestamp())
        )
        if not isinstance(made, bytes):
            raise TypeError("Typst made several files of one letter")
        return made

    def _compiler(self) -> typst.Compiler:
        if not hasattr(self._kept, "compiler"):
            self._kept.compiler = typst.Compiler(_TEMPLATE, root=_TEMPLATE.parent, font_paths=_FONTS)
        compiler: typst.Compiler = self._kept.compiler
        return compiler
