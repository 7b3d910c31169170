"""Cells of the papers' main tables: the paper's loops unless a budget is given, official evaluation.

Published (mean +- std over 5 sets x 20 networks; we condense one set, so our std is over 20 networks of one set):

    Fashion-MNIST IPC 1 / 10    DC 70.5 +- 0.6 / 82.3 +- 0.4, DSA 70.6 +- 0.6 / 84.6 +- 0.3
                                CAFE 77.1 +- 0.9 / 83.0 +- 0.4, CAFE+DSA 73.7 +- 0.7 / 83.0 +- 0.3 (from memory)
    CIFAR-10 IPC 1 / 10 / 50    DC 28.3 / 44.9 / 53.9, DSA 28.8 / 52.1 / 60.6, DM 26.0 / 48.9 / 63.0,
                                CAFE 30.3 / 46.3 / 55.5, CAFE+DSA 31.6 / 50.9 / 62.3

    python experiments/main_table.py fashion_mnist dsa 1 --data-dir FOLDER

DSA at IPC 1 in full takes about an hour on 2 cores (AMD EPYC, AVX-512). A run can be stopped (Ctrl-C, or
--stop-after MINUTES) and is resumed by the same command, bit for bit. It lies in runs/CELL; what is kept goes to
experiments/results/main_table/CELL, of a run that was stopped as far as it came (no result.json then).
--networks takes a smaller budget, which the name of the cell says. cafe with --strategy is CAFE+DSA. The code of DCC
flips digits too, and it and CAFE's normalise CIFAR-100 by CIFAR-10's statistics: --strategy and cifar100-dcc do.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

from cells import RESULTS, run_cell

DATA = ("mnist", "fashion_mnist", "svhn", "cifar10", "cifar100", "cifar100-dcc", "tiny_imagenet")
METHODS = ("dc", "dsa", "dcc", "dsac", "dm", "cafe", "cafe-fixed")


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("data", choices=DATA)
    parser.add_argument("method", choices=METHODS)
    parser.add_argument("ipc", type=int)
    parser.add_argument("--data-dir", required=True)
    parser.add_argument("--networks", type=int, help="fewer than the paper's")
    parser.add_argument(
        "--strategy", help="of the augmentation; default: the method's for the data"
    )
    parser.add_argument("--init", help="real, herding, k-centre or noise; default: the method's")
    parser.add_argument("--rule", help="of cafe: corrected or original")
    parser.add_argument("--eval-networks", type=int, default=20, help="that the set is tested on")
    parser.add_argument("--no-random", action="store_true", help="no row of random real images")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--runs", type=Path, default=Path("runs"))
    parser.add_argument("--stop-after", type=float, metavar="MINUTES", help="as Ctrl-C would")
    options = parser.parse_args()
    cell = name(options)
    kept = RESULTS / "main_table" / cell
    code = run_cell(command(options), options.runs / cell, kept, minutes=options.stop_after)
    if code == 0:
        print(json.dumps(json.loads((kept / "result.json").read_text()), indent=1)[:800])
    return code


def name(options: argparse.Namespace) -> str:
    """What the cell is called: data, method, IPC, budget, seed."""
    budget = f"-networks{options.networks}" if options.networks else ""
    given = (options.strategy, options.init, options.rule)
    own = "".join(f"-{word}" for word in given if word)
    cell = f"{options.data}-{options.method}{own}-ipc{options.ipc}"
    return f"{cell}{budget}-seed{options.seed}"


def command(options: argparse.Namespace) -> list[str]:
    """The arguments of jdd for a cell."""
    return [
        *["distill", options.method, "--data", options.data, "--data-dir", options.data_dir],
        *["--ipc", str(options.ipc), "--seed", str(options.seed), "--eval-every", "0"],
        *["--eval-networks", str(options.eval_networks)],
        *(["--networks", str(options.networks)] if options.networks else []),
        *(["--strategy", options.strategy] if options.strategy else []),
        *(["--init", options.init] if options.init else []),
        *(["--rule", options.rule] if options.rule else []),
        *(["--random", "no"] if options.no_random else []),
    ]


if __name__ == "__main__":
    sys.exit(main())
