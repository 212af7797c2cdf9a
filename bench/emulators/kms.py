"""An emulated AWS KMS that boto3 calls unchanged, run as a process of its own.

It does the one thing that other emulators leave out: with a Recipient it verifies the attestation
document, lets the key policy judge the attested PCRs, and answers only with an envelope that the
attested key can open. A document's age is not judged beyond its certificates: AWS documents no
limit for it, and an emulator should not promise more than what it stands for.

    python -m bench.emulators.kms --state DIR --ready-fd N --faults-fd M
"""

from __future__ import annotations

import argparse
import os
import secrets
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from bench import faults
from bench.emulators import cms, policy, process
from bench.emulators.aws_json import Members, Server, ServiceError
from bench.emulators.keyring import ACCOUNT, REGION, BlobError, Key, Keyring, blob_key_id, load
from bench.emulators.members import invalid, read_blob, read_context, read_count, write_blob
from bench.emulators.recipient import Recipient, read_recipient
from bench.emulators.sigv4 import Principal

LOG_NAME = "decisions.jsonl"
ERROR_LOG_NAME = "stderr.log"
ALGORITHM = "SYMMETRIC_DEFAULT"
MAX_PLAINTEXT_BYTES = 4096
MAX_BLOB_BYTES = 6144
KEY_SPEC_BYTES = {"AES_256": 32, "AES_128": 16}

# Members not named here are refused, never skipped: a DryRun or a grant that goes unnoticed
# would make the emulator more generous than the service.
OPERATIONS = {
    "Decrypt": {"CiphertextBlob", "KeyId", "EncryptionContext", "EncryptionAlgorithm", "Recipient"},
    "DescribeKey": {"KeyId"},
    "Encrypt": {"KeyId", "Plaintext", "EncryptionContext", "EncryptionAlgorithm"},
    "GenerateDataKey": {"KeyId", "KeySpec", "NumberOfBytes", "EncryptionContext", "Recipient"},
    "GenerateRandom": {"NumberOfBytes", "Recipient"},
    "GetKeyPolicy": {"KeyId", "PolicyName"},
    "PutKeyPolicy": {"KeyId", "PolicyName", "Policy", "BypassPolicyLockoutSafetyCheck"},
}


@dataclass(frozen=True, slots=True)
class Call:
    """One request with its shared members read."""

    members: Members
    caller: Principal
    context: Mapping[str, str]
    recipient: Recipient | None


class Kms:
    """The service: operations on a keyring."""

    name = "kms"
    target = "TrentService"
    region = REGION

    def __init__(
        self,
        keyring: Keyring,
        *,
        now: Callable[[], datetime],
        random: Callable[[int], bytes] = secrets.token_bytes,
    ) -> None:
        self._keyring = keyring
        self._random = random
        self.now = now
        self.log = keyring.folder / LOG_NAME

    @property
    def principals(self) -> Mapping[str, Principal]:
        return self._keyring.principals

    def call(self, operation: str, members: Members, caller: Principal, entry: Members) -> Members:
        """Carry out one operation; ServiceError as AWS names it. Decides in this order:

        1. The operation and its members are known.
        2. A Recipient's attestation document is authentic.
        3. The key exists.
        4. The key policy allows the caller this operation on it.
        5. The operation itself.
        """
        known = OPERATIONS.get(operation)
        if known is None:  # 1
            raise ServiceError("UnknownOperationException", "no such operation here")
        if unknown := set(members) - known:
            raise invalid(f"members {sorted(unknown)} are not known here")
        if members.get("EncryptionAlgorithm", ALGORITHM) != ALGORITHM:
            raise invalid(f"EncryptionAlgorithm is not {ALGORITHM}")
        if members.get("PolicyName", "default") != "default":
            raise invalid("a key has no policy but the default")
        recipient = read_recipient(members, root=self._keyring.root, now=self.now())  # 2
        if recipient is not None:
            entry["recipient"] = recipient.entry()
        call = Call(members, caller, read_context(members), recipient)
        if operation == "GenerateRandom":  # of no key, so no key policy speaks of it
            return self._generate_random(call)
        key = self._blob_key(call) if operation == "Decrypt" else self._key(call)  # 3
        entry["key"] = key.arn
        self._authorize(operation, key, call, key.policy)  # 4
        return self._dispatch(operation, key, call)  # 5

    def _dispatch(self, operation: str, key: Key, call: Call) -> Members:
        match operation:
            case "Decrypt":
                return self._decrypt(key, call)
            case "DescribeKey":
                return _describe(key)
            case "Encrypt":
                return self._encrypt(key, call)
            case "GenerateDataKey":
                return self._generate_data_key(key, call)
            case "GetKeyPolicy":
                return {"Policy": key.policy, "PolicyName": "default"}
            case _:
                return self._put_key_policy(key, call)

    def _encrypt(self, key: Key, call: Call) -> Members:
        plaintext = read_blob(call.members, "Plaintext", MAX_PLAINTEXT_BYTES)
        sealed = key.seal(plaintext, call.context, nonce=self._random(12))
        reply = {"KeyId": key.arn, "EncryptionAlgorithm": ALGORITHM}
        return reply | {"CiphertextBlob": write_blob(sealed)}

    def _decrypt(self, key: Key, call: Call) -> Members:
        sealed = read_blob(call.members, "CiphertextBlob", MAX_BLOB_BYTES)
        try:
            plaintext = key.open(sealed, call.context)
        except BlobError:
            raise _unreadable() from None
        reply = {"KeyId": key.arn, "EncryptionAlgorithm": ALGORITHM}
        return reply | self._deliver(plaintext, call.recipient)

    def _generate_data_key(self, key: Key, call: Call) -> Members:
        spec, count = call.members.get("KeySpec"), call.members.get("NumberOfBytes")
        if (spec is None) == (count is None) or spec not in (None, *KEY_SPEC_BYTES):
            raise invalid("give either KeySpec (AES_256, AES_128) or NumberOfBytes")
        length = read_count(call.members) if spec is None else KEY_SPEC_BYTES[spec]
        data_key = self._random(length)
        sealed = key.seal(data_key, call.context, nonce=self._random(12))
        reply = {"KeyId": key.arn, "CiphertextBlob": write_blob(sealed)}
        return reply | self._deliver(data_key, call.recipient)

    def _generate_random(self, call: Call) -> Members:
        return self._deliver(self._random(read_count(call.members)), call.recipient)

    def _put_key_policy(self, key: Key, call: Call) -> Members:
        text = call.members.get("Policy")
        try:
            if not isinstance(text, str):
                raise policy.PolicyError("policy is not a text")
            policy.parse(text)
        except policy.PolicyError as error:
            raise ServiceError("MalformedPolicyDocumentException", str(error)) from None
        if call.members.get("BypassPolicyLockoutSafetyCheck") is not True:
            try:
                self._authorize("PutKeyPolicy", key, call, text)
            except ServiceError:
                raise ServiceError(
                    "MalformedPolicyDocumentException", "the caller would lock itself out"
                ) from None
        self._keyring.put_policy(key, text)
        return {}

    def _deliver(self, secret: bytes, recipient: Recipient | None) -> Members:
        """The only place where a secret leaves: in the clear, or for a recipient, never both."""
        if recipient is None:
            return {"Plaintext": write_blob(secret)}
        envelope = cms.wrap(
            secret, recipient.public_key, content_key=self._random(32), iv=self._random(16)
        )
        return {"CiphertextForRecipient": write_blob(envelope)}

    def _authorize(self, operation: str, key: Key, call: Call, text: str) -> None:
        facts = {f"kms:EncryptionContext:{name}": value for name, value in call.context.items()}
        if call.recipient is not None:
            facts |= call.recipient.facts()
        action = f"kms:{operation}"
        request = policy.Request(call.caller.arn, action, key.arn, facts)
        decision = policy.parse(text).decide(request)
        if decision is not policy.Decision.ALLOW:
            raise ServiceError(
                "AccessDeniedException",
                f"{call.caller.arn} may not {action} on {key.arn}: {decision.value}",
            )

    def _key(self, call: Call) -> Key:
        key_id = call.members.get("KeyId")
        if not isinstance(key_id, str) or not key_id:
            raise invalid("KeyId is missing")
        key = self._keyring.key(key_id)
        if key is None:
            raise ServiceError("NotFoundException", f"key {key_id!r} does not exist")
        return key

    def _blob_key(self, call: Call) -> Key:
        """The key that a ciphertext names, which must be the one that the caller names, if any."""
        named = self._key(call) if "KeyId" in call.members else None
        sealed = read_blob(call.members, "CiphertextBlob", MAX_BLOB_BYTES)
        try:
            key = self._keyring.key(blob_key_id(sealed))
        except BlobError:
            key = None
        if key is None:
            raise _unreadable()
        if named is not None and named.key_id != key.key_id:
            raise ServiceError("IncorrectKeyException", "the ciphertext is under another key")
        return key


def _unreadable() -> ServiceError:
    """AWS gives the same error for a foreign blob, a changed one and another context."""
    return ServiceError("InvalidCiphertextException", "the ciphertext does not open")


def _describe(key: Key) -> Members:
    metadata = {
        "AWSAccountId": ACCOUNT,
        "KeyId": key.key_id,
        "Arn": key.arn,
        "CreationDate": key.created_s,
        "Enabled": True,
        "Description": "emulated",
        "KeyUsage": "ENCRYPT_DECRYPT",
        "KeyState": "Enabled",
        "Origin": "AWS_KMS",
        "KeyManager": "CUSTOMER",
        "KeySpec": ALGORITHM,
        "EncryptionAlgorithms": [ALGORITHM],
        "MultiRegion": False,
    }
    return {"KeyMetadata": metadata}


@contextmanager
def run(state: Path) -> Iterator[str]:
    """Run the emulator over a state folder in a process of its own; yields its endpoint URL."""
    with start(state) as (url, _):
        yield url


@contextmanager
def start(state: Path) -> Iterator[tuple[str, Callable[[Sequence[faults.Fault]], None]]]:
    """The same; beside the URL what makes it misbehave from now on, as a schedule says."""
    read_end, write_end = os.pipe()
    faults_end, inject_end = os.pipe()
    command = [sys.executable, "-m", __name__, "--state", str(state.resolve())]
    command += ["--ready-fd", str(write_end), "--faults-fd", str(faults_end)]
    with os.fdopen(read_end) as ready, os.fdopen(inject_end, "w", buffering=1) as injecting:
        try:
            emulator = process.spawn(
                command,
                pass_fds=(write_end, faults_end),
                cwd=Path(__file__).parents[2],
                log=state / ERROR_LOG_NAME,
            )
        finally:
            os.close(write_end)
            os.close(faults_end)

        def inject(schedule: Sequence[faults.Fault]) -> None:
            print(faults.encode(time.monotonic(), schedule), file=injecting)

        with emulator:
            port = ready.readline().strip()
            if not port:
                raise OSError(f"the kms emulator did not start: {emulator.tail()}")
            yield f"http://127.0.0.1:{port}", inject


def main() -> None:
    """Serve until killed."""
    parser = argparse.ArgumentParser(prog="kms emulator")
    parser.add_argument("--state", type=Path, required=True)
    parser.add_argument("--ready-fd", type=int, required=True)
    parser.add_argument("--faults-fd", type=int, required=True)
    arguments = parser.parse_args()
    server = Server(Kms(load(arguments.state), now=lambda: datetime.now(UTC)))
    server.hear(arguments.faults_fd)
    with os.fdopen(arguments.ready_fd, "w") as ready:
        print(server.port, file=ready)
    server.serve_forever()


if __name__ == "__main__":
    main()
