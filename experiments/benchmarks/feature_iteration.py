r"""One image update of CAFE, ours against the original PyTorch functions, as ratios in one run.

ConvNet-3, width 128, 32x32x3, 10 classes, 256 real images per class, without augmentation; a fresh network each.

    git clone https://github.com/kaiwang960112/CAFE clone
    pip install -e ".[bench]"
    python experiments/benchmarks/feature_iteration.py --original clone \
        --out experiments/results/benchmarks/feature_iteration.json

About 3 minutes on 2 cores. Without --original only our side runs (no torch needed).
"""

from __future__ import annotations

from typing import Any

from iteration import SHAPE, Iteration, compiled, main

from jdd import nn
from jdd.methods import Loops, cafe_fixed


def ours(ipc: int, num_classes: int) -> Iteration:
    """Our update. One per network: what one costs does not depend on the schedule."""
    model = nn.convnet(num_classes, SHAPE)
    return compiled(cafe_fixed(model, ipc, loops=Loops(1000, 1, 0)), num_classes)


def original(clone: str, ipc: int, num_classes: int) -> Any:
    """A function that runs one iteration of the original."""
    import torch  # pyright: ignore[reportMissingImports]
    from original import Original

    runner = Original(clone, ipc=ipc, num_classes=num_classes)
    real = [torch.randn(300, 3, 32, 32) for _ in range(num_classes)]
    synthetic = torch.randn(num_classes * ipc, 3, 32, 32, requires_grad=True)
    optimizer = torch.optim.SGD([synthetic], lr=0.1, momentum=0.5)
    return lambda: runner.feature_iteration(real, synthetic, optimizer)


if __name__ == "__main__":
    main(
        "feature_iteration",
        __doc__,
        ours,
        original,
        rounds=4,
    )
