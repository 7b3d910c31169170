"""The artefact of a distillation: one safetensors file that says how its images are to be used.

The file holds the tensors ``images`` and ``labels`` (and whatever further arrays a parametrisation
needs), and in its header, under the key ``jdd``, the metadata as JSON. A copy of that JSON lies
beside it for people to read. Nothing is pickled: any safetensors reader opens it, also in PyTorch.
"""

from __future__ import annotations

import dataclasses
import importlib.metadata
import json
import math
import platform
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import safetensors
import safetensors.numpy

from jdd.atomic_write import write_atomically
from jdd.checksums import tensors_checksum
from jdd.validation import one_of

FORMAT_VERSION = 1
SPACES = ("normalised", "raw01")
LAYOUTS = ("NHWC",)
DECODES = ("none",)
SUFFIX = ".safetensors"
_HEADER_KEY = "jdd"
_OWN_TENSORS = ("images", "labels")


def versions() -> dict[str, str]:
    """The versions of jdd, jax, jaxlib, flax and Python that are running."""
    found = {"python": platform.python_version()}
    for package in ("jdd", "jax", "jaxlib", "flax"):
        try:
            found[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            found[package] = "not installed"
    return found


@dataclasses.dataclass(frozen=True)
class Augmentation:
    """What to augment a distilled set with when training on it, such as ("dsa", "crop_flip")."""

    name: str
    strategy: str = ""

    def __post_init__(self) -> None:
        _require_strings("augmentation", {"name": self.name, "strategy": self.strategy})
        _require(bool(self.name), "augmentation name is empty")


@dataclasses.dataclass(frozen=True)
class Metadata:
    """Everything that must be known to use a distilled set as it was meant.

    Attributes:
        method: the name of the method that made it.
        dataset: the name of the data set it stands for.
        class_names: one name for each label, in the order of the labels.
        ipc: images per class, in the method's own sense (its storage budget).
        space: in which space ``images`` are. ``"normalised"``: ``(pixel - mean) / std``, the space
            that networks are trained in; ``"raw01"``: pixels in [0, 1].
        mean: of each channel, of pixels in [0, 1]; what a network's input is normalised with.
        std: likewise.
        layout: of ``images``; always ``"NHWC"``.
        decode: how ``images`` become training images; ``"none"``: they are training images.
        augmentation: what to augment with when training on it; None for nothing.
        protocol: the name of the evaluation protocol that it is meant for.
        recipe: that protocol as it was then, ``evaluate.EvaluationProtocol.record()`` (JSON); empty where only
            the name was written down.
        learned_lr: the step size that was learned with it, for methods that learn one.
        options: the resolved options of the run (JSON).
        seed: of the run.
        versions: of the packages that made it.
        results: what was measured with it (JSON), by name.

    Raises:
        ValueError: if a value is of the wrong type or not allowed; the message names the field.
    """

    method: str
    dataset: str
    class_names: tuple[str, ...]
    ipc: int
    space: str
    mean: tuple[float, ...]
    std: tuple[float, ...]
    layout: str = "NHWC"
    decode: str = "none"
    augmentation: Augmentation | None = None
    protocol: str = ""
    recipe: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    learned_lr: float | None = None
    options: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    seed: int | None = None
    versions: Mapping[str, str] = dataclasses.field(default_factory=versions)
    results: Mapping[str, Any] = dataclasses.field(default_factory=dict)

    def __post_init__(self) -> None:
        strings = ("method", "dataset", "space", "layout", "decode", "protocol")
        _require_strings("metadata", {name: getattr(self, name) for name in strings})
        one_of("space", self.space, SPACES)
        one_of("layout", self.layout, LAYOUTS)
        one_of("decode", self.decode, DECODES)
        for name in ("class_names", "mean", "std"):
            value = getattr(self, name)
            _require(isinstance(value, (tuple, list)), f"{name} is {value!r}, not a sequence")
            object.__setattr__(self, name, tuple(value))
        _require(len(self.class_names) > 0, "class_names is empty")
        _require_strings("class_names", dict(enumerate(self.class_names)))
        repeated = sorted({name for name in self.class_names if self.class_names.count(name) > 1})
        _require(not repeated, f"class_names repeats {', '.join(map(repr, repeated))}")
        _require(_is_int(self.ipc) and self.ipc > 0, f"ipc is {self.ipc!r}, not a positive integer")
        _require(self.seed is None or _is_int(self.seed), f"seed is {self.seed!r}, not an integer")
        _require(len(self.mean) == len(self.std), "mean and std have different lengths")
        for name in ("mean", "std"):
            for value in getattr(self, name):
                _require(_is_finite(value), f"{name} holds {value!r}, not a finite number")
        _require(all(x > 0 for x in self.std), f"std is {self.std}, but must be positive")
        lr = self.learned_lr
        _require(
            lr is None or (_is_finite(lr) and lr > 0),
            f"learned_lr is {lr!r}, not a positive number",
        )
        _require(
            self.augmentation is None or isinstance(self.augmentation, Augmentation),
            f"augmentation is {self.augmentation!r}, not an Augmentation",
        )
        for name in ("recipe", "options", "versions", "results"):
            object.__setattr__(self, name, _json_mapping(name, getattr(self, name)))

    def to_json(self, **more: Any) -> str:
        """The metadata as JSON text, with the format's version and whatever ``more`` there is."""
        text = {"format_version": FORMAT_VERSION} | dataclasses.asdict(self) | more
        return json.dumps(text, indent=2)

    @classmethod
    def from_json(cls, text: str) -> Metadata:
        """The metadata that ``to_json`` wrote; keys unknown to this version are passed over.

        Raises:
            ValueError: if the text is no JSON object, the format is newer than this version of jdd
                reads, a required key is missing, or a value is not allowed.
        """
        try:
            values = json.loads(text)
        except json.JSONDecodeError as error:
            raise ValueError(f"the metadata is not JSON: {error}") from None
        _require(isinstance(values, dict), "the metadata is not a JSON object")
        version = values.get("format_version")
        _require(_is_int(version), f"format_version is {version!r}, not an integer")
        if version > FORMAT_VERSION:
            newest = f"{FORMAT_VERSION}, the newest that this jdd reads"
            raise ValueError(f"format version {version} is newer than {newest}")
        fields = {field.name: field for field in dataclasses.fields(cls)}
        for name, field in fields.items():
            optional = field.default_factory is not dataclasses.MISSING
            optional = optional or field.default is not dataclasses.MISSING
            _require(optional or name in values, f"the metadata lacks {name}")
        # What made an old file is not what runs now: the defaults of today must not stand in.
        known: dict[str, Any] = {"versions": {}}
        known |= {name: values[name] for name in fields if name in values}
        if isinstance(known.get("augmentation"), dict):
            entries = known["augmentation"]
            _require("name" in entries, "augmentation lacks its name")
            known["augmentation"] = Augmentation(entries["name"], entries.get("strategy", ""))
        return cls(**known)


@dataclasses.dataclass(frozen=True, eq=False)
class DistilledSet:
    """A distilled set: images, labels, and what must be known to use them.

    Attributes:
        images: float32 ``[N, H, W, C]``, in the space that the metadata names.
        labels: int32 ``[N]``, or float32 ``[N, num_classes]`` where labels are soft.
        metadata: how to use them, and where they come from.
        tensors: further arrays that a parametrisation needs to make images, by name.

    Raises:
        ValueError: if shapes, dtypes or values do not fit together; the message says which.

    Example:
        >>> import tempfile
        >>> metadata = Metadata("dsa", "toy", ("cat", "dog"), 1, "normalised", (0.5,), (0.25,))
        >>> distilled = DistilledSet(np.zeros((2, 8, 8, 1), np.float32), np.arange(2), metadata)
        >>> with tempfile.TemporaryDirectory() as directory:
        ...     path = distilled.save(f"{directory}/set.safetensors")
        ...     DistilledSet.load(path).pixels()[0, 0, 0]
        array([128], dtype=uint8)
    """

    images: np.ndarray
    labels: np.ndarray
    metadata: Metadata
    tensors: Mapping[str, np.ndarray] = dataclasses.field(default_factory=dict)

    def __post_init__(self) -> None:
        object.__setattr__(self, "images", np.asarray(self.images))
        object.__setattr__(self, "labels", np.asarray(self.labels))
        object.__setattr__(self, "tensors", {k: np.asarray(v) for k, v in self.tensors.items()})
        self._check_images()
        self._check_labels()
        clash = [name for name in self.tensors if name in _OWN_TENSORS]
        _require(not clash, f"a further tensor cannot be named {' or '.join(clash)}")
        for name, tensor in self.tensors.items():
            _require(tensor.dtype.kind in "biuf", f"{name} are {tensor.dtype}, not numbers")
            _require_finite(name, tensor)

    @property
    def num_classes(self) -> int:
        """How many classes the set stands for."""
        return len(self.metadata.class_names)

    @property
    def ipc(self) -> int:
        """Images per class, in the method's own sense."""
        return self.metadata.ipc

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """``(H, W, C)``."""
        height, width, channels = self.images.shape[1:]
        return height, width, channels

    def normalised(self) -> np.ndarray:
        """The images in the space that networks are trained in, float32 ``[N, H, W, C]``."""
        if self.metadata.space == "normalised":
            return self.images
        return (self.images - _row(self.metadata.mean)) / _row(self.metadata.std)

    def pixels(self) -> np.ndarray:
        """The images as people see them, clipped, uint8 ``[N, H, W, C]``."""
        raw = self.images
        if self.metadata.space == "normalised":
            raw = raw * _row(self.metadata.std) + _row(self.metadata.mean)
        return np.rint(np.clip(raw, 0.0, 1.0) * 255.0).astype(np.uint8)

    def save(self, path: str | Path, *, overwrite: bool = False) -> Path:
        """Writes the set to ``path``, and its metadata beside it as ``.json``.

        Each file is written under another name, flushed to the disk and then renamed, so that no
        reader ever sees half of one.

        Returns:
            ``path``.

        Raises:
            ValueError: if ``path`` does not end in ``.safetensors``, its folder does not exist, or
                one of the two files does already and ``overwrite`` is not set.
        """
        path = Path(path)
        if path.suffix != SUFFIX:
            raise ValueError(f"{path}: the name of a distilled set must end in {SUFFIX}")
        if not path.parent.is_dir():
            raise ValueError(f"{path}: there is no folder {path.parent}")
        beside = path.with_suffix(".json")
        for file in (path, beside):
            if file.exists() and not overwrite:
                raise ValueError(f"{file} already exists")
        # In C order: safetensors writes the memory as it lies.
        tensors = {k: np.array(v, order="C") for k, v in {**self.tensors, **self._own()}.items()}
        text = self.metadata.to_json(sum=tensors_checksum(self.metadata.to_json(), tensors))
        content = safetensors.numpy.save(tensors, metadata={_HEADER_KEY: text})
        write_atomically(path, content)
        write_atomically(beside, (text + "\n").encode())
        return path

    @classmethod
    def load(cls, path: str | Path) -> DistilledSet:
        """The set that ``save`` wrote to ``path``, checked.

        Raises:
            ValueError: in one line that starts with the path: if there is no such file, it is cut
                off or no safetensors file, jdd did not write it, or its content is not allowed or
                not what was saved.
        """
        path = Path(path)
        if not path.is_file():
            what = "is a folder, not a file" if path.is_dir() else "there is no such file"
            raise ValueError(f"{path}: {what}")
        try:
            with safetensors.safe_open(path, framework="numpy") as file:
                header = file.metadata() or {}
                tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        except (safetensors.SafetensorError, OSError, TypeError, ValueError) as error:
            raise ValueError(f"{path}: not a whole safetensors file ({_one_line(error)})") from None
        if _HEADER_KEY not in header:
            raise ValueError(f"{path}: a safetensors file, but not a distilled set of jdd")
        try:
            metadata = Metadata.from_json(header[_HEADER_KEY])
            missing = [name for name in _OWN_TENSORS if name not in tensors]
            _require(not missing, f"the file holds no {' and no '.join(missing)}")
            # The sets of jdd 0.1, and of others, have no sum.
            saved = json.loads(header[_HEADER_KEY]).get("sum")
            as_saved = saved in (None, tensors_checksum(header[_HEADER_KEY], tensors))
            _require(as_saved, "not what was saved: the file is damaged, or was edited")
            return cls(tensors.pop("images"), tensors.pop("labels"), metadata, tensors)
        except ValueError as error:
            raise ValueError(f"{path}: {_one_line(error)}") from None

    def _own(self) -> dict[str, np.ndarray]:
        return {"images": self.images, "labels": self.labels}

    def _check_images(self) -> None:
        images = self.images
        _require(images.dtype == np.float32, f"images are {images.dtype}, not float32")
        _require(images.ndim == 4, f"images have shape {images.shape}, not [N, H, W, C]")
        _require(images.size > 0, f"images have shape {images.shape}: there are none")
        channels = len(self.metadata.mean)
        _require(
            images.shape[-1] == channels,
            f"images have {images.shape[-1]} channels, but mean and std have {channels}",
        )
        _require_finite("images", images)

    def _check_labels(self) -> None:
        labels, count, classes = self.labels, len(self.images), self.num_classes
        _require(
            labels.ndim > 0 and len(labels) == count,
            f"labels have shape {labels.shape}, but there are {count} images",
        )
        if labels.ndim == 2:
            _require(labels.dtype == np.float32, f"soft labels are {labels.dtype}, not float32")
            _require(
                labels.shape[-1] == classes,
                f"soft labels have {labels.shape[-1]} columns, but there are {classes} classes",
            )
            _require_finite("labels", labels)
            return
        _require(labels.ndim == 1, f"labels have shape {labels.shape}, not [N] or [N, num_classes]")
        _require(
            np.issubdtype(labels.dtype, np.integer), f"hard labels are {labels.dtype}, not integers"
        )
        low, high = int(labels.min()), int(labels.max())
        _require(
            low >= 0 and high < classes,
            f"labels run from {low} to {high}, but there are {classes} classes",
        )
        object.__setattr__(self, "labels", labels.astype(np.int32))
        if self.metadata.decode == "none":
            for label, n in enumerate(np.bincount(self.labels, minlength=classes)):
                name = self.metadata.class_names[label]
                _require(n == self.ipc, f"class {name!r} has {n} images, but ipc is {self.ipc}")


def _row(values: tuple[float, ...]) -> np.ndarray:
    return np.asarray(values, np.float32)


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())


def _require(condition: bool, message: str) -> None:
    if not condition:
        raise ValueError(message)


def _require_strings(owner: str, values: Mapping[Any, Any]) -> None:
    for name, value in values.items():
        _require(isinstance(value, str), f"{owner}: {name} is {value!r}, not a string")


def _require_finite(name: str, array: np.ndarray) -> None:
    bad = int(np.sum(~np.isfinite(array)))
    _require(bad == 0, f"{name} hold {bad} values that are not finite")


def _is_int(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _is_finite(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)


def _json_mapping(name: str, value: Any) -> dict[str, Any]:
    """The mapping as it reads after a round trip through JSON."""
    _require(isinstance(value, Mapping), f"{name} is {value!r}, not a mapping")
    try:
        return json.loads(json.dumps(dict(value), allow_nan=False))
    except (TypeError, ValueError) as error:
        raise ValueError(f"{name} must be JSON: {error}") from None
