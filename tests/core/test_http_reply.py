"""What an HTTP status and a Retry-After mean."""

from datetime import UTC, datetime

import pytest

from gateway.core.http_reply import refusal, retry_after
from gateway.core.outcome import Evidence, RefusedForGood, Transient

NOW = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)
EVIDENCE = Evidence("x")


@pytest.mark.parametrize("status", [408, 425, 429, 500, 501, 502, 503, 504, 507, 599])
def test_what_may_pass_is_transient_and_keeps_the_peers_hint(status: int) -> None:
    assert refusal(status, EVIDENCE, 7.0) == Transient(EVIDENCE, 7.0)


@pytest.mark.parametrize("status", [300, 301, 302, 303, 304, 307, 308, 400, 401, 403, 404, 409, 413, 422, 451, 499])
def test_redirects_and_other_refusals_end_the_channel_for_this_delivery(status: int) -> None:
    assert refusal(status, EVIDENCE, 7.0) == RefusedForGood(EVIDENCE)


def test_gone_ends_the_channel_for_all() -> None:
    assert refusal(410, EVIDENCE) == RefusedForGood(EVIDENCE, whole_channel=True)


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        (None, None),
        ("0", 0.0),
        ("120", 120.0),
        (" 120 ", 120.0),
        ("86400", 86400.0),
        ("86401", 86400.0),
        ("9" * 5000, 86400.0),
        ("Mon, 23 Nov 2026 12:01:00 GMT", 60.0),
        ("Mon, 23 Nov 2026 13:01:00 +0100", 60.0),
        ("Mon, 23 Nov 2026 12:01:00 -0000", 60.0),
        ("Monday, 23-Nov-26 12:01:00 GMT", 60.0),
        ("Mon, 23 Nov 2026 11:00:00 GMT", 0.0),
        ("Fri, 01 Jan 2100 00:00:00 GMT", 86400.0),
        ("", None),
        ("-5", None),
        ("1.5", None),
        ("straks", None),
        ("١٢", None),
        ("Mon, 99 Nov 2026 12:01:00 GMT", None),
        ("Mon, 23 Nov 99999999999 12:01:00 GMT", None),
    ],
)
def test_a_hint_is_seconds_or_a_date_and_at_most_a_day(value: str | None, seconds: float | None) -> None:
    assert retry_after(value, NOW) == seconds
