"""The machine-readable contract, each file loaded once.

| name               | what                                                                          |
|--------------------|-------------------------------------------------------------------------------|
| `kennisgeving`, `voortgang`, `verlenging`, `beeindiging`, `intrekking`, `pauzeverzoek` | events from a sender |
| `cloudevent`       | the envelope of every event, whatever its type                                |
| `gebeurtenissen`   | events to a sender; `gebeurtenissen#/$defs/<event>` is the data of one        |
| `bericht`          | a creditor's view; `bericht-1.0.xsd` is the same in XML, with the answers     |
| `antwoord`         | a creditor's answer                                                           |
| `delen`            | what the others are built of                                                  |

`cjib-stijl.openapi.yaml` and `asyncapi.yaml` describe the two interfaces that are more than a document.
`gemeenten.csv` has the gemeenten of the Netherlands by CBS code (CBS, open data).
"""

import csv
import json
from collections.abc import Mapping
from functools import cache
from importlib.resources import files
from typing import Any

from jsonschema_rs import Draft202012Validator, RegexOptions, Registry
from lxml import etree

__all__ = ["MESSAGES", "document", "gemeenten", "load_xsd", "text", "validator", "xsd"]

MESSAGES = ("kennisgeving", "voortgang", "verlenging", "beeindiging", "intrekking", "pauzeverzoek")
NAMES = (*MESSAGES, "cloudevent", "gebeurtenissen", "bericht", "antwoord", "delen")


@cache
def text(file: str) -> str:
    """The text of one file of this package, such as `bericht-1.0.xsd`."""
    return files(__package__).joinpath(file).read_text("utf-8")


@cache
def document(name: str) -> Mapping[str, Any]:
    """One JSON Schema, by the names in the table above. Shared: do not change it."""
    schema: dict[str, Any] = json.loads(text(f"{name}-1.0.json"))
    return schema


@cache
def gemeenten() -> Mapping[str, str]:
    """CBS code of four digits → name, in the order of the codes. Shared: do not change it."""
    return {row["code"]: row["naam"] for row in csv.DictReader(text("gemeenten.csv").splitlines())}


@cache
def _registry() -> Registry:
    return Registry([(document(name)["$id"], dict(document(name))) for name in NAMES])


@cache
def validator(name: str) -> Draft202012Validator:
    """The validator of `<name>` or `<name>#/$defs/<part>`. It checks formats, fetches nothing and masks values."""
    file, _, fragment = name.partition("#")
    identifier = document(file)["$id"]
    return Draft202012Validator(
        {"$ref": f"{identifier}#{fragment}" if fragment else identifier},
        registry=_registry(),
        mask="…",
        offline=True,
        validate_formats=True,
        ignore_unknown_formats=False,
        pattern_options=RegexOptions(),
    )


def load_xsd() -> etree.XMLSchema:
    """A `bericht-1.0.xsd` of one's own, for its error log: that of a shared one mixes what threads validate."""
    with files(__package__).joinpath("bericht-1.0.xsd").open("rb") as file:
        return etree.XMLSchema(file=file)


@cache
def xsd() -> etree.XMLSchema:
    """`bericht-1.0.xsd`, shared: for yes or no. `gateway.core.xml.valid` says what is wrong."""
    return load_xsd()
