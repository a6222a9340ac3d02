"""The creditors of docker-compose.yml: four servers that verify what they get and answer, and their register.

They have a certificate authority of their own, which issues the gateway its client certificate too, and leave it all
in HOME: `schuldeisers.toml` and the keys and passwords that it names. What is there is kept at the next start.
"""

import asyncio
import signal
import sys
from pathlib import Path

from gateway.pki import make_dev_pki
from gateway.sandbox.creditors import Creditors
from gateway.sandbox.register import entries

HOST = "schuldeisers"
PORTS = {"webhook": 9443, "cjib": 9444, "sftp": 9022, "email": 9025}


async def serve(home: Path, networks: list[str], gateway_url: str, gateway_ca: Path) -> None:
    """`networks`: where the gateways may find us; `gateway_url` and `gateway_ca`: where answers go."""
    pki = make_dev_pki(home, [HOST, "localhost"])
    _trust_too(pki.authority.certificate, gateway_ca)
    creditors = Creditors(home, pki, gateway_url=gateway_url, host=HOST, ports=PORTS, networks=networks)
    register = creditors.register(entries())
    creditors.relay()
    (home / "schuldeisers.toml").write_text(register, "utf-8")
    told_to_stop = asyncio.Event()
    for stop in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(stop, told_to_stop.set)
    async with creditors:
        await told_to_stop.wait()


def _trust_too(anchors: Path, other: Path) -> None:
    """The gateway's answer address has a certificate of the gateway's own authority."""
    known, more = anchors.read_text(), other.read_text()
    if more not in known:
        anchors.write_text(known + more)


if __name__ == "__main__":
    asyncio.run(serve(Path(sys.argv[1]), [sys.argv[2]], sys.argv[3], Path(sys.argv[4])))
