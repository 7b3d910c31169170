"""Random real images under DC's evaluation protocol: a check of the evaluation that needs no distillation.

The coreset column of the DC paper (ConvNet-3): MNIST 64.9 / 95.1, Fashion-MNIST 51.4 / 73.8 at 1 / 10 images per
class (from memory of the paper). Each network sees a random subset of its own. DC's code evaluates without
augmentation and for 300 epochs, except on MNIST: there with crop_scale_rotate and 1000 epochs, so that cell is run
under both protocols.

    python experiments/protocol_check.py --data-dir FOLDER        # holds mnist/ and fashion_mnist/

About 45 minutes on 2 cores (AMD EPYC, AVX2). Writes experiments/results/protocol_check/*.json; a cell that is there
is not run again.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from jdd.cli import main as jdd

RESULTS = Path(__file__).parent / "results" / "protocol_check"
# Data, IPC, protocol: networks, each on a subset of its own. Fewer where one takes minutes on a CPU.
CELLS = {
    ("mnist", 1, "dc"): 10,
    ("mnist", 1, "dc-crop-scale-rotate"): 10,
    ("fashion_mnist", 1, "dc"): 10,
    ("mnist", 10, "dc"): 4,
    ("mnist", 10, "dc-crop-scale-rotate"): 4,
    ("fashion_mnist", 10, "dc"): 4,
}


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data-dir", required=True)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    RESULTS.mkdir(parents=True, exist_ok=True)
    for (data, ipc, protocol), sets in CELLS.items():
        out = RESULTS / f"{data}-ipc{ipc}{'' if protocol == 'dc' else '-' + protocol}.json"
        if out.exists():
            print(f"{out.name} is there already: skipped")
            continue
        command = ["evaluate", "random", "--data", data, "--data-dir", options.data_dir]
        command += [
            "--ipc",
            str(ipc),
            "--protocol",
            protocol,
            "--sets",
            str(sets),
            "--networks",
            "1",
        ]
        code = jdd([*command, "--seed", str(options.seed), "--out", str(out)])
        if code:
            return code
    return 0


if __name__ == "__main__":
    sys.exit(main())
