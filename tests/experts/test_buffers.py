"""The original's buffers: files of PyTorch become a store."""

from __future__ import annotations

import dataclasses
import json
import sys

import numpy as np
import pytest
from jax.flatten_util import ravel_pytree

from jdd.configuration import DataChoice
from jdd.datasets import load_dataset
from jdd.experts import ExpertPlan
from jdd.experts.buffers import import_buffers
from jdd.interop import order_from_torch, params_from_torch
from jdd.nn import network
from tests.nn.test_parity import CASES, build, weights

DATASET = load_dataset("digits", classes=["0", "1"])
NETWORK = network("convnet", width=3, depth=2)
PLAN = ExpertPlan(2, DataChoice("digits", ("0", "1")), NETWORK)
# Of the original's ConvNet, in the order of its parameters().
SHAPES = {
    "features.0.weight": (3, 1, 3, 3),
    "features.0.bias": (3,),
    "features.1.weight": (3,),
    "features.1.bias": (3,),
    "features.4.weight": (3, 3, 3, 3),
    "features.4.bias": (3,),
    "features.5.weight": (3,),
    "features.5.bias": (3,),
    "classifier.weight": (2, 27),
    "classifier.bias": (2,),
}


def networks(n: int) -> list[list[np.ndarray]]:
    rng = np.random.default_rng(0)
    return [[rng.standard_normal(s).astype(np.float32) for s in SHAPES.values()] for _ in range(n)]


def test_the_order_of_a_flattened_network():
    model = NETWORK.model(2, (8, 8, 1))
    (tensors,) = networks(1)
    order = order_from_torch(model, list(SHAPES.values()))
    flat = np.concatenate([x.ravel() for x in tensors])
    want = params_from_torch(model, dict(zip(SHAPES, tensors, strict=True)))["params"]
    np.testing.assert_array_equal(flat[order], ravel_pytree(want)[0])


@pytest.mark.parametrize(
    "nets",
    [
        ("MLP", "LeNet", "ConvNet"),
        pytest.param(("AlexNet", "VGG11", "ResNet18"), marks=pytest.mark.slow),
    ],
)
def test_the_order_is_that_of_every_network(reference, nets):
    """Of the original's state dicts, one of each network and norm without statistics."""
    arrays, seen = reference("nets"), set()
    for case in CASES:
        spec = json.loads(str(arrays[f"case{case:02d}.spec"]))
        kind = spec["net"], spec["args"].get("net_norm")
        image = arrays[spec["input"]].shape
        model, _, _ = build(spec, (*image[2:], image[1]))
        if kind in seen or model.has_batch_stats or spec["net"] not in nets:
            continue
        seen.add(kind)
        state = weights(spec, arrays[f"case{case:02d}.flat_state"])
        order = order_from_torch(model, [x.shape for x in state.values()])
        flat = np.concatenate([x.ravel() for x in state.values()])
        want = ravel_pytree(params_from_torch(model, state)["params"])[0]
        np.testing.assert_array_equal(flat[order], want, err_msg=str(kind))
    assert {net for net, _ in seen} == set(nets)


def test_other_networks_are_refused():
    model, shapes = NETWORK.model(2, (8, 8, 1)), list(SHAPES.values())
    for changed, message in (
        ([*shapes, (3,)], "no layer for tensor 10"),
        (shapes[:-2], "has 1 dense layers, the state dict 0"),
        ([(4, 1, 3, 3), (4,), *shapes[2:]], "gives"),
        (shapes[:-1], "more tensors than the 9"),
    ):
        with pytest.raises(ValueError, match=message):
            order_from_torch(model, changed)


def test_without_pytorch_it_is_named(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "torch", None)
    with pytest.raises(ValueError, match=r"needs PyTorch: pip install 'jdd\[bench\]'"):
        import_buffers(["a.pt"], PLAN, DATASET, tmp_path / "store")
    assert not (tmp_path / "store").exists()


def test_a_file_of_pytorch(tmp_path):
    torch = pytest.importorskip("torch", reason="PyTorch is not installed")
    made = networks(8)
    files = []
    for number, experts in enumerate([made[:4], made[4:]]):
        # One expert of a buffer, with one epoch more than is stored.
        snapshots = [[torch.tensor(x) for x in tensors] for tensors in experts]
        files.append(tmp_path / f"replay_buffer_{number}.pt")
        torch.save([snapshots], files[-1])
    store = import_buffers(files, PLAN, DATASET, tmp_path / "store")
    got = np.asarray(store.trajectories().snapshots)
    model = NETWORK.model(2, (8, 8, 1))
    for i, tensors in enumerate(made):
        want = params_from_torch(model, dict(zip(SHAPES, tensors, strict=True)))["params"]
        if i % 4 < 3:
            np.testing.assert_array_equal(got[i // 4, i % 4], ravel_pytree(want)[0])
    again = import_buffers(files, PLAN, DATASET, tmp_path / "store")
    assert again.fingerprint == store.fingerprint
    longer = dataclasses.replace(PLAN, epochs=5)
    with pytest.raises(ValueError, match="has 3 epochs, not 5"):
        import_buffers(files, longer, DATASET, tmp_path / "longer")
    (tmp_path / "cut.pt").write_bytes(files[0].read_bytes()[:300])
    torch.save({"a": 1}, tmp_path / "other.pt")
    for name, message in (
        ("cut", "cannot read"),
        ("other", "no list of experts"),
        ("no", "no such file"),
    ):
        with pytest.raises(ValueError, match=message):
            import_buffers([tmp_path / f"{name}.pt"], PLAN, DATASET, tmp_path / "bad")
    assert not (tmp_path / "bad").exists()
