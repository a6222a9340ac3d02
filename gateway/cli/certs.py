"""`kennisgeving certs dev`."""

from pathlib import Path
from typing import Annotated

from gateway.cli.errors import Failed
from gateway.cli.options import option
from gateway.cli.output import say
from gateway.pki import make_dev_pki


def dev(
    *,
    directory: Annotated[Path, option("--map", "Waarin; wat er al staat, blijft staan.")],
    oin: Annotated[
        str | None, option("--oin", "OIN in het certificaat waarmee de gateway zich bij een API meldt.")
    ] = None,
) -> int:
    """What is there already is kept."""
    try:
        made = make_dev_pki(directory, oin=oin)
    except OSError as why:
        raise Failed(f"{directory}: niet te schrijven ({why.strerror})") from why
    say(f"{made.ledger_key}  sleutel van het grootboek: bewaar een kopie, apart van de back-ups")
    say(f"{made.authority.certificate}  vertrouwde uitgever van wat volgt")
    say(f"{made.server.certificate}  certificaat voor 127.0.0.1 en localhost, met {made.server.key.name}")
    say(f"{made.gateway.certificate}  certificaat waarmee de gateway zich meldt, met {made.gateway.key.name}")
    return 0
