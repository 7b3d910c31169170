"""Random real images under DC's evaluation protocol: a check of the evaluation that needs no distillation.

The coreset column of the DC paper (ConvNet-3): MNIST 64.9 / 95.1, Fashion-MNIST 51.4 / 73.8 at 1 / 10 images per
class (from memory of the paper). Each network sees a random subset of its own. DC's code evaluates without
augmentation and for 300 epochs, except on MNIST: there with crop_scale_rotate and 1000 epochs, so that cell is run
under both protocols.

    python experiments/protocol_check.py --data-dir FOLDER        # with mnist/ and fashion_mnist/ in it

About 45 minutes on 2 cores (AMD EPYC, AVX2). Writes experiments/results/protocol_check/*.json; a cell that is there
is not run again.
"""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Iterator
from typing import Annotated

import cells
from real_images import RealImages, Row

from jdd.cli.options import option
from jdd.configuration import DataChoice
from jdd.evaluate import PROTOCOLS

# Data, IPC, protocol: networks, each on a subset of its own. Fewer where one takes minutes on a CPU.
CELLS = {
    ("mnist", 1, "dc"): 10,
    ("mnist", 1, "dc-crop-scale-rotate"): 10,
    ("fashion_mnist", 1, "dc"): 10,
    ("mnist", 10, "dc"): 4,
    ("mnist", 10, "dc-crop-scale-rotate"): 4,
    ("fashion_mnist", 10, "dc"): 4,
}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Options(cells.TableOptions):
    """Options of the check."""

    eval_networks: Annotated[
        int, option("N", "Networks of a cell at most.", "10 at IPC 1, 4 at IPC 10")
    ] = max(CELLS.values())


def table(options: Options) -> Iterator[cells.Cell]:
    """The cells."""
    for (data, ipc, protocol), networks in CELLS.items():
        suffix = "" if protocol == "dc" else f"-{protocol}"
        row = Row(sets=min(networks, options.eval_networks))
        name = f"{data}-ipc{ipc}{suffix}"
        known = PROTOCOLS[protocol]
        yield RealImages(name, DataChoice(data), ipc, known, (row,), seed=options.seed)


if __name__ == "__main__":
    sys.exit(cells.main(__file__, __doc__, Options, table))
