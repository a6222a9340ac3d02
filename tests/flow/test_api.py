"""`/v1` as a sender meets it: who gets in, what is taken, what may be seen, and how errors are told."""

import asyncio
import json
import ssl
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from joserfc import jwt
from joserfc.jwk import ECKey, OctKey, OKPKey, RSAKey
from openapi_spec_validator import validate
from sqlalchemy import update

from gateway.config import OAuth2Settings
from gateway.contract import SettingsRefused
from gateway.http.auth import Tokens
from gateway.http.messages import AT_ONCE, Gathering
from gateway.http.problems import TITLES
from gateway.http.routes import ROUTES
from gateway.intake import Arrival, Duplicate, Intake, Verdict
from gateway.ledger.schema import delivery, operator_act, refusal
from gateway.pki import Authority
from tests.flow.desk import OTHER, SENDER, StandingClock, progress
from tests.flow.doors import AUDIENCE, ISSUER, House, client_tls, notice, open_doors, send_raw

NOWHERE = "0198f0c2-7d1e-7b52-9a41-3f6a1c5d0a01"


@pytest.fixture
async def house(ledger_url: str, tmp_path: Path) -> AsyncIterator[House]:
    async with open_doors(ledger_url, tmp_path) as made:
        yield made


@pytest.fixture
async def small(sqlite_url: str, tmp_path: Path) -> AsyncIterator[House]:
    """On SQLite only, for what the engine cannot change."""
    async with open_doors(sqlite_url, tmp_path) as made:
        yield made


def elsewhere() -> dict[str, Any]:
    """A kennisgeving of the other sender."""
    event = notice("ELDERS-1", 1, gemeente="0344")
    return {**event, "source": f"urn:nld:oin:{OTHER.oin}:systeem:schuldhulp"}


def codes(problem: dict[str, Any]) -> set[str]:
    return {fault["code"] for fault in problem["fouten"]}


# -- POST /v1/berichten ---------------------------------------------------------------------------------------------


async def test_a_message_is_202_and_its_duplicate_200(house: House) -> None:
    status, body = await house.post(notice())
    assert status == 202
    assert body["bericht"]
    assert await house.post(notice()) == (200, {"uitkomst": "bekend"})
    assert await house.post({**notice(), "id": "een-ander"}) == (200, {"uitkomst": "bekend"})
    assert len(await house.rows(delivery)) == 2
    assert (await house.post(progress("SHV-1", 3)))[1]["uitkomst"] == "wacht"


async def test_everything_that_is_wrong_is_told_at_once_and_recorded(house: House) -> None:
    event = notice("SHV-1", 1, "energie", "energie", toelating={"datum": "2030-01-01"}, versi=1)
    event["data"]["hulpvrager"]["bsn"] = "123456789"
    status, problem = await house.post(event)
    assert (status, problem["status"]) == (400, 400)
    assert codes(problem) >= {"bsn_elfproef", "toelating_toekomst", "schuldeiser_dubbel", "veld_onbekend"}
    assert {fault["pad"] for fault in problem["fouten"]} >= {"/data/hulpvrager/bsn", "/data/toelating/datum"}
    assert "123456789" not in json.dumps(problem)
    assert len(await house.rows(refusal)) == 1


@pytest.mark.parametrize(
    ("event", "status", "code"),
    [
        (notice("SHV-1", 1, gemeente="0344"), 403, "gemeente_niet_van_afzender"),
        (elsewhere(), 400, "bron_niet_van_afzender"),
        ({**notice(), "source": elsewhere()["source"]}, 400, "bron_niet_van_afzender"),
        ({**notice(), "data": notice("SHV-2")["data"]}, 409, "ander_bericht_zelfde_id"),
        ({**notice("SHV-1", 1, "cjib"), "id": "x"}, 409, "versie_bestaat"),
        ({**notice(), "type": "nl.elders.iets.v1"}, 400, "type_onbekend"),
        (b"{", 400, "json_ongeldig"),
        (b"[" * 60_000, 400, "json_ongeldig"),
        (b"\xff\xfe", 400, "json_ongeldig"),
        (json.dumps(notice()).encode() + b" " * 65_536, 413, "te_groot"),
        (b" " * 300_000, 413, "te_groot"),
    ],
)
async def test_each_refusal_has_its_status_and_code(small: House, event: object, status: int, code: str) -> None:
    await small.post(notice())
    given, problem = await small.post(event)
    assert given == status
    assert code in codes(problem)
    assert set(problem) == {"title", "status", "detail", "fouten"}


async def test_not_his_gemeente_among_other_faults_is_400_with_all_of_them(small: House) -> None:
    status, problem = await small.post(notice("SHV-1", 1, gemeente="0344", toelating={"datum": "2030-01-01"}))
    assert status == 400
    assert codes(problem) == {"gemeente_niet_van_afzender", "toelating_toekomst"}


async def test_a_body_of_unknown_length_is_bounded_too(small: House) -> None:
    async def endless() -> AsyncIterator[bytes]:
        for _ in range(1000):
            yield b" " * 4096

    headers = {"Authorization": f"Bearer {small.issuer.token()}", "Content-Type": "application/json"}
    async with small.session.post(f"{small.url}/v1/berichten", data=endless(), headers=headers) as response:
        assert response.status == 413
    (kept,) = await small.rows(refusal)
    assert len(kept.body) < 100_000


async def test_what_is_too_large_to_read_is_recorded_and_told_too(small: House) -> None:
    for body in (b" " * 300_000, b" " * 1_000_000):
        status, problem = await small.post(body)
        assert (status, codes(problem)) == (413, {"te_groot"})
    assert len(await small.rows(refusal)) == 2
    await small.number_events()
    _, feed = await small.get("/v1/gebeurtenissen")
    told = [event["data"] for event in feed["gebeurtenissen"]]
    assert [(data["gemeente"], data["fouten"][0]["code"]) for data in told] == [("0363", "te_groot")] * 2


async def test_only_json_that_is_not_packed_is_taken(small: House) -> None:
    assert (await small.post(notice(), **{"Content-Type": "text/plain"}))[0] == 415
    assert (await small.post(b"\x1f\x8b", **{"Content-Encoding": "gzip"}))[0] == 415
    assert (await small.post(notice(), **{"Content-Type": "application/json; charset=utf-8"}))[0] == 202


async def test_many_at_once_are_all_taken(house: House) -> None:
    posted = await asyncio.gather(*(house.post(notice(f"SHV-{nr}")) for nr in range(250)))
    assert {status for status, _ in posted} == {202}
    _, page = await house.get("/v1/dossiers")
    seen = [one["dossierkenmerk"] for one in page["dossiers"]]
    while page["volgende"]:
        _, page = await house.get("/v1/dossiers", params={"na": page["volgende"]})
        seen += [one["dossierkenmerk"] for one in page["dossiers"]]
    assert sorted(seen) == sorted(f"SHV-{nr}" for nr in range(250))


class Slow(Intake):
    """Remembers the batches it was given."""

    def __init__(self) -> None:
        self.batches: list[list[bytes]] = []

    async def accept(self, arrivals: Sequence[Arrival]) -> list[Verdict]:
        self.batches.append([arrival.body for arrival in arrivals])
        await asyncio.sleep(0.01)
        return [Duplicate() for _ in arrivals]


async def test_what_comes_in_during_a_commit_goes_together_into_the_next() -> None:
    intake = Slow()
    gathering = Gathering(intake)
    bodies = [b"%d" % nr for nr in range(AT_ONCE + 50)]
    first = asyncio.create_task(gathering.accept(Arrival("http", SENDER, b"first")))
    await asyncio.sleep(0.005)
    await asyncio.gather(*(gathering.accept(Arrival("http", SENDER, body)) for body in bodies))
    await first
    assert intake.batches == [[b"first"], bodies[:AT_ONCE], bodies[AT_ONCE:]]


async def test_without_a_ledger_nothing_is_taken_and_everybody_is_asked_to_come_back(tmp_path: Path) -> None:
    nobody_listens = "postgresql://gateway@127.0.0.1:1/kennisgeving"
    async with open_doors(nobody_listens, tmp_path, migrate=False) as house:
        for method, path in (("POST", "/v1/berichten"), ("GET", "/v1/dossiers"), ("GET", f"/antwoord/{'t' * 43}")):
            headers = {"Authorization": f"Bearer {house.issuer.token()}", "Content-Type": "application/json"}
            body = json.dumps(notice()) if method == "POST" else None
            async with house.session.request(method, house.url + path, headers=headers, data=body) as response:
                assert (response.status, response.headers["Retry-After"]) == (503, "5")
        assert (await house.get("/healthz"))[0] == 200


# -- who gets in ----------------------------------------------------------------------------------------------------


async def status_with(house: House, *authorization: str) -> int:
    headers = [("Authorization", one) for one in authorization]
    async with house.session.post(f"{house.url}/v1/berichten", headers=headers, data=b"{") as response:
        problem = await response.json()
        if response.status == 401:
            assert response.content_type == "application/problem+json"
            assert response.headers["WWW-Authenticate"].startswith('Bearer realm="kennisgeving"')
            assert {"title", "status", "detail"} <= set(problem)
        return response.status


async def test_a_token_that_is_not_wholly_right_is_401(small: House) -> None:
    issuer, now = small.issuer, small.clock.at // 1_000_000
    good = issuer.token()
    head, claims, signature = good.split(".")
    own = ECKey.generate_key("P-256", {"kid": "eerste"})
    whole = {"iss": ISSUER, "aud": AUDIENCE, "exp": now + 300, "client_id": "gem-0363"}
    symmetric = OctKey.import_key(b"0123456789abcdef" * 2, {"kid": "eerste"})
    refused = [
        (),
        ("",),
        ("Bearer",),
        ("Basic Z2VtOmdlaGVpbQ==",),
        (good,),
        (f"Bearer {good}", f"Bearer {good}"),
        (f"Bearer {head}.{claims}.",),
        (f"Bearer {head}.{claims}.{signature[:-4]}AAAA",),
        (f"Bearer {'a' * 8000}",),
        (f"Bearer {issuer.token(iss='https://elders.voorbeeld')}",),
        (f"Bearer {issuer.token(aud='elders')}",),
        (f"Bearer {issuer.token(aud=['elders', 'anders'])}",),
        (f"Bearer {issuer.token(aud=[])}",),
        (f"Bearer {issuer.token(exp=now)}",),
        (f"Bearer {issuer.token(exp=None)}",),
        (f"Bearer {issuer.token(exp='morgen')}",),
        (f"Bearer {issuer.token(iss=None)}",),
        (f"Bearer {issuer.token(aud=None)}",),
        (f"Bearer {issuer.token(nbf=now + 3600)}",),
        (f"Bearer {issuer.token(iat=now + 3600)}",),
        (f"Bearer {issuer.token('niemand')}",),
        (f"Bearer {issuer.token(client_id=7)}",),
        (f"Bearer {issuer.token(client_id=None)}",),
        (f"Bearer {jwt.encode({'alg': 'ES256', 'kid': issuer.key.kid}, whole, own)}",),
        (f"Bearer {jwt.encode({'alg': 'HS256', 'kid': issuer.key.kid}, whole, symmetric, ['HS256'])}",),
        (f"Bearer eyJhbGciOiJub25lIn0.{claims}.",),
        ("Bearer eyJhbGciOiJFUzI1NiIsImNyaXQiOjV9.e30.e30",),
        ("Bearer é.è.ê",),
    ]
    assert [(await status_with(small, *one), one) for one in refused] == [(401, one) for one in refused]
    assert await status_with(small, f"Bearer {good}") == 415
    assert await status_with(small, f"bearer {good}") == 415


async def test_the_client_is_client_id_else_azp_else_sub(small: House) -> None:
    issuer = small.issuer
    for claims in (
        {"client_id": "gem-0363", "azp": "gem-0344", "sub": "niemand"},
        {"client_id": None, "azp": "gem-0363", "sub": "gem-0344"},
        {"client_id": None, "sub": "gem-0363"},
        {"aud": [AUDIENCE, "elders"]},
    ):
        headers = {"Authorization": f"Bearer {issuer.token(**claims)}"}
        async with small.session.get(f"{small.url}/v1/dossiers", headers=headers) as response:
            assert response.status == 200
    async with small.session.get(
        f"{small.url}/v1/dossiers", headers={"Authorization": f"Bearer {issuer.token(client_id='niemand')}"}
    ) as response:
        assert (await response.json())["fouten"][0]["code"] == "afzender_onbekend"


@pytest.mark.parametrize(
    ("algorithm", "key"),
    [
        ("ES256", ECKey.generate_key("P-256", {"kid": "k"})),
        ("PS256", RSAKey.generate_key(2048, {"kid": "k"})),
        ("RS256", RSAKey.generate_key(2048, {"kid": "k"})),
        ("Ed25519", OKPKey.generate_key("Ed25519", {"kid": "k"})),
    ],
)
async def test_every_asymmetric_algorithm_of_the_contract_works(
    tmp_path: Path, algorithm: str, key: ECKey | RSAKey | OKPKey
) -> None:
    async with open_doors(f"sqlite:///{tmp_path / 'ledger.db'}", tmp_path) as house:
        house.issuer.publish_key(key)
        house.clock.at += 60_000_000
        assert (await house.get("/v1/dossiers", algorithm=algorithm))[0] == 200


async def test_eddsa_is_the_old_name_of_ed25519(small: House) -> None:
    key = OKPKey.generate_key("Ed25519", {"kid": "k"})
    small.issuer.publish_key(key)
    small.clock.at += 60_000_000
    modern = small.issuer.token(algorithm="Ed25519")
    head = {"alg": "EdDSA", "kid": "k"}
    with pytest.warns(UserWarning, match="EdDSA"):
        old = jwt.encode(head, jwt.decode(modern, key, ["Ed25519"]).claims, key, ["EdDSA"])
    async with small.session.get(f"{small.url}/v1/dossiers", headers={"Authorization": f"Bearer {old}"}) as response:
        assert response.status == 200


async def test_an_issuer_may_change_its_key_without_a_restart(small: House) -> None:
    old = small.issuer.token()
    assert await status_with(small, f"Bearer {old}") == 415
    small.issuer.publish_key(ECKey.generate_key("P-256", {"kid": "tweede"}))
    assert await status_with(small, f"Bearer {small.issuer.token()}") == 401  # looked a moment ago
    small.clock.at += 11_000_000
    assert await status_with(small, f"Bearer {small.issuer.token()}") == 415
    assert await status_with(small, f"Bearer {old}") == 401


@pytest.mark.parametrize(
    "content", ["", "{}", '{"keys": []}', '{"keys": [{"kty": "oct", "k": "' + "A" * 43 + '"}]}', "[1]", "[" * 60_000]
)
async def test_a_file_without_public_keys_is_refused_at_start(tmp_path: Path, content: str) -> None:
    file = tmp_path / "leeg.json"
    file.write_text(content)
    with pytest.raises(SettingsRefused, match=r"oauth2\.jwks"):
        Tokens(OAuth2Settings(ISSUER, f"file:{file}", AUDIENCE), StandingClock())


async def test_a_client_certificate_says_who_it_is(tmp_path: Path) -> None:
    authority = Authority.create(tmp_path / "pki")
    async with open_doors(f"sqlite:///{tmp_path / 'ledger.db'}", tmp_path, tls=authority) as house:
        known = client_tls(authority, "gemeente", SENDER.oin)
        assert await house.status("/v1/dossiers", known) == 200
        assert await house.status("/v1/dossiers", client_tls(authority, "onbekend", "00000099000000999000")) == 401
        assert await house.status("/v1/dossiers", client_tls(authority, "zonder-oin")) == 401
        assert await house.status("/v1/dossiers", client_tls(authority)) == 401
        assert await house.status("/v1/dossiers", client_tls(authority), token=True) == 401
        # on the other listener a certificate says nothing
        assert await house.status("/v1/dossiers", known, mtls=False) == 401
        assert await house.status("/v1/dossiers", known, mtls=False, token=True) == 200


@pytest.mark.parametrize("flaw", ["of another issuer", "expired"])
async def test_a_certificate_that_is_not_to_be_trusted_gets_no_connection(tmp_path: Path, flaw: str) -> None:
    authority, stranger = Authority.create(tmp_path / "pki"), Authority.create(tmp_path / "elders")
    async with open_doors(f"sqlite:///{tmp_path / 'ledger.db'}", tmp_path, tls=authority) as house:
        context = client_tls(authority)
        issued = (
            stranger.issue_client("vals", SENDER.oin)
            if flaw == "of another issuer"
            else authority.issue_client("oud", SENDER.oin, days=1, starts=-10)
        )
        context.load_cert_chain(issued.certificate, issued.key)
        with pytest.raises((aiohttp.ClientError, ssl.SSLError, ConnectionError)):
            await house.status("/v1/dossiers", context)


# -- what may be seen -----------------------------------------------------------------------------------------------


async def test_a_sender_sees_its_own_dossiers_only(house: House) -> None:
    await house.post(notice())
    assert (await house.post(elsewhere(), "gem-0344"))[0] == 202
    for client, own in (("gem-0363", "SHV-1"), ("gem-0344", "ELDERS-1")):
        _, found = await house.get("/v1/dossiers", client)
        assert [one["dossierkenmerk"] for one in found["dossiers"]] == [own]
    _, found = await house.get("/v1/dossiers")
    (dossier,) = found["dossiers"]
    line = dossier["bezorgingen"][0]
    paths = [f"/v1/dossiers/{dossier['id']}", f"/v1/bezorgingen/{line['bezorging']}"]
    assert [(await house.get(path))[0] for path in paths] == [200, 200]
    refused = [await house.get(path, "gem-0344") for path in paths]
    unknown = [await house.get(f"/v1/{kind}/{NOWHERE}", "gem-0344") for kind in ("dossiers", "bezorgingen")]
    assert refused == unknown
    assert {status for status, _ in refused} == {404}
    await house.number_events()
    _, feed = await house.get("/v1/gebeurtenissen", "gem-0344")
    assert {event["data"]["gemeente"] for event in feed["gebeurtenissen"]} == {"0344"}


async def test_dossiers_are_found_by_gemeente_and_kenmerk(house: House) -> None:
    await house.post(notice("SHV-1"))
    await house.post(notice("SHV-2", gemeente="0384"))

    async def found(**query: str) -> list[str]:
        status, page = await house.get("/v1/dossiers", params=query)
        assert status == 200
        return [one["dossierkenmerk"] for one in page["dossiers"]]

    assert await found() == ["SHV-1", "SHV-2"]
    assert await found(gemeente="0384") == ["SHV-2"]
    assert await found(gemeente="GM0363") == ["SHV-1"]
    assert await found(gemeente="0344") == []
    assert await found(dossierkenmerk="SHV-2") == ["SHV-2"]
    assert await found(gemeente="0363", dossierkenmerk="SHV-2") == []


async def test_a_dossier_has_its_messages_and_a_delivery_its_members(house: House) -> None:
    await house.post(notice())
    await house.post(progress())
    _, page = await house.get("/v1/dossiers")
    status, found = await house.get(f"/v1/dossiers/{page['dossiers'][0]['id']}")
    assert status == 200
    assert [(one["soort"], one["versie"]) for one in found["berichten"]] == [("kennisgeving", 1), ("voortgang", 2)]
    status, line = await house.get(f"/v1/bezorgingen/{found['bezorgingen'][0]['bezorging']}")
    assert status == 200
    identity = {"bezorging", "schuldeiser", "soort", "gemeente", "dossierkenmerk", "versie"}
    assert set(line) == identity | {"toestand", "bewijskracht", "kanaal", "antwoorden", "pogingen"}
    assert (line["toestand"], line["bewijskracht"]) == ("in_wachtrij", 0)


async def test_the_feed_is_read_page_by_page_and_never_skips(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gateway.http.lookups.EVENTS_PER_PAGE", 3)
    await asyncio.gather(*(house.post(notice(f"SHV-{nr}")) for nr in range(10)))
    assert await house.get("/v1/gebeurtenissen") == (200, {"gebeurtenissen": [], "volgende": "0"})
    await house.number_events()
    seen, cursor = [], "0"
    while True:
        _, page = await house.get("/v1/gebeurtenissen", params={"na": cursor})
        if not page["gebeurtenissen"]:
            break
        seen += page["gebeurtenissen"]
        cursor = page["volgende"]
    assert page["volgende"] == cursor
    assert sorted(event["data"]["dossierkenmerk"] for event in seen) == sorted(f"SHV-{nr}" for nr in range(10))
    assert {event["type"] for event in seen} == {"nl.schuldhulpverlening.bericht-geaccepteerd.v1"}
    last = await house.get("/v1/gebeurtenissen", params={"na": "9" * 19})
    assert last == (200, {"gebeurtenissen": [], "volgende": str(2**63 - 1)})


async def test_creditors_are_listed_without_their_secrets(small: House) -> None:
    status, found = await small.get("/v1/schuldeisers")
    assert status == 200
    assert [one["id"] for one in found["schuldeisers"]] == ["bank", "cjib", "energie", "incasso", "zorg"]
    assert "bsn" not in json.dumps(found)
    assert "file:" not in json.dumps(found)


@pytest.mark.parametrize(
    ("path", "code"),
    [
        ("/v1/dossiers?onbekend=1", "veld_onbekend"),
        ("/v1/dossiers?gemeente=363", "waarde_ongeldig"),
        ("/v1/dossiers?gemeente=0363&gemeente=0384", "waarde_ongeldig"),
        ("/v1/dossiers?na=1", "waarde_ongeldig"),
        ("/v1/dossiers?dossierkenmerk=a%00b", "waarde_ongeldig"),
        ("/v1/gebeurtenissen?na=-1", "waarde_ongeldig"),
        ("/v1/gebeurtenissen?na=" + "9" * 20, "waarde_ongeldig"),
        ("/v1/gebeurtenissen?na=%D9%A1", "waarde_ongeldig"),
        (f"/v1/dossiers/{NOWHERE}?na=1", "veld_onbekend"),
        ("/v1/schuldeisers?123456789=1", "veld_onbekend"),
    ],
)
async def test_a_parameter_that_is_unknown_or_wrong_is_400(small: House, path: str, code: str) -> None:
    status, problem = await small.get(path)
    assert status == 400
    assert codes(problem) == {code}
    assert "123456789" not in json.dumps(problem)


# -- errors and headers ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/v1", 404),
        ("GET", "/v1/", 404),
        ("GET", "/v1/dossiers/", 404),
        ("GET", "/v1/dossiers/../../etc/passwd", 404),
        ("GET", "/v1/bezorgingen/%00", 404),
        ("GET", "/v1/pauzeverzoeken/1", 404),
        ("GET", f"/v1/bezorgingen/{NOWHERE}/bewijs", 404),
        ("POST", f"/v1/bezorgingen/{NOWHERE}/herhaling", 404),
        ("GET", "/console", 404),
        ("GET", "/metrics", 404),
        ("GET", "/", 404),
        ("GET", "/v1/berichten", 405),
        ("DELETE", "/v1/dossiers", 405),
        ("PUT", "/v1/antwoorden/energie", 405),
    ],
)
async def test_what_is_not_there_is_a_problem(small: House, method: str, path: str, status: int) -> None:
    headers = {"Authorization": f"Bearer {small.issuer.token()}"}
    async with small.session.request(method, small.url + path, headers=headers) as response:
        assert response.status == status
        assert response.content_type == "application/problem+json"
        problem = await response.json()
    assert (problem["status"], problem["title"]) == (status, TITLES[status])
    assert problem["detail"]
    assert ("Allow" in response.headers) == (status == 405)


async def test_every_answer_has_the_security_headers_and_no_server_name(small: House) -> None:
    token = {"Authorization": f"Bearer {small.issuer.token()}"}
    for path in ("/v1/dossiers", "/v1/niets", "/healthz", "/v1/openapi.json", f"/antwoord/{'t' * 43}", "/antwoord/x"):
        async with small.session.get(small.url + path, headers=token) as response:
            said = response.headers
            assert said["Cache-Control"] == "no-store"
            assert said["X-Content-Type-Options"] == "nosniff"
            assert said["Referrer-Policy"] == "no-referrer"
            assert "frame-ancestors 'none'" in said["Content-Security-Policy"]
            assert "Server" not in said
            assert "Strict-Transport-Security" not in said
            is_good_api = path.startswith("/v1/") and response.status < 400
            assert said.get("API-Version") == ("1.0.0" if is_good_api else None)


async def test_over_tls_it_stays_tls(tmp_path: Path) -> None:
    authority = Authority.create(tmp_path / "pki")
    async with (
        open_doors(f"sqlite:///{tmp_path / 'ledger.db'}", tmp_path, tls=authority) as house,
        house.session.get(f"{house.url}/healthz", ssl=client_tls(authority)) as response,
    ):
        assert response.headers["Strict-Transport-Security"] == "max-age=31536000"


async def test_the_openapi_document_is_valid_open_to_all_and_says_what_is_served(small: House) -> None:
    async with small.session.get(f"{small.url}/v1/openapi.json") as response:
        assert response.status == 200
        assert response.headers["Access-Control-Allow-Origin"] == "*"
        document = await response.json()
    validate(document)
    assert document["openapi"].startswith("3.1")
    assert document["servers"][0]["url"].endswith("/v1")
    described = {(method.upper(), path) for path, methods in document["paths"].items() for method in methods}
    assert described == {(route.method, route.path) for route in ROUTES}
    for _, path in described:
        assert path == path.rstrip("/") == path.lower()


async def test_health_readiness_and_where_to_report_a_weakness(small: House) -> None:
    assert await small.get("/healthz") == (200, {"status": "ok"})
    assert await small.get("/readyz") == (200, {"status": "gereed"})
    small.reasons.append("het register is niet geladen")
    status, problem = await small.get("/readyz")
    assert (status, problem["redenen"]) == (503, ["het register is niet geladen"])
    assert (await small.get("/healthz"))[0] == 200
    async with small.session.get(f"{small.url}/.well-known/security.txt") as response:
        assert (response.status, response.content_type) == (200, "text/plain")
        lines = dict(line.split(": ", 1) for line in (await response.text()).splitlines())
    assert {"Contact", "Expires", "Preferred-Languages", "Canonical"} == set(lines)


# -- hostile connections --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "request_head",
    [
        b"POST /v1/berichten HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"POST /v1/berichten HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\nContent-Length: 4\r\n\r\nabcd",
        b"GET /healthz HTTP/1.1\r\nHost: x\r\nA: " + b"a" * 20_000 + b"\r\n\r\n",
        b"GET /healthz\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
    ],
)
async def test_what_is_no_sound_http_is_refused_and_closed(small: House, request_head: bytes) -> None:
    async with asyncio.timeout(5):
        answer = await send_raw(small.url, request_head)
    assert b" 400 " in answer.splitlines()[0]
    assert (await small.get("/healthz"))[0] == 200


async def test_a_head_or_body_that_trickles_is_cut_off(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gateway.http.server.IDLE", 0.3)
    monkeypatch.setattr("gateway.http.server.LINGERING", 0.1)
    monkeypatch.setattr("gateway.http.body.WITHIN", 0.3)
    async with open_doors(f"sqlite:///{tmp_path / 'ledger.db'}", tmp_path) as house, asyncio.timeout(5):
        assert await send_raw(house.url, b"GET /healthz HTTP/1.1\r\nHost: x\r\nSlow: ") == b""
        answer = await send_raw(
            house.url, b"POST /v1/antwoorden/energie HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\n{"
        )
        assert answer.startswith(b"HTTP/1.1 408 ")


# -- POST /v1/bezorgingen/<id>/herhaling -----------------------------------------------------------------------------


async def asks_again(house: House, id_: str, **options: Any) -> tuple[int, Any]:
    headers = {"Authorization": f"Bearer {house.issuer.token()}"}
    url = f"{house.url}/v1/bezorgingen/{id_}/herhaling"
    async with house.session.post(url, headers=headers, **options) as response:
        return response.status, await response.json(content_type=None)


async def has_failed(house: House, event: dict[str, Any], client: str = "gem-0363") -> Any:
    """The first delivery of this message, after it was given up."""
    await house.post(event, client)
    (first, *_) = await house.rows(delivery)
    failed = update(delivery).where(delivery.c.id == first.id).values(state="mislukt", next_action_at=None)
    await house.change(failed)
    return first


async def test_a_sender_has_a_delivery_of_its_own_sent_again_and_its_reason_is_kept(house: House) -> None:
    first = await has_failed(house, notice())
    status, body = await asks_again(house, first.id, json={"reden": "gebeld"})
    assert (status, body["bezorging"]) == (202, first.id)
    (act,) = await house.rows(operator_act)
    assert (act.asked_by, act.reason, act.kind) == (SENDER.oin, "gebeld", "herhaling")
    (again, *_) = await house.rows(delivery)
    assert (again.state, again.next_action_at) == ("wacht_op_poging", house.clock.at)
    status, problem = await asks_again(house, first.id)
    assert (status, problem["detail"]) == (409, "Deze bezorging kan niet worden herhaald: loopt nog.")


async def test_sending_again_needs_no_reason_and_takes_no_other_field(small: House) -> None:
    first = await has_failed(small, notice())
    for body, pad in (({"reden": ""}, "/reden"), ({"reden": 1}, "/reden"), ({"waarom": "x"}, "/waarom"), ([], "")):
        status, problem = await asks_again(small, first.id, json=body)
        assert (status, problem["fouten"][0]["pad"]) == (400, pad)
    assert (await asks_again(small, first.id, data=b"{"))[0] == 400
    assert (await asks_again(small, first.id))[0] == 202
    (act,) = await small.rows(operator_act)
    assert act.reason == "gevraagd door de afzender"


async def test_a_delivery_of_another_sender_cannot_be_sent_again(small: House) -> None:
    theirs = await has_failed(small, elsewhere(), "gem-0344")
    assert (await asks_again(small, theirs.id))[0] == 404
    assert (await asks_again(small, NOWHERE))[0] == 404
    assert await small.rows(operator_act) == []
