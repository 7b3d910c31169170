"""Look-alike classes: random, herding, DC, DSA, DCC and DSAC at IPC 1 and 10.

DCC's claim: matching class by class encodes what all classes share, which hurts where classes differ in
details; collective gradients keep the differences. The paper's six groups of downsampled ImageNet
(imagenet32-automobile, -truck, -lizard, -fish, -terrier, -insect) need that set; Fashion-MNIST's tops and CIFAR-10's
animals do not:

    python experiments/fine_grained.py fashion_mnist_tops --ipc 1 --networks 100 --data-dir FOLDER
    python experiments/fine_grained.py cifar10_animals --ipc 1 10 --methods dcc dsac --data-dir FOLDER

Each set is judged by its own protocol: those of `dsa` and `dsac` with augmentation, those of `dc` and `dcc` without,
and real images both ways. All methods start at real images and have DCC's loops (10 updates of 5 epochs at IPC 1),
as in DCC's code: its DC is not the DC paper's. --networks K is the budget (the paper: 1000). Runs lie in runs/, are
resumed by the same command, and what is kept goes to experiments/results/fine_grained/.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

from cells import RESULTS, run_cell

from jdd.cli import main as jdd

GROUPS: dict[str, tuple[str, tuple[str, ...]]] = {
    "fashion_mnist_tops": ("fashion_mnist", ("T-shirt/top", "Pullover", "Coat", "Shirt", "Dress")),
    "cifar10_animals": ("cifar10", ("bird", "cat", "deer", "dog", "frog", "horse")),
    **{
        f"imagenet32-{group}": (f"imagenet32-{group}", ())
        for group in ("automobile", "truck", "lizard", "fish", "terrier", "insect")
    },
}
CORESETS = ("random", "herding")
METHODS = ("dc", "dsa", "dcc", "dsac")


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("group", choices=GROUPS)
    parser.add_argument("--ipc", type=int, nargs="+", default=[1, 10])
    everything = (*CORESETS, *METHODS)
    parser.add_argument("--methods", nargs="+", choices=everything, default=everything)
    parser.add_argument("--networks", type=int, default=1000, help="budget of the methods")
    parser.add_argument("--eval-networks", type=int, default=20)
    parser.add_argument("--coreset-epochs", type=int, default=15, help="before herding chooses")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--data-dir", required=True)
    parser.add_argument("--runs", type=Path, default=Path("runs"))
    options = parser.parse_args()
    for ipc in options.ipc:
        for method in options.methods:
            code = (coreset if method in CORESETS else distilled)(options, method, ipc)
            if code:
                return code
    return 0


def common(options: argparse.Namespace, ipc: int) -> list[str]:
    """Arguments of both commands."""
    data, classes = GROUPS[options.group]
    chosen = ["--classes", *classes] if classes else []
    words = ["--data", data, *chosen, "--data-dir", options.data_dir]
    return [*words, "--ipc", str(ipc), "--seed", str(options.seed)]


def coreset(options: argparse.Namespace, method: str, ipc: int) -> int:
    """Real images under both protocols: that of `dc` and `dcc`, and that of `dsa` and `dsac`."""
    return next((code for p in ("dc", "dsa") if (code := judged(options, method, ipc, p))), 0)


def judged(options: argparse.Namespace, method: str, ipc: int, protocol: str) -> int:
    """Real images under one protocol."""
    name = f"{options.group}-{method}-{protocol}-ipc{ipc}-seed{options.seed}.json"
    out = RESULTS / "fine_grained" / name
    if out.exists():
        if json.loads(out.read_text()).get("complete", True):
            print(f"{out.name} is there already: skipped (whatever its --eval-networks)")
            return 0
        out.unlink()  # of a run that was stopped
    out.parent.mkdir(parents=True, exist_ok=True)
    networks = ["--networks", str(options.eval_networks)]
    words = ["evaluate", method, *common(options, ipc), "--protocol", protocol, *networks]
    epochs = [] if method == "random" else ["--coreset-epochs", str(options.coreset_epochs)]
    return jdd([*words, *epochs, "--out", str(out)])


def distilled(options: argparse.Namespace, method: str, ipc: int) -> int:
    """A method at the budget."""
    cell = f"{options.group}-{method}-ipc{ipc}-networks{options.networks}-seed{options.seed}"
    kept = RESULTS / "fine_grained" / cell
    if (kept / "result.json").exists():
        print(f"{cell} is there already: skipped (whatever its --eval-networks)")
        return 0
    loops = ["--updates", "10", "--net-epochs", "5"] if ipc == 1 else []
    words = ["distill", method, *common(options, ipc), "--init", "real", *loops]
    words += ["--networks", str(options.networks), "--eval-every", "0", "--random", "no"]
    words += ["--eval-networks", str(options.eval_networks)]
    return run_cell(words, options.runs / cell, kept)


if __name__ == "__main__":
    sys.exit(main())
