"""Runs the original PyTorch functions of DC / DSA / DM, or of CAFE, from a clone given by path, for comparison.

The clone is https://github.com/VICO-UoE/DatasetCondensation at 53f63a6, or for CAFE, which grew out of it,
https://github.com/kaiwang960112/CAFE at b718ff5. Nothing of them is copied here: their modules are imported as
they are, with stand-ins for what is missing or has broken since torch 1.2: torchvision (never used by what we
call), `scipy.ndimage.interpolation`, and two shims around `DiffAugment` (siamese augmentation of one image
writes to overlapping memory with torch 2.x, and crop returns strides that `view` refuses).
"""

from __future__ import annotations

import importlib
import sys
import types
from pathlib import Path
from typing import Any

import torch  # pyright: ignore[reportMissingImports]


class Original:
    """The original's networks and functions, with the arguments that its main program would set."""

    def __init__(
        self, clone: Path, *, ipc: int, num_classes: int = 10, channels: int = 3, side: int = 32
    ):
        if not (clone / "networks.py").is_file():
            raise ValueError(f"--original must be a clone of the original code, got {clone}")
        _stand_ins()
        sys.path.insert(0, str(clone))
        self.utils: Any = importlib.import_module("utils")
        self.num_classes, self.ipc, self.channels, self.side = num_classes, ipc, channels, side
        self.args = types.SimpleNamespace(
            device="cpu",
            dis_metric="ours",
            dsa=True,
            dsa_strategy="color_crop_cutout_flip_scale_rotate",
            dsa_param=self.utils.ParamDiffAug(),
            dc_aug_param=None,
            lr_net=0.01,
            batch_train=256,
            epoch_eval_train=1000,
        )
        augment = self.utils.DiffAugment

        def shimmed(x: Any, *args: Any, **kwargs: Any) -> Any:
            if len(x) == 1:
                return augment(torch.cat([x, x]), *args, **kwargs)[:1].contiguous()
            return augment(x, *args, **kwargs).contiguous()

        self.utils.DiffAugment = shimmed

    def operands(self, *, learning_rate: float, per_class: int = 300) -> tuple[Any, Any, Any]:
        """Random real images by class, random synthetic images, and the optimiser of these."""
        shape = (self.channels, self.side, self.side)
        real = [torch.randn(per_class, *shape) for _ in range(self.num_classes)]
        synthetic = torch.randn(self.num_classes * self.ipc, *shape, requires_grad=True)
        return real, synthetic, torch.optim.SGD([synthetic], lr=learning_rate, momentum=0.5)

    def network(self) -> Any:
        """A fresh ConvNet."""
        size = (self.side, self.side)
        return self.utils.get_network("ConvNet", self.channels, self.num_classes, size).train()

    def iteration(
        self, real: Any, synthetic: Any, optimizer: Any, seed: int, batch: int = 256
    ) -> float:
        """One image update of DSA on a fresh network: what the main program does for IPC 1."""
        net = self.network()
        criterion = torch.nn.CrossEntropyLoss()
        parameters = list(net.parameters())
        total = torch.tensor(0.0)
        for c in range(self.num_classes):
            chosen = torch.randperm(len(real[c]))[:batch]
            sides = []
            of_class = synthetic[c * self.ipc : (c + 1) * self.ipc]
            for images in (real[c][chosen], of_class):
                images = self.utils.DiffAugment(
                    images, self.args.dsa_strategy, seed=seed + c, param=self.args.dsa_param
                )
                labels = torch.full((len(images),), c, dtype=torch.long)
                loss = criterion(net(images), labels)
                is_real = not sides
                gradient = torch.autograd.grad(loss, parameters, create_graph=not is_real)
                sides.append([g.detach().clone() for g in gradient] if is_real else list(gradient))
            total = total + self.utils.match_loss(sides[1], sides[0], self.args)
        optimizer.zero_grad()
        total.backward()
        optimizer.step()
        return float(total.detach())

    def embedding_iteration(
        self, real: Any, synthetic: Any, optimizer: Any, seed: int, batch: int = 256
    ) -> float:
        """One image update of DM on a fresh network: what its main program does."""
        net = self.network()
        for parameter in net.parameters():
            parameter.requires_grad = False
        total = torch.tensor(0.0)
        for c in range(self.num_classes):
            chosen = torch.randperm(len(real[c]))[:batch]
            of_class = synthetic[c * self.ipc : (c + 1) * self.ipc]
            means = []
            for images in (real[c][chosen], of_class):
                images = self.utils.DiffAugment(
                    images, self.args.dsa_strategy, seed=seed + c, param=self.args.dsa_param
                )
                means.append(net.embed(images).mean(0))
            total = total + ((means[0].detach() - means[1]) ** 2).sum()
        optimizer.zero_grad()
        total.backward()
        optimizer.step()
        return float(total.detach())

    def feature_iteration(
        self, real: Any, synthetic: Any, optimizer: Any, batch: int = 256
    ) -> float:
        """One image update of CAFE on a fresh network, at its default weights, without augmentation.

        Needs CAFE's clone, whose networks give their features, deepest first.
        """
        middle = importlib.import_module("distill").criterion_middle
        net = self.network()
        chosen = torch.cat([of_class[torch.randperm(len(of_class))[:batch]] for of_class in real])
        labels = torch.arange(self.num_classes).repeat_interleave(batch)
        logits, of_real = net(chosen)
        _, of_synthetic = net(synthetic)
        weights = (1.0, 1.0, 1.0, 0.1, 0.1)  # of f5 (f4 flattened), f4, f3, f2, f1
        total = torch.nn.functional.cross_entropy(logits, labels)
        for weight, r, s in zip(weights, of_real, of_synthetic, strict=True):
            total = total + weight * middle(r, s)
        centres = of_synthetic[0].view(self.num_classes, self.ipc, -1).mean(1)
        scores = of_real[0] @ centres.t()
        total = total + 0.01 * torch.nn.functional.cross_entropy(scores, labels, reduction="sum")
        optimizer.zero_grad()
        total.backward()
        optimizer.step()
        return float(total.detach())

    def evaluate(self, images: Any, labels: Any, test: Any, networks: int) -> list[float]:
        """The original's evaluation loop, network after network."""
        accuracies = []
        for i in range(networks):
            net = self.network()
            result = self.utils.evaluate_synset(i, net, images, labels, test, self.args)
            accuracies.append(result[2])
        return accuracies


def _stand_ins() -> None:
    torchvision = types.ModuleType("torchvision")
    for name in ("datasets", "transforms", "utils"):
        module = types.ModuleType(f"torchvision.{name}")
        module.__dict__["save_image"] = None  # imported by a main program, never called
        setattr(torchvision, name, module)
        sys.modules[module.__name__] = module
    sys.modules["torchvision"] = torchvision
    interpolation = types.ModuleType("scipy.ndimage.interpolation")
    interpolation.rotate = importlib.import_module("scipy.ndimage").rotate  # type: ignore[attr-defined]
    sys.modules["scipy.ndimage.interpolation"] = interpolation
