"""Real servers for tests, benchmarks and scripts: Debian's RabbitMQ and PostgreSQL, each on free ports of 127.0.0.1.

    with RabbitMQ(senders={"gem-0363": ["0363"]}) as rabbitmq, PostgreSQL() as postgres:
        rabbitmq.url("gem-0363"), postgres.create_database("ledger")

Each keeps its data in a temporary directory over `stop`, `kill` and `start`, so that a test can take a server away and
give it back; leaving the context ends every process and removes the directory. Nothing outside it is touched: a
service of the machine may run beside them.
"""

import json
import os
import pwd
import secrets
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Self
from urllib.parse import urlsplit, urlunsplit

from gateway.sandbox.broker import GATEWAY, definitions

START_WITHIN = 90.0
STOP_WITHIN = 30.0
LOOPBACK = "127.0.0.1"
PORTS = range(10_000, 32_768)


class ServerMissing(Exception):
    """The program is not installed. On Debian: apt-get install rabbitmq-server postgresql."""


class ServerFailed(Exception):
    """The server did not start or stop in time; the text ends with the last lines of its log."""


def free_port() -> int:
    """A port of 127.0.0.1 that nobody listens on at this moment, and that no outgoing connection is given later, while
    what listens there is away: below those that the system deals out."""
    while True:
        port = PORTS[secrets.randbelow(len(PORTS))]
        with socket.socket() as probe, suppress(OSError):
            probe.bind((LOOPBACK, port))
            return port


class Program:
    """One program in a process group of its own, with its output in a file; started again as often as wanted."""

    def __init__(self, argv: Sequence[str], log: Path, env: Mapping[str, str], account: str | None = None) -> None:
        self._argv = argv
        self._log = log
        self._env = dict(env)
        self._account = account
        self._process: subprocess.Popen[bytes] | None = None

    def start(self, ready: Callable[[], bool]) -> None:
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                self._argv,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=self._env,
                user=self._account,
                group=self._account,
                extra_groups=None if self._account is None else (),
                start_new_session=True,
            )
        deadline = time.monotonic() + START_WITHIN
        while not ready():
            if self._process.poll() is not None or time.monotonic() > deadline:
                self.end(signal.SIGKILL)
                raise ServerFailed(f"{self._argv[0]} did not start\n{self._last_lines()}")
            time.sleep(0.02)

    def end(self, how: signal.Signals) -> None:
        """Signal the process group, wait for its leader and sweep up what is left of the group."""
        process, self._process = self._process, None
        if process is None:
            return
        self._signal(process.pid, how)
        try:
            process.wait(STOP_WITHIN)
        except subprocess.TimeoutExpired:
            raise ServerFailed(f"{self._argv[0]} did not stop\n{self._last_lines()}") from None
        finally:
            self._signal(process.pid, signal.SIGKILL)
            process.wait()

    def freeze(self) -> None:
        """Stop its leader and all children of that where they are; only `crash` may follow."""
        if self._process is not None:
            self._signal(self._process.pid, signal.SIGSTOP)  # it bears no more
            for child in _children(self._process.pid):
                _kill(child, signal.SIGSTOP)

    def crash(self) -> None:
        """`kill -9` of the program and its children at once, also of those that lead a process group of their own."""
        if self._process is None:
            return
        self._signal(self._process.pid, signal.SIGSTOP)
        children = _children(self._process.pid)
        self.end(signal.SIGKILL)
        for child in children:
            _kill(child, signal.SIGKILL)
        deadline = time.monotonic() + STOP_WITHIN
        while alive := [child for child in children if _is_alive(child)]:
            if time.monotonic() > deadline:
                raise ServerFailed(f"{self._argv[0]}: {alive} did not die")
            time.sleep(0.005)

    @staticmethod
    def _signal(group: int, how: signal.Signals) -> None:
        try:
            os.killpg(group, how)
        except ProcessLookupError:
            return

    def _last_lines(self) -> str:
        return "\n".join(self._log.read_text(errors="replace").splitlines()[-30:])


def _children(process: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{process}/task/{process}/children").read_text().split()]


def _kill(process: int, how: signal.Signals) -> None:
    with suppress(ProcessLookupError):
        os.kill(process, how)


def _is_alive(process: int) -> bool:
    """A zombie holds nothing any more."""
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


class RabbitMQ:
    """A RabbitMQ node with an epmd of its own.

    Its users are `gateway` and the senders, each with the rights of `gateway.sandbox.broker`.
    """

    def __init__(self, senders: Mapping[str, Sequence[str]] | None = None, *, management: bool = False) -> None:
        """`senders`: broker user → gemeente codes. `management`: start the HTTP API too, which takes seconds."""
        self._scripts = _directory_with("rabbitmq-server", "/usr/lib/rabbitmq/bin")
        self._senders = senders or {}
        self._password = secrets.token_hex(16)
        self.port = free_port()
        self.management_port = free_port() if management else None
        self._home = Path(tempfile.mkdtemp(prefix="kennisgeving-rabbitmq-"))
        self._env = self._environment(free_port(), free_port())
        self._write_settings()
        self._epmd = Program(
            ["epmd", "-address", LOOPBACK, "-port", self._env["ERL_EPMD_PORT"]], self._home / "epmd.log", self._env
        )
        self._node = Program([str(self._scripts / "rabbitmq-server")], self._home / "node.log", self._env)

    def url(self, user: str = GATEWAY) -> str:
        return f"amqp://{user}:{self._password}@{LOOPBACK}:{self.port}/"

    def start(self) -> None:
        self._node.start(lambda: _speaks_amqp(self.port))

    def stop(self) -> None:
        self._node.end(signal.SIGTERM)

    def kill(self) -> None:
        """As when the machine loses its power, except that the disk keeps what was written."""
        self._node.end(signal.SIGKILL)

    def restart(self) -> None:
        self.stop()
        self.start()

    def ctl(self, *arguments: str) -> str:
        """What `rabbitmqctl` prints; takes a second or more."""
        argv = [str(self._scripts / "rabbitmqctl"), "--quiet", *arguments]
        return subprocess.run(argv, env=self._env, check=True, capture_output=True, text=True).stdout

    def __enter__(self) -> Self:
        try:
            self._epmd.start(lambda: _listens(int(self._env["ERL_EPMD_PORT"])))
            self.start()
        except BaseException:
            self._leave()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._leave()

    def _leave(self) -> None:
        # The queues go with the directory, so an orderly stop would be time for nothing.
        self._node.end(signal.SIGKILL)
        self._epmd.end(signal.SIGKILL)
        shutil.rmtree(self._home)

    def _environment(self, epmd_port: int, distribution_port: int) -> dict[str, str]:
        home = self._home
        return {
            "PATH": os.environ["PATH"],
            "LANG": "C.UTF-8",
            "HOME": str(home),
            "ERL_EPMD_ADDRESS": LOOPBACK,
            "ERL_EPMD_PORT": str(epmd_port),
            "RABBITMQ_NODENAME": f"kennisgeving-{self.port}@localhost",
            "RABBITMQ_DIST_PORT": str(distribution_port),
            "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": "-kernel inet_dist_use_interface {127,0,0,1} " + _NO_SPINNING,
            "RABBITMQ_CTL_ERL_ARGS": "-kernel inet_dist_use_interface {127,0,0,1}",
            "RABBITMQ_CTL_DIST_PORT_MIN": "1024",
            "RABBITMQ_CTL_DIST_PORT_MAX": "65535",
            "RABBITMQ_CONF_ENV_FILE": str(home / "no-such-file"),
            "RABBITMQ_CONFIG_FILE": str(home / "rabbitmq.conf"),
            "RABBITMQ_ENABLED_PLUGINS_FILE": str(home / "enabled_plugins"),
            "RABBITMQ_MNESIA_BASE": str(home / "data"),
            "RABBITMQ_GENERATED_CONFIG_DIR": str(home / "config"),
            "RABBITMQ_LOG_BASE": str(home / "log"),
            "RABBITMQ_LOGS": "-",
            # The script then becomes the node instead of watching it, so that ending the node is ending our own child.
            "RUNNING_UNDER_SYSTEMD": "true",
        }

    def _write_settings(self) -> None:
        cookie = self._home / ".erlang.cookie"
        cookie.write_text(secrets.token_hex(16))
        cookie.chmod(0o400)
        settings = [
            f"listeners.tcp.local = {LOOPBACK}:{self.port}",
            f"load_definitions = {self._home}/definitions.json",
            "log.console.level = warning",
            "disk_free_limit.absolute = 50MB",
        ]
        if self.management_port is not None:
            settings += [f"management.tcp.ip = {LOOPBACK}", f"management.tcp.port = {self.management_port}"]
        (self._home / "rabbitmq.conf").write_text("\n".join(settings) + "\n")
        plugins = "" if self.management_port is None else "rabbitmq_management"
        (self._home / "enabled_plugins").write_text(f"[{plugins}].\n")
        passwords = dict.fromkeys((GATEWAY, *self._senders), self._password)
        (self._home / "definitions.json").write_text(json.dumps(definitions(passwords, self._senders)))


_NO_SPINNING = "+sbwt none +sbwtdcpu none +sbwtdio none"
"""Threads of the broker that have nothing to do sleep at once: the cores are for who has."""
_CLEAR = """
DO $$
DECLARE one record; has_rows boolean;
BEGIN
    PERFORM pg_terminate_backend(pid, 5000)
        FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid();
    FOR one IN SELECT tablename FROM pg_tables WHERE schemaname = 'public' AND tablename <> 'alembic_version' LOOP
        EXECUTE format('SELECT EXISTS (SELECT FROM %I)', one.tablename) INTO has_rows;
        IF has_rows THEN
            EXECUTE format('TRUNCATE %I', one.tablename);
        END IF;
    END LOOP;
    FOR one IN SELECT sequencename FROM pg_sequences WHERE schemaname = 'public' LOOP
        EXECUTE format('ALTER SEQUENCE %I RESTART', one.sequencename);
    END LOOP;
END $$;
SELECT md5(string_agg(line, ' ' ORDER BY line)) FROM (
    SELECT format('%s %s %s %s %s', relname, relkind, attname, atttypid, attnotnull)
        FROM pg_attribute JOIN pg_class ON pg_class.oid = attrelid
        WHERE relnamespace = 'public'::regnamespace AND attnum > 0
    UNION ALL
    SELECT setconfig::text FROM pg_db_role_setting JOIN pg_database ON pg_database.oid = setdatabase
        WHERE datname = current_database()
) AS lines (line)
"""


class Databases:
    """Makes and removes databases in the PostgreSQL behind `url`, whose user must be allowed to; needs `psql`."""

    def __init__(self, url: str) -> None:
        self._url = url

    def create_database(self, name: str) -> str:
        """Make an empty database and return its URL."""
        self._run(f'CREATE DATABASE "{name}"')
        return self.url_of(name)

    def clear_database(self, name: str) -> str:
        """End the sessions in it and remove every row; returns a digest of its tables, indexes and settings."""
        return self._run(_CLEAR, self.url_of(name))

    def drop_database(self, name: str) -> None:
        """Remove a database, ending the sessions in it."""
        self._run(f'DROP DATABASE "{name}" WITH (FORCE)')

    def url_of(self, name: str) -> str:
        """Of the database with this name."""
        return urlunsplit(urlsplit(self._url)._replace(path=f"/{name}"))

    def _run(self, statement: str, url: str | None = None) -> str:
        argv = ["psql", "-qXAt", "-v", "ON_ERROR_STOP=1", "-c", statement, url or self._url]
        done = subprocess.run(argv, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise ServerFailed(done.stderr)
        return done.stdout


class PostgreSQL(Databases):
    """A PostgreSQL cluster, fsync on; its superuser `gateway` comes in without a password, from this machine only."""

    def __init__(self, disk: Path | None = None) -> None:
        """`disk`: a directory for its data, which becomes PostgreSQL's own."""
        programs = _directory_with("postgres", *map(str, _newest_first(Path("/usr/lib/postgresql"))))
        self._home = Path(tempfile.mkdtemp(prefix="kennisgeving-postgresql-"))
        self._account = _postgres_account(self._home)
        self._env = {"PATH": f"{programs}:{os.environ['PATH']}", "LANG": "C.UTF-8", "HOME": str(self._home)}
        self._data = (disk or self._home) / "data"
        if disk is not None:
            _postgres_account(disk)
        self.log = self._home / "server.log"
        self.port = free_port()
        super().__init__(self.url("postgres"))
        settings = [f"listen_addresses={LOOPBACK}", f"port={self.port}", "unix_socket_directories="]
        options = [part for setting in settings for part in ("-c", setting)]
        self._server = Program(
            [str(programs / "postgres"), "-D", str(self._data), *options],
            self.log,
            self._env,
            self._account,
        )

    def url(self, database: str) -> str:
        return f"postgresql://{GATEWAY}@{LOOPBACK}:{self.port}/{database}"

    def start(self) -> None:
        self._server.start(lambda: self._program("pg_isready", "-q", f"-h{LOOPBACK}", f"-p{self.port}") == 0)

    def stop(self) -> None:
        """A fast shutdown: sessions are ended, what was committed is written out."""
        self._server.end(signal.SIGINT)

    def kill(self) -> None:
        """An immediate shutdown: nothing is written out and the next start recovers as after a crash."""
        self._server.end(signal.SIGQUIT)

    def crash(self) -> None:
        """`kill -9` of the postmaster and all its children at once. Each leads a process group of its own, and one that
        lives on for a moment keeps the next postmaster from starting ("shared memory block is still in use")."""
        self._server.crash()

    def freeze(self) -> None:
        """Stop the postmaster and all its children where they are; only `crash` may follow."""
        self._server.freeze()

    def restart(self) -> None:
        self.stop()
        self.start()

    def serve_tls(self, certificate: Path, key: Path) -> None:
        """From now on sessions over TLS are possible too, and plain ones still are."""
        for kept, given in (("server.crt", certificate), ("server.key", key)):
            (self._data / kept).write_bytes(given.read_bytes())
            (self._data / kept).chmod(0o600)
            if self._account is not None:
                shutil.chown(self._data / kept, self._account, self._account)
        self._set_tls("on")

    def serve_plain(self) -> None:
        """From now on no session over TLS is possible."""
        self._set_tls("off")

    def _set_tls(self, value: str) -> None:
        self._run(f"ALTER SYSTEM SET ssl = {value}")
        self._run("SELECT pg_reload_conf()")
        deadline = time.monotonic() + START_WITHIN
        while self._offers_tls() != (value == "on"):
            if time.monotonic() > deadline:
                raise ServerFailed(f"ssl is not {value}")
            time.sleep(0.02)

    def _offers_tls(self) -> bool:
        """The answer to an SSLRequest: https://www.postgresql.org/docs/current/protocol-flow.html"""
        with socket.create_connection((LOOPBACK, self.port), timeout=5) as connection:
            connection.sendall(b"\x00\x00\x00\x08\x04\xd2\x16\x2f")
            return connection.recv(1) == b"S"

    def __enter__(self) -> Self:
        try:
            initdb = ["initdb", "-D", str(self._data), "-U", GATEWAY, "-A", "trust", "-E", "UTF8", "--no-locale"]
            if self._program(*initdb, "--no-sync", "--no-instructions") != 0:
                raise ServerFailed("initdb: " + (self._home / "programs.log").read_text())
            self.start()
        except BaseException:
            self._leave()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._leave()

    def _leave(self) -> None:
        self._server.end(signal.SIGQUIT)
        shutil.rmtree(self._home)

    def _program(self, *argv: str) -> int:
        with (self._home / "programs.log").open("ab") as log:
            return subprocess.run(
                argv,
                env=self._env,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                user=self._account,
                group=self._account,
                extra_groups=None if self._account is None else (),
                check=False,
            ).returncode


def _directory_with(program: str, *candidates: str) -> Path:
    for candidate in candidates:
        if (Path(candidate) / program).exists():
            return Path(candidate)
    found = shutil.which(program)
    if found is None:
        raise ServerMissing(f"{program} is not installed; on Debian: apt-get install rabbitmq-server postgresql")
    return Path(found).parent


def _newest_first(versions: Path) -> list[Path]:
    return sorted(versions.glob("*/bin"), key=lambda path: int(path.parent.name), reverse=True)


def _postgres_account(home: Path) -> str | None:
    """PostgreSQL refuses to run as root: it then gets Debian's account `postgres` and the directory."""
    if os.getuid() != 0:
        return None
    account = pwd.getpwnam("postgres")
    os.chown(home, account.pw_uid, account.pw_gid)
    return account.pw_name


def _listens(port: int) -> bool:
    try:
        socket.create_connection((LOOPBACK, port), timeout=1).close()
    except OSError:
        return False
    return True


def _speaks_amqp(port: int) -> bool:
    """Whether the node answers the AMQP 0-9-1 header with a method frame; users exist by then."""
    try:
        with socket.create_connection((LOOPBACK, port), timeout=5) as connection:
            connection.sendall(b"AMQP\x00\x00\x09\x01")
            return connection.recv(1) == b"\x01"
    except OSError:
        return False
