"""`kennisgeving validate` and `kennisgeving publish`: messages of a sender, in files."""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated
from urllib.parse import unquote, urlsplit

from aio_pika.exceptions import AMQPError, DeliveryError
from cyclopts import Parameter
from msgspec import Struct

from gateway.app import make_broker
from gateway.cli.errors import Failed, WrongUse
from gateway.cli.ledger import ledger_to_write, run, sealer, settings
from gateway.cli.options import DEFAULT_CONFIG, AsJson, ConfigFile, option
from gateway.cli.output import say, say_json
from gateway.clock import Clock
from gateway.config import Config
from gateway.core.errors import Violation
from gateway.core.notice import Sender
from gateway.core.validate import check, parse
from gateway.sandbox.sender import AmqpSender
from gateway.spool import Spool

STDIN = "-"
File = Annotated[
    str,
    Parameter(
        name="BESTAND",
        allow_leading_hyphen=True,
        help="Bestanden met elk één bericht (CloudEvent in JSON); - is de standaardinvoer.",
    ),
]


class _Judged(Struct):
    """One line of `validate --json`."""

    bestand: str
    geldig: bool
    fouten: Sequence[Violation]


class _Published(Struct):
    """One line of `publish --json`."""

    bestand: str
    sleutel: str
    id: str | None


def validate(
    *files: File,
    sender: Annotated[str | None, option("--afzender", "Keur als berichten van deze afzender uit --config.")] = None,
    config: ConfigFile = DEFAULT_CONFIG,
    as_json: AsJson = False,
) -> int:
    """1: at least one of them is invalid."""
    author = _sender(settings(config), sender) if sender is not None else None
    today = Clock().today()
    judged = []
    for name, body in _read(files):
        found = check(parse(body), author, today)
        judged.append(_Judged(name, not isinstance(found, list), found if isinstance(found, list) else ()))
    if as_json:
        say_json(judged)
    else:
        _say_judged(judged)
    return 0 if all(one.geldig for one in judged) else 1


def publish(
    *files: File,
    sender: Annotated[
        str | None, option("--afzender", "Wie afgeeft (client_id), bij een gateway zonder broker.")
    ] = None,
    amqp: Annotated[str | None, option("--amqp", "Deze broker, met uw eigen gebruiker, in plaats van [amqp].")] = None,
    config: ConfigFile = DEFAULT_CONFIG,
    as_json: AsJson = False,
) -> int:
    """All of them are stored when it returns 0; none is sent if one cannot be addressed."""
    known = settings(config)
    messages = [_addressed(name, body) for name, body in _read(files)]
    bodies = [body for _, body in messages]
    if amqp or known.amqp:
        _require_sender(known, amqp)
        run(_to_broker(known, amqp, messages))
    else:
        run(_to_spool(known, _spooling(known, sender), bodies))
    published = [one for one, _ in messages]
    if as_json:
        say_json(published)
    for one in published if not as_json else ():
        say(f"{one.bestand}: afgegeven als {one.sleutel}")
    return 0


def _require_sender(config: Config, url: str | None) -> None:
    """What comes from another broker user is quarantined by the gateway, and who sent it is told nothing."""
    user = unquote(urlsplit(url or (config.amqp.url if config.amqp else "")).username or "guest")
    if user not in {sender.amqp_user for sender in config.senders}:
        raise WrongUse(
            f"{user} is van geen [[afzender]] de amqp_gebruiker: de gateway zou het bericht parkeren. "
            "Noem met --amqp de broker met de gebruiker van een afzender"
        )


async def _to_broker(config: Config, url: str | None, messages: Sequence[tuple[_Published, bytes]]) -> None:
    exchange = "kennisgeving.in"
    tls = None
    if config.amqp is not None:
        broker = make_broker(config.amqp)
        url, tls, exchange = url or broker.url, broker.tls, broker.topology.incoming
    try:
        async with AmqpSender(url or "", tls, exchange) as sender:
            for one, body in messages:  # in order: a voortgang comes after its kennisgeving
                await sender.send(one.sleutel, body)
    except DeliveryError as why:
        raise Failed("de broker nam niet elk bericht aan: is er een wachtrij, en mag deze gebruiker dit?") from why
    except (OSError, AMQPError) as why:
        raise Failed(f"de broker is niet bereikbaar ({type(why).__name__})") from why


async def _to_spool(config: Config, sender: Sender, bodies: Sequence[bytes]) -> None:
    async with ledger_to_write(config) as ledger:
        await Spool(ledger, sealer(config), Clock(), {}).put(str(sender.client_id), bodies)


def _spooling(config: Config, name: str | None) -> Sender:
    if name is not None:
        return _sender(config, name)
    with_client = [sender for sender in config.senders if sender.client_id]
    if len(with_client) != 1:
        raise WrongUse("noem met --afzender de afzender (client_id)")
    return with_client[0]


def _sender(config: Config, name: str) -> Sender:
    for sender in config.senders:
        if name in (sender.client_id, sender.amqp_user):
            return sender
    raise WrongUse(f"er is geen [[afzender]] met client_id of amqp_gebruiker {name}")


def _addressed(name: str, body: bytes) -> tuple[_Published, bytes]:
    reading = parse(body)
    if reading.gemeente is None or reading.soort is None:
        raise Failed(f"{name}: gemeente of soort is niet te lezen; `kennisgeving validate` zegt wat eraan mankeert")
    return _Published(name, f"{reading.gemeente}.{reading.soort}", reading.id), body


def _read(files: Sequence[str]) -> list[tuple[str, bytes]]:
    if not files:
        raise WrongUse("noem ten minste één bestand, of - voor de standaardinvoer")
    try:
        return [(name, sys.stdin.buffer.read() if name == STDIN else Path(name).read_bytes()) for name in files]
    except OSError as why:
        raise WrongUse(f"{why.filename}: niet te lezen ({why.strerror})") from why


def _say_judged(judged: Sequence[_Judged]) -> None:
    for one in judged:
        say(f"{one.bestand}: {'geldig' if one.geldig else 'ongeldig'}")
        for violation in one.fouten:
            say(f"  {violation.pad or '/'}  {violation.code}: {violation.melding}")
