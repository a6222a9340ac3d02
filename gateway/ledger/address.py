"""What a PostgreSQL address says of where the server is. Read as the driver reads it, so that both mean one host."""

from collections.abc import Mapping

from sqlalchemy import URL, make_url
from sqlalchemy.exc import ArgumentError

_ELSEWHERE = frozenset({"direct_tls", "dsn", "service", "servicefile", "ssl", "sslmode"})
"""Parameters with which the driver would look at another place for its host or its TLS."""
_BY_DEFAULT = "localhost"
_PORT = ":"


def hosts(url: str, environ: Mapping[str, str]) -> list[str]:
    """Names, addresses and directories of Unix sockets, each as often as it is named. Raises ValueError.

    Where `url` names none it is PGHOST that counts, or the file of PGSERVICE, which says nothing here: its name is then
    the host.
    """
    parsed = _parsed(url)
    query = parsed.query.get("host", ())
    named = [parsed.host or "", *((query,) if isinstance(query, str) else query)]
    found = [host for one in named for host in one.split(",") if host]
    return [_without_port(host) for host in found] or _of_the_surroundings(environ)


def parameters_elsewhere(url: str) -> list[str]:
    """Those that have no place in `url`. Raises ValueError."""
    return sorted(_ELSEWHERE & {*_parsed(url).query})


def _parsed(url: str) -> URL:
    try:
        return make_url(url)
    except ArgumentError as why:
        raise ValueError(url) from why


def _of_the_surroundings(environ: Mapping[str, str]) -> list[str]:
    if service := environ.get("PGSERVICE"):
        return [service]
    return environ.get("PGHOST", _BY_DEFAULT).split(",")


def _without_port(host: str) -> str:
    """IPv6 addresses stand in brackets where a port follows."""
    if host.startswith("["):
        return host[1:].partition("]")[0]
    return host.partition(_PORT)[0] if host.count(_PORT) == 1 else host
