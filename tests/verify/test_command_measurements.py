"""`python -m bench.verify`: measurements."""

from __future__ import annotations

from pathlib import Path

from bench.image import measurements
from tests.verify.command import OLD_IMAGE, plays, run


def test_measurements_are_compared_with_the_image_beside_them(folder: Path) -> None:
    plays("""
$ measurements.json
measurements.json: measurements
  measurements
     1 ok          form: this schema, whole digests, what is said twice agrees
     2 ok          image: image.eif beside it measures as it says, to the byte
  platform: local
  enclave digest: [..]
  pcr 0: [..]
  pcr 1: [..]
  pcr 2: [..]
  verified
exit 0
""")


def test_a_changed_pcr_is_not_the_image_s(folder: Path) -> None:
    path = folder / "measurements.json"
    pcr = measurements.read(path).pcrs[1].hex()
    path.write_text(path.read_text().replace(pcr, OLD_IMAGE))
    plays("""
$ measurements.json
measurements.json: measurements
  measurements
     1 ok          form: this schema, whole digests, what is said twice agrees
     2 failed      image: image.eif beside it measures as it says, to the byte
  not authentic
! error: measurements.json: image: found another in pcrs[1], expected abab[..]
! hint: build the image again
exit 1
""")


def test_measurements_without_an_image_are_not_verified(folder: Path) -> None:
    (folder / "image.eif").unlink()
    code, out, err = run("measurements.json")
    assert (code, out[-1]) == (2, "  not judged")
    assert err[1].startswith("hint: put it there, or build it again")
