"""Runs the original PyTorch functions of IDC from a clone given by path, for comparison.

The clone is https://github.com/snu-mllab/Efficient-Dataset-Condensation at ceac95a. Nothing of it is copied
here: its modules are imported as they are, with stand-ins for torchvision and for its own modules train and
test, of which nothing is used by what we call.
"""

from __future__ import annotations

import importlib
import sys
import types
from pathlib import Path
from typing import Any
from unittest.mock import MagicMock

import torch  # pyright: ignore[reportMissingImports]


class OriginalIDC:
    """The original's synthetic set, augmentation and matching loss, with CIFAR-10's arguments."""

    def __init__(self, clone: Path, *, ipc: int, factor: int = 2, classes: int = 10) -> None:
        if not (clone / "condense.py").is_file():
            raise ValueError(f"--original must be a clone of IDC's code, got {clone}")
        _stand_in("torchvision", "datasets", "models", "transforms", "utils")
        _stand_in("train")  # puts tensors on a GPU when it is imported
        _stand_in("test")
        sys.path.insert(0, str(clone))
        self.condense: Any = importlib.import_module("condense")
        self.networks: Any = importlib.import_module("models.convnet")
        self.classes = classes
        self.args = types.SimpleNamespace(
            ipc=ipc,
            factor=factor,
            decode_type="single",
            match="grad",
            metric="mse",
            bias=False,
            fc=False,
        )
        self.synthetic = self.condense.Synthesizer(self.args, classes, 3, 32, 32, device="cpu")
        self.augment = self.condense.DiffAug(strategy="color_crop_cutout", batch=True)
        self.optimizer = torch.optim.SGD(self.synthetic.parameters(), lr=0.005, momentum=0.5)
        self.real = torch.randn(classes, 300, 3, 32, 32)

    def iteration(self, batch: int = 64) -> None:
        """One update of every class on a fresh network, as its main program does; no network training."""
        net = self.networks.ConvNet(
            self.classes,
            net_norm="instance",
            net_depth=3,
            net_width=128,
            channel=3,
            im_size=(32, 32),
        )
        for c in range(self.classes):
            real = self.real[c][torch.randperm(self.real.shape[1])[:batch]]
            images, labels = self.synthetic.sample(c)
            both = self.augment(torch.cat([real, images]))
            of_real = torch.full((batch,), c, dtype=torch.long)
            loss = self.condense.matchloss(
                self.args, both[:batch], both[batch:], of_real, labels, net
            )
            self.optimizer.zero_grad()
            loss.backward()
            self.optimizer.step()


def _stand_in(name: str, *parts: str) -> None:
    """Modules that have every name, so that they can be imported from."""
    module = sys.modules.setdefault(name, MagicMock())
    for part in parts:
        sys.modules.setdefault(f"{name}.{part}", getattr(module, part))
