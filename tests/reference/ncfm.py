"""Records ncfm.npz by running the functions of NCFM's code on the CPU.

    git clone https://github.com/gszfwsb/NCFM clone
    git -C clone checkout de92fb8a6d85562ef2df0ca4bbc74012f62b0d15
    pip install torch numpy
    python tests/reference/ncfm.py clone tests/reference/ncfm.npz

What is run: ``CFLossFunc`` and ``match_loss`` of NCFM/NCFM.py, ``ConvNet`` of models/convnet.py. The frequencies,
which ``match_loss`` draws or takes from its sampling network, come from outside through the place of
that network.
"""

from __future__ import annotations

import importlib.util
import json
import sys
import types
from pathlib import Path
from typing import Any

import numpy as np

COMMIT = "de92fb8a6d85562ef2df0ca4bbc74012f62b0d15"
SEED = 81000
LOSSES = {  # name: real images, synthetic images, features, frequencies, alpha, beta, std of the frequencies
    "even": (9, 3, 20, 64, 0.5, 0.5, 1.0),
    "amplitude": (9, 4, 20, 64, 0.9, 0.1, 1.0),
    "phase": (5, 1, 12, 32, 0.1, 0.9, 1.0),
    "wide": (9, 3, 20, 64, 0.5, 0.5, 4.0),
}
NETWORKS = {  # name: seed, classes, channels, side, width, real images, synthetic images, frequencies
    # Seeds for which no ReLU has an input near zero: float32 and float64 then have one gradient.
    "rgb": (114, 4, 3, 32, 12, 6, 3, 96),
    "gray": (89, 3, 1, 28, 8, 5, 2, 48),
}


def module(clone: Path, path: str) -> Any:
    """A file of the clone as a module."""
    spec = importlib.util.spec_from_file_location(Path(path).stem, clone / path)
    assert spec is not None and spec.loader is not None
    loaded = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(loaded)
    return loaded


def sixty_fourths(rng: np.random.Generator, *shape: int) -> np.ndarray:
    """Normal numbers, rounded so that float32 and float64 hold the same."""
    return (np.round(rng.normal(size=shape) * 64) / 64).astype(np.float32)


def of_features(original: Any, inputs: dict[str, Any], dtype: Any) -> tuple[Any, Any]:
    """The loss of two sets of features and its gradient in the synthetic ones."""
    import torch  # pyright: ignore[reportMissingImports]

    real, syn, frequencies = (
        torch.tensor(inputs[name], dtype=dtype) for name in ("real", "syn", "frequencies")
    )
    syn.requires_grad_(True)
    loss = original.CFLossFunc(float(inputs["alpha"]), float(inputs["beta"]))(
        real, syn, frequencies
    )
    loss.backward()
    return loss.detach().numpy(), syn.grad.numpy()


def of_images(original: Any, network: Any, inputs: dict[str, Any], dtype: Any) -> tuple[Any, Any]:
    """The matching loss of two batches of images and its gradient in the synthetic ones."""
    import torch  # pyright: ignore[reportMissingImports]

    real, syn, frequencies = (
        torch.tensor(inputs[name], dtype=dtype) for name in ("real", "syn", "frequencies")
    )
    syn.requires_grad_(True)
    args = types.SimpleNamespace(device="cpu", cf_loss_func=original.CFLossFunc(0.5, 0.5))
    loss = original.match_loss(real, syn, network.to(dtype), lambda device: frequencies, args)
    loss.backward()
    return loss.detach().numpy(), syn.grad.numpy()


def weights_of(network: Any, names: list[str]) -> dict[str, np.ndarray]:
    """The parameters of the original's ConvNet under the names of the other reference files."""
    layers = network.layers
    arrays = {}
    for i, (convolution, norm) in enumerate(zip(layers["conv"], layers["norm"], strict=True)):
        for name, layer in ((f"conv{i}", convolution), (f"norm{i}", norm)):
            arrays[f"{name}.weight"], arrays[f"{name}.bias"] = layer.weight, layer.bias
    arrays["fc.weight"], arrays["fc.bias"] = network.classifier.weight, network.classifier.bias
    names[:] = list(arrays)
    return {name: value.detach().numpy() for name, value in arrays.items()}


def main(clone: Path, out: Path) -> None:
    """Runs everything in float32 and float64 and writes the arrays."""
    import torch  # pyright: ignore[reportMissingImports]

    torch.set_num_threads(1)
    rng = np.random.default_rng(SEED)
    original = module(clone, "NCFM/NCFM.py")
    convnet = module(clone, "models/convnet.py").ConvNet
    arrays: dict[str, Any] = {}
    errors: dict[str, float] = {}

    def record(name: str, inputs: dict[str, Any], run: Any) -> None:
        loss, gradient = run(torch.float32)
        loss_f64, gradient_f64 = run(torch.float64)
        results = {"loss": loss, "grad": gradient, "loss_f64": loss_f64, "grad_f64": gradient_f64}
        arrays.update({f"{name}.{key}": value for key, value in (inputs | results).items()})
        errors[name] = float(np.linalg.norm(gradient - gradient_f64) / np.linalg.norm(gradient_f64))

    for name, (n, m, d, k, alpha, beta, std) in LOSSES.items():
        real, syn = sixty_fourths(rng, n, d), sixty_fourths(rng, m, d)
        inputs = {
            # About of length 1, as the features that the authors normalise.
            "real": real / 4,
            "syn": syn / 4,
            "frequencies": sixty_fourths(rng, k, d) * np.float32(std),
            "alpha": np.float64(alpha),
            "beta": np.float64(beta),
        }
        record(name, inputs, lambda dtype, inputs=inputs: of_features(original, inputs, dtype))
    names: list[str] = []
    for name, (seed, classes, channels, side, width, n, m, k) in NETWORKS.items():
        torch.manual_seed(seed)
        rng = np.random.default_rng(seed)
        network = convnet(classes, net_width=width, channel=channels, im_size=(side, side))
        for parameter in network.parameters():  # norms and biases too
            parameter.data += 0.1 * torch.randn_like(parameter)
        weights = weights_of(network, names)
        features = 16 * width
        inputs = {
            "real": sixty_fourths(rng, n, channels, side, side),
            "syn": sixty_fourths(rng, m, channels, side, side),
            "frequencies": sixty_fourths(rng, k, features),
        }
        stored = {f"{name}.w.{key}": value.copy() for key, value in weights.items()}
        arrays.update(stored)
        record(
            name,
            inputs,
            lambda dtype, inputs=inputs, network=network: of_images(
                original, network, inputs, dtype
            ),
        )
    meta = {
        "official": [{"repo": "https://github.com/gszfwsb/NCFM", "commit": COMMIT}],
        "functions": ["NCFM.CFLossFunc.forward", "NCFM.match_loss", "models.convnet.ConvNet"],
        "seed": SEED,
        "torch": torch.__version__,
        "numpy": np.__version__,
        "device": "cpu",
        "threads": 1,
        "losses": LOSSES,
        "networks": NETWORKS,
        "tensors": names,
        "relative_error_of_the_float32_gradient": errors,
    }
    arrays["meta"] = np.array(json.dumps(meta))
    np.savez_compressed(out, **arrays)
    print(json.dumps(errors, indent=1), f"wrote {out}", sep="\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
