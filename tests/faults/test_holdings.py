"""I23 counts what this process holds open, and goes red on what it should have closed."""

import os
import socket
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from adapters.email.relay import CONNECTIONS
from gateway.ledger.engine import POOL_SIZE, READING_POOL_SIZE
from tests.faults.holdings import held_by, kept_on_purpose, kept_open, left_lying, parts, ports_to

SFTP, API, LEDGER, RELAY = 2222, 9443, 5432, 587
TABLES: list[dict[str, Any]] = [
    {"id": "s-een", "sftp": {"poort": SFTP}},
    {"id": "s-twee", "sftp": {"poort": SFTP}},
    {"id": "c-een", "cjib": {"url": f"https://127.0.0.1:{API}/pauzes"}},
    {"id": "w-een", "webhook": {"url": "https://127.0.0.1:443/w-een"}},
]
PURPOSE = kept_on_purpose(TABLES, {"relais": f"smtp://127.0.0.1:{RELAY}"}, [LEDGER], Path("/tmp/ledger.db"))
IDLE = {"/tmp/a.log": 2, "pipe": 4, "listens": 1, "to 5672": 2, f"to {LEDGER}": 3}


@pytest.mark.parametrize(
    ("more", "is_kept_well"),
    [
        ({}, True),
        ({f"to {LEDGER}": POOL_SIZE + READING_POOL_SIZE, f"to {SFTP}": 2, f"to {RELAY}": CONNECTIONS}, True),
        ({"/tmp/a.log": 1, "pipe": 2}, True),
        ({"/tmp/ledger.db": 2, "/tmp/ledger.db-wal": 2, "/tmp/ledger.db-shm": 1}, True),
        ({"/tmp/a.log": 3}, False),
        ({"/tmp/ledger.db-wal": 3}, False),
        ({"/tmp/brief.pdf": 1}, False),
        ({"pipe": 5}, False),
        ({"listens": 2}, False),
        ({"to 5672": 3}, False),
        ({f"to {LEDGER}": POOL_SIZE + READING_POOL_SIZE + 1}, False),
        ({f"to {SFTP}": 3}, False),
        ({f"to {API}": 1}, True),
        ({f"to {API}": 2}, False),
        ({f"to {RELAY}": CONNECTIONS + 1}, False),
        ({"to 443": 1}, False),
        ({"from a caller": 1}, False),
        ({"closed by the other side, 51000 443": 1}, False),
    ],
)
def test_a_gateway_at_rest_holds_what_it_held_before_or_what_is_kept_on_purpose(
    more: Mapping[str, int], is_kept_well: bool
) -> None:
    found = kept_open({"a": Counter({**IDLE, **more})}, Counter(IDLE), PURPOSE)
    assert (found.invariant, not found.broken) == ("I23", is_kept_well)
    assert found.checked == sum({**IDLE, **more}.values())


def test_descriptors_are_told_apart_by_what_they_are(tmp_path: Path) -> None:
    before = held_by(os.getpid())
    with socket.create_server(("127.0.0.1", 0)) as server, (tmp_path / "a").open("w"), (tmp_path / "a").open():
        port = server.getsockname()[1]
        with socket.create_connection(("127.0.0.1", port)) as client, server.accept()[0] as peer:
            ours = client.getsockname()[1]
            held = held_by(os.getpid()) - before
            assert held == {str(tmp_path / "a"): 2, "listens": 1, f"to {port}": 1, "from a caller": 1}
            assert ports_to(os.getpid(), port) == [ours]
            assert ports_to(os.getppid(), port) == []
            peer.shutdown(socket.SHUT_WR)
            assert held_by(os.getpid())[f"closed by the other side, {ours} {port}"] == 1
    assert held_by(os.getpid()) - before == Counter()


def test_a_half_file_is_seen_wherever_it_lies_but_not_one_of_an_earlier_round(tmp_path: Path) -> None:
    for place in ("s-een/inbox", "s-een/outbox/archief"):
        (tmp_path / place).mkdir(parents=True)
    (tmp_path / "s-een/inbox/.oud.xml.part").touch()
    (tmp_path / "s-een/inbox/heel.xml").touch()
    before = parts(tmp_path)
    assert left_lying(tmp_path, before).broken == ()
    (tmp_path / "s-een/outbox/archief/.nieuw.xml.part").touch()
    found = left_lying(tmp_path, before)
    assert (found.invariant, found.checked, found.broken) == ("I23", 3, (".nieuw.xml.part",))
