"""`[schuldeiser.webhook]` in the register (contract §5)."""

from collections.abc import Callable, Mapping
from typing import TypeVar

from msgspec import Struct

from gateway.contract import Reference, SettingsRefused, checked_url, read_secret, read_table, standard_webhooks

Key = TypeVar("Key")


class WebhookSettings(Struct, frozen=True):
    """`sleutels` sign what we send, the first being the current one; `antwoord_sleutels` verify its callbacks."""

    url: str
    sleutels: tuple[Reference, ...]
    antwoord_sleutels: tuple[Reference, ...] = ()


def read_settings(table: Mapping[str, object]) -> WebhookSettings:
    """Raises SettingsRefused naming every wrong, absent or unknown key."""
    settings = read_table(table, WebhookSettings, "webhook")
    checked_url("webhook.url", settings.url)
    if not settings.sleutels:
        raise SettingsRefused("webhook.sleutels: ten minste één sleutel is vereist")
    return settings


def signing_keys(settings: WebhookSettings) -> list[standard_webhooks.SigningKey]:
    """Reads the key files; raises SecretMissing, SettingsRefused."""
    return [_read(reference, "sleutels", standard_webhooks.signing_key) for reference in settings.sleutels]


def answer_keys(settings: WebhookSettings) -> list[standard_webhooks.VerifyingKey]:
    """Reads the key files; raises SecretMissing, SettingsRefused."""
    return [
        _read(reference, "antwoord_sleutels", standard_webhooks.verifying_key)
        for reference in settings.antwoord_sleutels
    ]


def _read(reference: str, key: str, parse: Callable[[bytes], Key]) -> Key:
    try:
        return parse(read_secret(reference))
    except standard_webhooks.KeyMalformed as why:
        raise SettingsRefused(f"webhook.{key}: {reference}: {why}") from why
