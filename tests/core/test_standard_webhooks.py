"""Standard Webhooks: the standard's vectors, the reference library, and whatever a forger might send."""

from base64 import b64encode
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from standardwebhooks import Webhook

from gateway.core.standard_webhooks import (
    KeyMalformed,
    PrivateKey,
    Secret,
    SignatureRefused,
    new_secret,
    sign,
    signing_key,
    verify,
    verifying_key,
)

SECRET = b"whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
OTHER = b"whsec_" + b64encode(bytes(24))
PAIR = b"6Xb/dCcHpPea21PS1N9VY/NZW723CEc77N4rJCubMbfVKIDij2HKpMKkioLlX0dRqSKJp4AJ6p9lMicMFs6Kvg=="
BODY = b'{"test": 2432232314}'
ID = "msg_p5jXN8AQM9LWM0D4loKWxJek"
STAMP = 1614265330
NOW = datetime.fromtimestamp(STAMP, UTC)
SIGNATURE = "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="
SIGNATURE_A = "v1a,hnO3f9T8Ytu9HwrXslvumlUpqtNVqkhqw/enGzPCXe5BdqzCInXqYXFymVJaA7AZdpXwVLPo3mNl8EM+m7TBAg=="


def headers(signature: str = SIGNATURE, message_id: str = ID, stamp: str = str(STAMP)) -> list[tuple[str, str]]:
    return [("Webhook-Id", message_id), ("webhook-timestamp", stamp), ("WEBHOOK-SIGNATURE", signature)]


def test_the_vectors_of_the_standard() -> None:
    assert sign([signing_key(SECRET)], ID, STAMP, BODY) == SIGNATURE
    assert sign([signing_key(b"whsk_" + PAIR)], ID, STAMP, BODY) == SIGNATURE_A
    assert verify([verifying_key(SECRET)], headers(), BODY, NOW) == ID
    assert verify([verifying_key(b"whsk_" + PAIR)], headers(SIGNATURE_A), BODY, NOW) == ID


@given(st.binary(min_size=24, max_size=64), st.text(max_size=200))
def test_hmac_is_that_of_the_reference_library(key: bytes, text: str) -> None:
    ours = sign([Secret(key)], ID, STAMP, text.encode())
    assert ours == Webhook(key).sign(ID, NOW, text)


def test_during_rotation_either_key_verifies() -> None:
    keys = [signing_key(SECRET), signing_key(b"whsk_" + PAIR), signing_key(OTHER)]
    sent = headers(sign(keys, ID, STAMP, BODY))
    for key in (SECRET, OTHER, b"whsk_" + PAIR):
        assert verify([verifying_key(key)], sent, BODY, NOW) == ID


@pytest.mark.parametrize("seconds", [-300, 0, 300])
def test_a_timestamp_within_five_minutes_is_taken(seconds: int) -> None:
    assert verify([verifying_key(SECRET)], headers(), BODY, NOW + timedelta(seconds=seconds)) == ID


@pytest.mark.parametrize("seconds", [-301, 301])
def test_a_timestamp_beyond_five_minutes_is_refused(seconds: int) -> None:
    with pytest.raises(SignatureRefused):
        verify([verifying_key(SECRET)], headers(), BODY, NOW + timedelta(seconds=seconds))


@pytest.mark.parametrize(
    "wrong",
    [
        [],
        headers()[:2],
        headers()[1:],
        [*headers(), ("webhook-id", ID)],
        [*headers(), ("Webhook-Signature", SIGNATURE)],
        [*headers(), ("WEBHOOK-timestamp", str(STAMP))],
        headers(""),
        headers("v1"),
        headers("v1,"),
        headers("v1,geen base64!"),
        headers("v1,Zm9v"),
        headers(SIGNATURE.removeprefix("v1,")),
        headers(SIGNATURE.replace("v1,", "v1a,")),
        headers(SIGNATURE.replace("v1,", "v2,")),
        headers(SIGNATURE_A),
        headers("v1a,Zm9v"),
        headers(SIGNATURE.replace(",", ", ")),
        headers(f"{'v1,AAAA ' * 600}{SIGNATURE}"),
        headers(stamp=""),
        headers(stamp="nu"),
        headers(stamp=f"{STAMP}.0"),
        headers(stamp=f"+{STAMP}"),
        headers(stamp=f" {STAMP}"),
        headers(stamp="-1"),
        headers(stamp="9" * 400),
        headers(stamp="١٦١٤٢٦٥٣٣٠"),
        headers(message_id=""),
        headers(message_id=f"{ID}.1"),
        headers(message_id=f"{ID}\n"),
        headers(message_id="é"),
        headers(message_id="x" * 257),
    ],
)
def test_what_is_not_exactly_right_is_refused(wrong: list[tuple[str, str]]) -> None:
    with pytest.raises(SignatureRefused):
        verify([verifying_key(SECRET)], wrong, BODY, NOW)
    with pytest.raises(SignatureRefused):
        verify([verifying_key(b"whsk_" + PAIR)], headers("v1a,Zm9v"), BODY, NOW)


@given(st.integers(0, len(BODY) * 8 - 1))
def test_one_flipped_bit_is_refused(bit: int) -> None:
    forged = bytearray(BODY)
    forged[bit // 8] ^= 1 << bit % 8
    with pytest.raises(SignatureRefused):
        verify([verifying_key(SECRET)], headers(), bytes(forged), NOW)


def test_the_key_of_another_or_no_key_at_all_is_refused() -> None:
    for keys in ([], [verifying_key(OTHER)]):
        with pytest.raises(SignatureRefused):
            verify(keys, headers(), BODY, NOW)


def test_a_damaged_signature_does_not_hide_a_good_one() -> None:
    assert verify([verifying_key(SECRET)], headers(f"v1,! v9,AAAA {SIGNATURE}"), BODY, NOW) == ID


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
        b"whsec_",
        b"whsec_Zm9v",
        b"whsec_!!!!",
        b"whsec_" + b64encode(bytes(65)),
        b"whsk_" + b64encode(bytes(31)),
        b"whsk_" + b64encode(bytes(64)),
        b"whpk_" + b64encode(bytes(33)),
        b"whpk_",
        b"\xff\xfe",
        SECRET + b"\n" + OTHER,
    ],
)
def test_a_key_file_that_holds_no_key_is_refused(content: bytes) -> None:
    for parse in (signing_key, verifying_key):
        with pytest.raises(KeyMalformed):
            parse(content)


def test_key_files_may_end_in_a_newline_and_lack_padding() -> None:
    assert signing_key(SECRET + b"\n") == signing_key(SECRET)
    assert signing_key(new_secret(bytes(32)).rstrip("=").encode()) == Secret(bytes(32))


def test_a_public_key_verifies_and_cannot_sign() -> None:
    private = signing_key(b"whsk_" + PAIR)
    assert isinstance(private, PrivateKey)
    public = b"whpk_" + b64encode(private.key.public_key().public_bytes_raw())
    assert verify([verifying_key(public)], headers(SIGNATURE_A), BODY, NOW) == ID
    with pytest.raises(KeyMalformed):
        signing_key(public)
