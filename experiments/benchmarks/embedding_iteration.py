r"""DM's iteration, ours against the original PyTorch functions, as ratios in one run.

ConvNet-3, width 128, 32x32x3, 10 classes, 256 real images per class, with augmentation; a fresh network each.

    git clone https://github.com/VICO-UoE/DatasetCondensation clone
    pip install -e ".[bench]"
    python experiments/benchmarks/embedding_iteration.py --original clone \
        --out experiments/results/benchmarks/embedding_iteration.json

About 3 minutes on 2 cores. Without --original only our side runs (no torch needed).
"""

from __future__ import annotations

from typing import Any

from iteration import SHAPE, Iteration, compiled, main

from jdd import nn
from jdd.methods import dm


def ours(ipc: int, num_classes: int) -> Iteration:
    """Our update."""
    return compiled(dm(nn.convnet(num_classes, SHAPE), ipc), num_classes)


def original(clone: str, ipc: int, num_classes: int) -> Any:
    """A function that runs one iteration of the original."""
    import torch  # pyright: ignore[reportMissingImports]
    from original import Original

    runner = Original(clone, ipc=ipc, num_classes=num_classes)
    real = [torch.randn(300, 3, 32, 32) for _ in range(num_classes)]
    synthetic = torch.randn(num_classes * ipc, 3, 32, 32, requires_grad=True)
    optimizer = torch.optim.SGD([synthetic], lr=1.0, momentum=0.5)
    seeds = iter(range(10**6))
    return lambda: runner.embedding_iteration(real, synthetic, optimizer, 1000 * next(seeds))


if __name__ == "__main__":
    main(
        "embedding_iteration",
        __doc__,
        ours,
        original,
        rounds=8,  # each op of the augmentation is drawn at random
    )
