"""`python -m gateway.sandbox --map DIR`: the four creditors on their own, for integrators and docker-compose.

They listen until SIGTERM. Their logs, keys and certificates are in DIR, and so is what a gateway needs to reach them:
`schuldeisers.toml` (apply it after every start, keys change) and `email.toml` (the table [email] of gateway.toml). Both
name files in DIR, which the gateway must be able to read under the same path.
"""

import asyncio
import signal
from pathlib import Path
from typing import Annotated

import uvloop
from cyclopts import App, Parameter

from gateway.pki import make_dev_pki
from gateway.sandbox.creditors import CHANNELS, Creditors
from gateway.sandbox.register import entries, to_toml

app = App("python -m gateway.sandbox", help="Vier schuldeisers om mee te proberen: HTTPS, mTLS-API, SFTP en SMTP.")


@app.default
def sandbox(
    *,
    directory: Annotated[Path, Parameter(name="--map", help="Voor sleutels, logboeken en het register.")],
    host: Annotated[str, Parameter(name="--luister", help="Naam of adres om op te luisteren.")] = "127.0.0.1",
    port: Annotated[int, Parameter(name="--poort", help="Eerste van vier poorten: HTTPS, API, SFTP, SMTP.")] = 9440,
    gateway: Annotated[
        str, Parameter(name="--gateway", help="Adres van de gateway, voor terugmeldingen.")
    ] = "http://127.0.0.1:8080",
    gateway_ca: Annotated[Path | None, Parameter(name="--gateway-ca", help="Uitgever van zijn certificaat.")] = None,
    networks: Annotated[
        tuple[str, ...], Parameter(name="--netwerk", help="Waarin de gateway deze schuldeisers mag bereiken.")
    ] = ("127.0.0.0/8",),
) -> None:
    """Luister tot SIGTERM."""
    uvloop.run(_listen(directory.absolute(), host, port, gateway, gateway_ca, networks))


async def _listen(
    directory: Path, host: str, port: int, gateway: str, gateway_ca: Path | None, networks: tuple[str, ...]
) -> None:
    stopped = asyncio.Event()
    for stop in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(stop, stopped.set)
    pki = make_dev_pki(directory / "certs", (host, "localhost", "127.0.0.1"))
    ports = {channel: port + nr for nr, channel in enumerate(CHANNELS)}
    async with Creditors(
        directory, pki, gateway_url=gateway, gateway_ca=gateway_ca, host=host, ports=ports, networks=networks
    ) as creditors:
        (directory / "schuldeisers.toml").write_text(creditors.register(entries()), "utf-8")
        relay = {**creditors.relay(), "afzender": "kennisgeving@gateway.example"}
        lines = ["[email]", *(f"{key} = {to_toml(value)}" for key, value in relay.items())]
        (directory / "email.toml").write_text("\n".join(lines) + "\n", "utf-8")
        await stopped.wait()


if __name__ == "__main__":
    app()
