"""Which certificates are looked at, and what is taken for the end of one."""

from pathlib import Path

from gateway.certificates import certificates
from gateway.config import read_config
from gateway.core.creditor import Creditor, CreditorId
from gateway.pki import Authority, make_dev_pki


def test_every_certificate_that_a_setting_names_is_found_with_its_place_and_its_end(tmp_path: Path) -> None:
    pki = make_dev_pki(tmp_path / "certs")
    authority = Authority.create(tmp_path / "certs")
    short, long = authority.issue_client("kort", days=5), authority.issue_client("lang", days=50)
    both = tmp_path / "beide.pem"
    both.write_bytes(short.certificate.read_bytes() + long.certificate.read_bytes())
    broken = tmp_path / "stuk.pem"
    broken.write_text("geen certificaat")
    (tmp_path / "gateway.toml").write_text(
        f"""
        [ledger]
        url = "sqlite:///x.db"
        sleutel = "file:{pki.ledger_key}"
        [amqp]
        url = "amqps://gateway@127.0.0.1/"
        ca = "file:{both}"
        [http]
        certificaat = "file:{short.certificate}"
        certificaat_sleutel = "file:{short.key}"
        luister_mtls = "127.0.0.1:8443"
        ca = "file:{broken}"
        [email]
        afzender = "kennisgeving@gateway.example"
        certificaat = "file:{long.certificate}"
        certificaat_sleutel = "file:{long.key}"
        """
    )
    cjib = {"certificaat": f"file:{short.certificate}", "url": "https://api.example"}
    creditors = [
        Creditor(CreditorId("boetes"), "Boetes", channels=("cjib",), endpoints={"cjib": cjib}, ca=f"file:{both}"),
        Creditor(CreditorId("elders"), "Elders", channels=("webhook",), endpoints={"webhook": {}}, ca="file:/weg.pem"),
    ]
    now = pki.authority.certificate.stat().st_mtime
    found = certificates(read_config(tmp_path / "gateway.toml", {}), creditors)
    assert {(one.setting, one.creditor, one.channel, round((one.ends - now) / 86_400)) for one in found} == {
        ("http.certificaat", "", "", 5),
        ("amqp.ca", "", "", 50),
        ("email.certificaat", "", "email", 50),
        ("ca", "boetes", "", 50),
        ("cjib.certificaat", "boetes", "cjib", 5),
    }
