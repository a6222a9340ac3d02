"""The one reader of JSON whose content we judge: two readers can never read two things in what it accepts.

Refused: anything but UTF-8, a byte order mark, a name twice in one object (RFC 7493 §2.3), NaN and infinity, numbers
of a size no double has (1e400), escaped lone surrogates, nesting that exhausts the stack.

Numbers stay exact: whole ones become int (also `1200.00`), others a Decimal without trailing zeros.
"""

import json
import re
from decimal import Context, Decimal
from typing import NoReturn

from gateway.core.errors import JsonRefused

MAGNITUDE = 308
"""Powers of ten, and digits: what a double reaches (RFC 7493 §2.2), so that exact arithmetic stays cheap."""
_UNROUNDED = Context(prec=MAGNITUDE)
_MAYBE_SURROGATE = re.compile(rb"\\u[dD][89a-fA-F]")


def decode(body: bytes) -> object:
    """The value in `body`; raises JsonRefused."""
    try:
        value: object = _DECODER.decode(body.decode())
        if _MAYBE_SURROGATE.search(body):
            _refuse_lone_surrogates(value)
    except UnicodeDecodeError:
        raise JsonRefused("de tekst is geen UTF-8") from None
    except json.JSONDecodeError as why:
        raise JsonRefused(f"de tekst is geen JSON: fout op regel {why.lineno}, teken {why.colno}") from None
    except RecursionError:
        raise JsonRefused("de JSON is te diep genest") from None
    except ValueError:  # int() of thousands of digits
        raise JsonRefused("een getal is te groot") from None
    return value


def _object(pairs: list[tuple[str, object]]) -> dict[str, object]:
    members = dict(pairs)
    if len(members) != len(pairs):
        raise JsonRefused("een veldnaam staat twee keer in hetzelfde object")
    return members


def _number(literal: str) -> int | Decimal:
    exact = Decimal(literal)
    if abs(exact.adjusted()) > MAGNITUDE or len(literal) > MAGNITUDE:
        raise JsonRefused("een getal is te groot, te klein of te lang")
    return int(exact) if exact == exact.to_integral_value() else exact.normalize(_UNROUNDED)


def _not_a_number(_: str) -> NoReturn:
    raise JsonRefused("NaN en Infinity zijn geen JSON")


def _refuse_lone_surrogates(value: object) -> None:
    try:
        json.dumps(value, ensure_ascii=False, default=str).encode()
    except UnicodeEncodeError:
        raise JsonRefused("een tekst bevat een halve Unicode-surrogaat") from None


_DECODER = json.JSONDecoder(object_pairs_hook=_object, parse_float=_number, parse_constant=_not_a_number)
