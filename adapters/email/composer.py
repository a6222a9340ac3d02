"""A draft as a whole mail: words, letter, link, signature and headers, put together once. PURE but for entropy."""

from base64 import urlsafe_b64encode
from datetime import datetime
from zoneinfo import ZoneInfo

from cryptography import x509

from adapters.email import wire
from adapters.email.content import Content, asks_answer, content_of
from adapters.email.letter import Letters
from adapters.email.settings import CreditorSettings, EmailSettings
from adapters.email.smime import Signer, encrypted
from gateway.contract import Draft, Rendition, Surroundings

_CALENDAR = ZoneInfo("Europe/Amsterdam")
_TOKEN_BYTES = 32
_CODE_BYTES = 5


class Composer:
    """What all mails have in common. `needs_bare`: beside each mail goes a variant with a link only."""

    def __init__(self, surroundings: Surroundings, settings: EmailSettings, signer: Signer | None) -> None:
        self._surroundings = surroundings
        self._settings = settings
        self._signer = signer
        self._letters = Letters()
        self.needs_bare = settings.relais is None

    def render(
        self, draft: Draft, recipient: str, creditor: CreditorSettings, certificate: x509.Certificate | None
    ) -> Rendition:
        """`recipient` is the creditor's name. Raises wire.HeaderRefused."""
        head = wire.headers(self._heading(draft, creditor.adres))
        time = datetime.fromisoformat(draft.time)
        code = wire.letter_code(self._surroundings.entropy(_CODE_BYTES))
        view = draft.view
        content = content_of(view, recipient, time.astimezone(_CALENDAR).date(), code)
        if not asks_answer(view.soort):
            return Rendition(wire.joined(head, self._entity(draft, content, time, None, certificate)))
        token = urlsafe_b64encode(self._surroundings.entropy(_TOKEN_BYTES)).rstrip(b"=").decode()
        link = f"{self._surroundings.public_url}/antwoord/{token}"
        body = wire.joined(head, self._entity(draft, content, time, link, certificate))
        client_number = view.klantnummer
        if self.needs_bare and client_number:
            body += wire.BARE_SEPARATOR + wire.joined(head, wire.bare_entity(draft.delivery, content, link))
        return Rendition(body, token, tuple(filter(None, (client_number, code))))

    def _entity(
        self, draft: Draft, content: Content, time: datetime, link: str | None, certificate: x509.Certificate | None
    ) -> bytes:
        letter = self._letters.pdf(content, time)
        entity = wire.entity(draft.delivery, wire.text_of(content, link), wire.html_of(content, link), letter)
        if self._signer is not None:
            entity = self._signer.signed(entity, wire.boundary(draft.delivery, "ondertekend"))
        return entity if certificate is None else encrypted(entity, certificate)

    def _heading(self, draft: Draft, recipient: str) -> wire.Heading:
        """Replies go to the return path where somebody reads it, so that they name their delivery by themselves."""
        key, domain = self._surroundings.channel_key, self._settings.domain
        return wire.Heading(
            delivery=draft.delivery,
            sender_name=self._surroundings.name,
            sender=self._settings.afzender,
            recipient=recipient,
            time=datetime.fromisoformat(draft.time),
            reply_to=wire.return_path(draft.delivery, key, domain) if self._settings.inkomend else None,
        )
