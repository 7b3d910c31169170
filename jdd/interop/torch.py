"""PyTorch state dicts of the reference networks to our variables."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree

from jdd.nn.model import Model, Variables

_BUFFERS = ("running_mean", "running_var")


def params_from_torch(model: Model, state_dict: Mapping[str, np.ndarray]) -> Variables:
    """Variables of ``model`` from the state dict of the same network in PyTorch.

    It takes the state dicts of the papers' networks (``jdd.nn.NETWORKS``). Layers are matched by kind
    and order (first convolution to first convolution, and so on), so the names in the state dict do
    not matter beyond grouping. Kernels go from OIHW to HWIO, dense
    kernels from (out, in) to (in, out), layer-norm scales from CHW to HWC, and the first dense
    layer behind a feature map from the (channel, height, width) order of PyTorch's flatten to our
    (height, width, channel).

    Args:
      model: the network to fill.
      state_dict: parameter name to array, in the order of PyTorch's ``state_dict()``; tensors must
        be converted to numpy (``{k: v.numpy() for k, v in net.state_dict().items()}``).

    Returns:
      ``{"params": ...}``, with ``"batch_stats"`` where the network has BatchNorm.

    Raises:
      ValueError: if the state dict does not fit the model, naming the first layer that does not.

    >>> from jdd.nn import convnet
    >>> model = convnet(2, (4, 4, 3), width=1, depth=1, norm="none")
    >>> state = {
    ...     "features.0.weight": np.ones((1, 3, 3, 3)),
    ...     "features.0.bias": np.zeros(1),
    ...     "classifier.weight": np.ones((2, 4)),
    ...     "classifier.bias": np.zeros(2),
    ... }
    >>> params_from_torch(model, state)["params"]["conv0"]["kernel"].shape
    (3, 3, 3, 1)
    """
    target = jax.eval_shape(lambda: model.init(jax.random.key(0)))
    layers = _torch_layers(state_dict)
    height, width, channels = _last_map(model)
    stats = dict(target.get("batch_stats", {}))
    params: dict[str, dict[str, Any]] = {}
    for kind in ("conv", "norm", "dense"):
        names = [n for n in _in_order(target["params"]) if _kind(target["params"][n]) == kind]
        if len(names) != len(layers[kind]):
            raise ValueError(
                f"{model.name} has {len(names)} {kind} layers, the state dict {len(layers[kind])}"
            )
        for i, (name, (prefix, layer)) in enumerate(zip(names, layers[kind], strict=True)):
            if kind == "dense" and i == 0:
                layer = {
                    **layer,
                    "weight": _reorder_flatten(layer["weight"], channels, height, width),
                }
            needed = ["weight", *(["bias"] if "bias" in target["params"][name] else [])]
            needed += _BUFFERS if name in stats else []
            if set(layer) != set(needed):
                raise ValueError(
                    f"layer '{prefix}' has tensors {', '.join(layer)}; {name} of the model needs "
                    f"{', '.join(needed)}"
                )
            params[name] = _convert(kind, layer)
            _check_shapes(prefix, name, params[name], target["params"][name])
            if name in stats:
                moments = {"mean": layer["running_mean"], "var": layer["running_var"]}
                _check_shapes(prefix, name, moments, target["batch_stats"][name])
                stats[name] = moments
    variables = {"params": params, **({"batch_stats": stats} if stats else {})}
    return jax.tree.map(jnp.asarray, variables)


def order_from_torch(model: Model, shapes: Sequence[tuple[int, ...]]) -> np.ndarray:
    """Where the numbers of a flattened network of ours are in the flattened one of PyTorch.

    Args:
      model: the network.
      shapes: of the tensors of PyTorch's ``net.parameters()``, in its order: every layer's weight, then its
        bias.

    Returns:
      int64 ``[P]``: ``ravel_pytree(variables["params"])[0] == torch_flat[order]``, where torch_flat is all
      tensors flattened and joined.

    Raises:
      ValueError: if the tensors are not those of the network.

    >>> from jdd.nn import convnet
    >>> model = convnet(2, (4, 4, 3), width=1, depth=1, norm="none")
    >>> order_from_torch(model, [(1, 3, 3, 3), (1,), (2, 4), (2,)])[
    ...     :3
    ... ].tolist()  # the classifier's bias first
    [36, 37, 28]
    """
    sizes = [int(np.prod(shape)) for shape in shapes]
    first = np.cumsum([0, *sizes])[:-1]
    # Numbers of places go the way of the weights.
    tensors = [
        np.arange(start, start + size).reshape(shape)
        for start, size, shape in zip(first, sizes, shapes, strict=True)
    ]
    target = jax.eval_shape(lambda: model.init(jax.random.key(0)))["params"]
    has_bias = {
        kind: ["bias" in target[n] for n in _in_order(target) if _kind(target[n]) == kind]
        for kind in ("conv", "norm", "dense")
    }
    names: list[str] = []
    while len(names) < len(tensors):
        kind = {4: "conv", 2: "dense"}.get(tensors[len(names)].ndim, "norm")
        if not has_bias[kind]:
            shape = shapes[len(names)]
            raise ValueError(f"{model.name} has no layer for tensor {len(names)}, of shape {shape}")
        layer = len(names)
        names += [f"{layer}.weight"] + ([f"{layer}.bias"] if has_bias[kind].pop(0) else [])
    if len(names) > len(tensors):
        raise ValueError(f"{model.name} has more tensors than the {len(tensors)} that were given")
    placed = params_from_torch(model, dict(zip(names, tensors, strict=True)))["params"]
    return np.asarray(ravel_pytree(placed)[0], np.int64)


def _torch_layers(
    state_dict: Mapping[str, np.ndarray],
) -> dict[str, list[tuple[str, dict[str, np.ndarray]]]]:
    grouped: dict[str, dict[str, np.ndarray]] = {}
    for name, value in state_dict.items():
        prefix, _, leaf = name.rpartition(".")
        if leaf != "num_batches_tracked":
            grouped.setdefault(prefix, {})[leaf] = np.asarray(value)
    layers: dict[str, list[tuple[str, dict[str, np.ndarray]]]] = {
        "conv": [],
        "norm": [],
        "dense": [],
    }
    for prefix, layer in grouped.items():
        if "weight" not in layer or not set(layer) <= {"weight", "bias", *_BUFFERS}:
            raise ValueError(
                f"layer '{prefix}' of the state dict has unknown tensors {sorted(layer)}"
            )
        kind = {4: "conv", 2: "dense", 1: "norm", 3: "norm"}.get(layer["weight"].ndim)
        if kind is None:
            raise ValueError(f"layer '{prefix}' has a weight of rank {layer['weight'].ndim}")
        layers[kind].append((prefix, layer))
    return layers


def _kind(layer: Mapping[str, Any]) -> str:
    if "scale" in layer:
        return "norm"
    return "conv" if layer["kernel"].ndim == 4 else "dense"


def _in_order(names: Mapping[str, Any]) -> list[str]:
    """By the numbers in the names, as layers follow each other; the classifier is the last."""

    def place(name: str) -> tuple[bool, list[str | int]]:
        parts = re.split(r"(\d+)", name)
        return name == "classifier", [int(part) if part.isdigit() else part for part in parts]

    return sorted(names, key=place)


def _convert(kind: str, layer: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    weight = layer["weight"]
    bias = {"bias": layer["bias"]} if "bias" in layer else {}
    if kind == "norm":
        to_hwc = (lambda x: x.transpose(1, 2, 0)) if weight.ndim == 3 else (lambda x: x)
        return {"scale": to_hwc(weight), **{name: to_hwc(x) for name, x in bias.items()}}
    return {"kernel": weight.transpose(2, 3, 1, 0) if kind == "conv" else weight.T, **bias}


def _reorder_flatten(weight: np.ndarray, channels: int, height: int, width: int) -> np.ndarray:
    if weight.shape[1] != channels * height * width:
        raise ValueError(
            f"the first dense layer takes {weight.shape[1]} features in the state dict, "
            f"{channels * height * width} in the model"
        )
    by_position = weight.reshape(-1, channels, height, width)
    return by_position.transpose(0, 2, 3, 1).reshape(weight.shape)


def _last_map(model: Model) -> tuple[int, int, int]:
    """The shape of the map that the first dense layer flattens; of the image where there is none."""
    image = jax.ShapeDtypeStruct((1, *model.image_shape), jnp.float32)
    variables = jax.eval_shape(lambda: model.init(jax.random.key(0)))
    taps, _ = jax.eval_shape(model.features, variables, image)
    return [image.shape[1:], *(tap.shape[1:] for tap in taps if tap.ndim == 4)][-1]


def _check_shapes(prefix: str, name: str, got: Mapping[str, Any], want: Mapping[str, Any]) -> None:
    got_shapes = {leaf: tuple(value.shape) for leaf, value in got.items()}
    want_shapes = {leaf: tuple(value.shape) for leaf, value in want.items()}
    if got_shapes != want_shapes:
        raise ValueError(
            f"layer '{prefix}' gives {got_shapes}, {name} of the model has {want_shapes}"
        )
