"""The definitions a RabbitMQ loads at its start: the gateway, the senders, and what each of them may do.

https://www.rabbitmq.com/docs/definitions. A sender writes to `kennisgeving.in` and reads from `kennisgeving.uit` for
routing keys of its own gemeenten only, and owns the queues named `<sender>.…`; the gateway may do everything in `/`.
"""

import base64
import hashlib
import os
from collections.abc import Mapping, Sequence

GATEWAY = "gateway"
_VHOST = "/"
_EXCHANGES = ("kennisgeving.in", "kennisgeving.uit")

Definition = dict[str, str]


def definitions(passwords: Mapping[str, str], senders: Mapping[str, Sequence[str]]) -> dict[str, Sequence[Definition]]:
    """`passwords`: of the user `gateway` and of every sender; `senders`: broker user → gemeente codes."""
    topics = [_gemeenten(*sender, exchange) for sender in senders.items() for exchange in _EXCHANGES]
    return {
        "vhosts": [{"name": _VHOST}],
        "users": [_user(user, passwords[user]) for user in (GATEWAY, *senders)],
        "permissions": [_permission(GATEWAY, ".*", ".*", ".*"), *map(_own_queues, senders)],
        "topic_permissions": topics,
    }


def _user(name: str, password: str) -> Definition:
    """https://www.rabbitmq.com/docs/passwords: a salt of four bytes, then SHA-256 over salt and password."""
    salt = os.urandom(4)
    digest = hashlib.sha256(salt + password.encode()).digest()
    return {
        "name": name,
        "password_hash": base64.b64encode(salt + digest).decode(),
        "hashing_algorithm": "rabbit_password_hashing_sha256",
        "tags": "administrator" if name == GATEWAY else "",
    }


def _own_queues(sender: str) -> Definition:
    own = rf"{sender}\..*"
    return _permission(sender, f"^{own}$", rf"^(kennisgeving\.in|{own})$", rf"^(kennisgeving\.uit|{own})$")


def _permission(user: str, configure: str, write: str, read: str) -> Definition:
    return {"user": user, "vhost": _VHOST, "configure": configure, "write": write, "read": read}


def _gemeenten(sender: str, gemeenten: Sequence[str], exchange: str) -> Definition:
    keys = rf"^({'|'.join(gemeenten)})\..*$"
    return {"user": sender, "vhost": _VHOST, "exchange": exchange, "write": keys, "read": keys}
