"""S/MIME (RFC 8551): a signature that shows the mail is ours, and encryption for a creditor that has a certificate.

Python's cryptography makes the signed and enveloped data; only the MIME around them is put together here, because the
signed bytes must stay exactly as they were signed and the boundary must be the same at every attempt.
"""

from base64 import encodebytes
from typing import Final

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.ciphers.algorithms import AES256
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, load_pem_private_key, pkcs7

from adapters.email.settings import EmailSettings
from gateway.contract import SettingsRefused, read_secret

_DETACHED: Final = [pkcs7.PKCS7Options.DetachedSignature, pkcs7.PKCS7Options.Binary]


class Signer:
    """Our signing certificate with its chain, and its key: read once."""

    def __init__(self, certificate: str, key: str) -> None:
        """Both are references to PEM. Raises SecretMissing, SettingsRefused."""
        try:
            self._certificate, *self._chain = x509.load_pem_x509_certificates(read_secret(certificate))
            loaded = load_pem_private_key(read_secret(key), password=None)
        except (ValueError, TypeError, UnsupportedAlgorithm) as why:
            raise SettingsRefused("email.certificaat, email.certificaat_sleutel: geen PEM zonder wachtwoord") from why
        if not isinstance(loaded, rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey):
            raise SettingsRefused("email.certificaat_sleutel: geen RSA- of EC-sleutel")
        if loaded.public_key() != self._certificate.public_key():
            raise SettingsRefused("email.certificaat, email.certificaat_sleutel: horen niet bij elkaar")
        self._key: rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey = loaded

    def signed(self, entity: bytes, boundary: str) -> bytes:
        """`entity` with its signature beside it (RFC 8551 §3.5.3)."""
        builder = pkcs7.PKCS7SignatureBuilder().set_data(entity).add_signer(self._certificate, self._key, SHA256())
        for certificate in self._chain:
            builder = builder.add_certificate(certificate)
        fence = b"--" + boundary.encode()
        head = (
            'Content-Type: multipart/signed; protocol="application/pkcs7-signature"; micalg=sha-256;\r\n'
            f' boundary="{boundary}"\r\n\r\n'
        )
        signature = _attachment("application/pkcs7-signature", "smime.p7s", builder.sign(Encoding.DER, _DETACHED))
        parts = [head.encode() + fence, entity + b"\r\n" + fence, signature + fence + b"--", b""]
        return b"\r\n".join(parts)


def signer_of(settings: EmailSettings) -> Signer | None:
    """None where mail goes unsigned. Raises SecretMissing, SettingsRefused."""
    if settings.certificaat is None or settings.certificaat_sleutel is None:
        return None
    return Signer(settings.certificaat, settings.certificaat_sleutel)


def encrypted(entity: bytes, recipient: x509.Certificate) -> bytes:
    """`entity` for the holder of `recipient` only (RFC 8551 §3.3)."""
    builder = pkcs7.PKCS7EnvelopeBuilder().set_data(entity).add_recipient(recipient)
    builder = builder.set_content_encryption_algorithm(AES256)
    data = builder.encrypt(Encoding.DER, [pkcs7.PKCS7Options.Binary])
    return _attachment("application/pkcs7-mime; smime-type=enveloped-data", "smime.p7m", data)


def _attachment(kind: str, name: str, data: bytes) -> bytes:
    head = (
        f'Content-Type: {kind}; name="{name}"\r\n'
        "Content-Transfer-Encoding: base64\r\n"
        f'Content-Disposition: attachment; filename="{name}"\r\n\r\n'
    )
    return head.encode() + encodebytes(data).replace(b"\n", b"\r\n")
