"""What a JSON Schema has against a value, as violations: pointer, code, and a Dutch sentence without the value."""

import re
from collections.abc import Iterator
from itertools import takewhile

from jsonschema_rs import Draft202012Validator, ValidationError, ValidationErrorKind

from gateway.core.errors import Code, Violation

AT_MOST = 100
"""Violations that are listed of one value; more help nobody."""

_TYPES = {
    "array": "een lijst",
    "boolean": "true of false",
    "integer": "een geheel getal",
    "null": "null",
    "number": "een getal",
    "object": "een object",
    "string": "een tekst",
}
_FORMATS = {
    "date": "is geen bestaande datum (JJJJ-MM-DD)",
    "date-time": "is geen tijdstip met tijdzone (RFC 3339)",
    "email": "is geen e-mailadres",
    "uri": "is geen URI",
}
_LIMITS = {
    "minimum": "is kleiner dan {}",
    "maximum": "is groter dan {}",
    "exclusiveMaximum": "is {} of meer",
    "minLength": "is korter dan {}",
    "maxLength": "is langer dan {} tekens",
    "minItems": "telt minder dan {}",
    "maxItems": "telt meer dan {}",
    "minProperties": "heeft minder velden dan {}",
}
_FIELD_NAME = re.compile(r"(?!.*[0-9]{5})[A-Za-z_$][A-Za-z0-9_$.-]{0,49}")
_NO_CONTROL_CHARACTERS = "\\u0000-\\u001F"


def of(validator: Draft202012Validator, value: object) -> list[Violation]:
    """Every violation of the schema, at most AT_MOST, in the order of their pointers."""
    try:
        if validator.is_valid(value):
            return []
        found = {violation for error in validator.iter_errors(value) for violation in _violations(error)}
    except ValueError:  # deeper than jsonschema-rs follows (255); our own schemas stop at 8
        return [Violation("", Code.JSON_INVALID, "de JSON is te diep genest")]
    return sorted(found, key=lambda violation: (violation.pad, violation.code, violation.melding))[:AT_MOST]


def pointer(*path: str | int) -> str:
    """A JSON pointer (RFC 6901)."""
    return "".join(f"/{str(step).replace('~', '~0').replace('/', '~1')}" for step in path)


def is_repeatable(step: str | int) -> bool:
    """Whether a name may be repeated in an error: one that looks like no field name could be somebody's data."""
    return isinstance(step, int) or _FIELD_NAME.fullmatch(step) is not None


def _violations(error: ValidationError) -> Iterator[Violation]:
    path = list(takewhile(is_repeatable, error.instance_path))
    pad = pointer(*path)
    match error.kind:
        case ValidationErrorKind.Required(property=name):  # our own schema's name
            yield Violation(f"{pad}{pointer(name)}", Code.FIELD_MISSING, f"{name} ontbreekt")
        case ValidationErrorKind.AdditionalProperties(unexpected=names):
            yield from (_unknown(pad, name) for name in names)
        case kind:
            yield Violation(pad, Code.VALUE_INVALID, f"{_field(path)} {_rule(kind)}")


def _unknown(pad: str, name: str) -> Violation:
    if is_repeatable(name):
        return Violation(f"{pad}{pointer(name)}", Code.FIELD_UNKNOWN, f"{name} is hier geen bekend veld")
    return Violation(pad, Code.FIELD_UNKNOWN, "een veld is hier niet bekend")


def _field(path: list[str | int]) -> str:
    """The nearest name: `schuldeisers 3` for an item of a list, else the field itself."""
    match path:
        case [*_, str(name), int(index)]:
            return f"{name} {index + 1}"
        case [*_, str(name)]:
            return name
        case _:
            return "het geheel"


def _rule(kind: ValidationErrorKind) -> str:
    match kind:
        case ValidationErrorKind.Type(types=types):
            return f"moet {' of '.join(_TYPES[name] for name in types)} zijn"
        case ValidationErrorKind.Pattern(pattern=pattern):
            return _pattern(pattern)
        case ValidationErrorKind.Format(format=name):
            return _FORMATS[name]
        case ValidationErrorKind.Enum(options=options):
            return f"moet een van deze waarden hebben: {', '.join(map(str, options))}"
        case ValidationErrorKind.Constant(expected_value=expected):
            return f"moet {expected} zijn"
        case ValidationErrorKind.MultipleOf():
            return "heeft meer dan twee decimalen"
        case ValidationErrorKind.PropertyNames():
            return "heeft een attribuut met meer in zijn naam dan kleine letters en cijfers"
        case _:
            return _LIMITS.get(kind.name, "voldoet niet aan het schema").format(kind.value)


def _pattern(pattern: str) -> str:
    if _NO_CONTROL_CHARACTERS in pattern:
        return "is leeg of bevat stuurtekens"
    return f"voldoet niet aan het patroon {pattern}"
