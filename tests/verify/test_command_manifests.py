"""`python -m bench.verify`: manifests."""

from __future__ import annotations

from pathlib import Path

from tests.verify import exhibits
from tests.verify.command import plays


def test_a_manifest_is_verified_by_its_owner(folder: Path) -> None:
    plays("""
$ manifest.cose --authority public.json
manifest.cose: signed manifest
  manifest
     1 ok          envelope: a cose_sign1 with tag 18
     2 ok          header: it says that this is a manifest
     3 ok          signature: the model's owner made it
     4 ok          fields: exactly those of a manifest, within their bounds
  model: tiny
  version: 1
  source: seeded
  weights sha256: 0a0a[..]
  manifest sha256: [..]
  verified
exit 0
""")


def test_what_comes_after_a_failure_is_not_reached(folder: Path) -> None:
    exhibits.tamper(folder / "manifest.cose", b"tiny")
    plays("""
$ manifest.cose --authority public.json
manifest.cose: signed manifest
  manifest
     1 ok          envelope: a cose_sign1 with tag 18
     2 ok          header: it says that this is a manifest
     3 failed      signature: the model's owner made it
     4 not reached fields: exactly those of a manifest, within their bounds
  not authentic
! error: manifest.cose: manifest signature: found a signature that does not match, expected one by \
the given key over these bytes
! hint: the message was changed, or another key signed it
exit 1
""")
