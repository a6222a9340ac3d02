"""A certificate authority for the real servers of the adapter tests."""

import pytest

from gateway.pki import Authority, Issued

pytest.register_assert_rewrite("gateway.conformance")


@pytest.fixture(scope="session")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    """Made once per run; its keys live in a temporary directory."""
    return Authority.create(tmp_path_factory.mktemp("pki"))


@pytest.fixture(scope="session")
def server_certificate(authority: Authority) -> Issued:
    """For 127.0.0.1 and localhost."""
    return authority.issue_server("server")
