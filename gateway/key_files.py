"""Files that hold secrets: who may read them. The account of the gateway and its group, nobody else."""

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from gateway.config import Config
from gateway.contract import Finding
from gateway.core.creditor import Creditor
from gateway.keys import is_exposed

SECRETS = frozenset({"sleutel", "sleutels", "antwoord_sleutels", "certificaat_sleutel", "wachtwoord"})
"""Keys of settings under which every channel refers to what is secret."""
_PUBLIC = b"whpk_"


def of_settings(config: Config) -> Iterator[str]:
    """References to what is secret in gateway.toml."""
    own = (config.ledger.key, config.http.certificate_key, config.amqp.password if config.amqp else None)
    yield from filter(None, own)
    for table in config.channels.values():
        yield from _within(table)


def of_creditors(creditors: Iterable[Creditor]) -> Iterator[str]:
    """References to what is secret in the register."""
    for creditor in creditors:
        for table in creditor.endpoints.values():
            yield from _within(table)


def look_at_files(references: Iterable[str]) -> list[Finding]:
    """One finding for all that are as they should be, and one for each that anybody on the machine can read."""
    files = sorted({name for kind, _, name in (one.partition(":") for one in references) if kind == "file"})
    exposed = [name for name in files if _is_exposed_secret(Path(name))]
    wrong = [
        Finding(False, f"{name}: anderen kunnen dit geheim lezen of wijzigen (chmod 640)", unsafe=True)
        for name in exposed
    ]
    right = len(files) - len(exposed)
    return [*wrong, *[Finding(True, f"sleutelbestanden: {right} niet voor anderen leesbaar")] * bool(right)]


def _within(value: object, *, is_secret: bool = False) -> Iterator[str]:
    match value:
        case str() if is_secret:
            yield value
        case Mapping():
            for name, inner in value.items():
                yield from _within(inner, is_secret=name in SECRETS)
        case list() | tuple():
            for inner in value:
                yield from _within(inner, is_secret=is_secret)
        case _:
            return


def _is_exposed_secret(path: Path) -> bool:
    """What is absent or unreadable is for who needs it to report; a public key is no secret."""
    try:
        if not is_exposed(path):
            return False
        with path.open("rb") as file:
            return file.read(len(_PUBLIC)) != _PUBLIC
    except OSError:
        return False
