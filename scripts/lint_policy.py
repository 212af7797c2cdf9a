"""Who may open this platform's key: the policy that it sets for the image, judged like any other.

The owner is named as the one who seals: new data keys come to it in the clear, and it may change
the policy of its own key. Nobody else may, and decrypting is for the image alone.
"""

import sys
from pathlib import Path

from bench.emulators.estate import key_policy
from bench.emulators.keyring import OWNER
from bench.image import measurements
from bench.verify.key_policy import require

sys.stderr = open(snakemake.log[0], "w", buffering=1)

built = measurements.read(Path(snakemake.input.measurements))
for finding in require(key_policy(built.pcrs), sealers=(OWNER,)):
    print(finding)
