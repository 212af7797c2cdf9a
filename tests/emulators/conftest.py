"""One key service for the tests of a file, and its callers; levels of isolation."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from bench.emulators.keyring import INSTANCE, OWNER
from bench.emulators.sandbox import Level
from tests.emulators.levels import usable
from tests.emulators.parties import CONTEXT, Parties, serving


@pytest.fixture(scope="module")
def parties(tmp_path_factory: pytest.TempPathFactory) -> Parties:
    return Parties.create(tmp_path_factory.mktemp("kms"))


@pytest.fixture(scope="module")
def endpoint(parties: Parties) -> Iterator[str]:
    with serving(parties) as url:
        yield url


@pytest.fixture(scope="module")
def owner(parties: Parties, endpoint: str) -> Any:
    return parties.client(endpoint, OWNER)


@pytest.fixture(scope="module")
def enclave(parties: Parties, endpoint: str) -> Any:
    return parties.client(endpoint, INSTANCE)


@pytest.fixture(scope="module")
def wrapped(parties: Parties, owner: Any) -> tuple[bytes, bytes]:
    """(data key, the same under the service's key)"""
    reply = owner.generate_data_key(KeyId=parties.arn, KeySpec="AES_256", EncryptionContext=CONTEXT)
    return reply["Plaintext"], reply["CiphertextBlob"]


@pytest.fixture(params=tuple(Level))
def level(request: pytest.FixtureRequest) -> Level:
    return usable(request.param)


@pytest.fixture(params=(Level.BWRAP, Level.NAMESPACES))
def isolated(request: pytest.FixtureRequest) -> Level:
    return usable(request.param)
