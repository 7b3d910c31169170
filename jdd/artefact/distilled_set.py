"""A distilled set: what a parametrisation stores, with the labels and the metadata."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import jax.numpy as jnp
import numpy as np

from jdd.artefact import file
from jdd.artefact.checks import check_labels, one_line, require, require_finite
from jdd.artefact.decoding import (
    decoded_images,
    decoded_shape,
    decoding_text,
    restored,
)
from jdd.artefact.description import rows_of
from jdd.artefact.display import as_pixels
from jdd.artefact.format import format_version
from jdd.artefact.metadata import Metadata
from jdd.artefact.whitened import check_whitening, taken_from, tensors_of
from jdd.data import Whitening
from jdd.synthetic import Parametrisation, Statistics, flat, from_space

if TYPE_CHECKING:
    import torch  # pyright: ignore[reportMissingImports]

_STORED = "stored/"


@dataclasses.dataclass(frozen=True, eq=False)
class DistilledSet:
    """A distilled set: stored arrays, labels, and what must be known to use them.

    Images are decoded on first use, so that a set loads and prints even where its parametrisation is
    unknown. `from_params` makes the set of a run, `from_images` one of images.

    Attributes:
      stored: the arrays of the parametrisation by name (``Parametrisation.stored(params)``); for pixels
        ``images``, float32 ``[C, ipc, H, W, channels]``.
      labels: of the decoded images, class by class: int32 ``[N]``, or float32 ``[N, num_classes]`` where
        labels are soft.
      metadata: how to use the set, and how it was made.
      whitening: that images went through, and that test images must go through; None where they are
        normalised per channel.

    Raises:
      ValueError: if shapes, dtypes or values do not fit together; the message names which.

    Example:
      >>> import tempfile
      >>> metadata = Metadata("dsa", "toy", ("cat", "dog"), 1, "normalised", (0.5,), (0.25,))
      >>> images = np.zeros((2, 8, 8, 1), np.float32)
      >>> distilled = DistilledSet.from_images(images, np.arange(2), metadata)
      >>> with tempfile.TemporaryDirectory() as directory:
      ...     path = distilled.save(f"{directory}/set.safetensors")
      ...     DistilledSet.load(path).pixels()[0, 0, 0]
      array([128], dtype=uint8)
    """

    stored: Mapping[str, np.ndarray]
    labels: np.ndarray
    metadata: Metadata
    whitening: Whitening | None = None

    def __post_init__(self) -> None:
        require(
            isinstance(self.stored, Mapping),
            f"stored is of type {type(self.stored).__name__}, not a mapping of names to arrays: "
            "DistilledSet.from_images takes images",
        )
        stored = {name: np.asarray(x) for name, x in self.stored.items()}
        object.__setattr__(self, "stored", stored)
        object.__setattr__(self, "labels", np.asarray(self.labels))
        require(bool(stored), "stored is empty")
        for name, x in stored.items():
            require(isinstance(name, str), f"stored: the name {name!r} is not a string")
            require(x.dtype.kind in "biuf", f"{name} are {x.dtype}, not numbers")
            require_finite(name, x)
        if self.metadata.is_pixels:
            self._check_pixels()
        if self.metadata.unknown_choices():
            check_labels(self.labels, len(self.labels) if self.labels.ndim else 0, self.num_classes)
        else:
            if self.whitening is not None:
                check_whitening(self.whitening, self.image_shape)
            classes, n = self._decoded_shape[:2]
            check_labels(self.labels, classes * n, classes)
        if self.labels.ndim == 1:
            object.__setattr__(self, "labels", self.labels.astype(np.int32))
            self._check_order()

    @classmethod
    def from_params(
        cls,
        synthetic: Parametrisation,
        params: Any,
        metadata: Metadata,
        *,
        labels: Any = None,
        whitening: Whitening | None = None,
    ) -> DistilledSet:
        """Makes the set of a run: what the parametrisation stores of its parameters, with the decoded labels.

        Args:
          synthetic: the parametrisation, made by a registered factory.
          params: its parameters; those in double precision are stored in single precision.
          metadata: of the set; `synthetic`, `space` and `decode` are set here.
          labels: in place of the decoded ones: integers ``[C, n]`` or probabilities ``[C, n, K]``; None for
            those.
          whitening: of the images; None where they are normalised per channel.

        Raises:
          ValueError: if the parametrisation has no name, the decoded images do not fit the metadata or
            are not finite, or the stored arrays decode to other images than the parameters.

        >>> import jax
        >>> from jdd.synthetic import pixels
        >>> metadata = Metadata("dsa", "toy", ("cat", "dog"), 3, "normalised", (0.5,), (0.25,))
        >>> params = pixels.init(jax.random.key(0), jax.numpy.zeros((2, 3, 8, 8, 1)))
        >>> DistilledSet.from_params(pixels, params, metadata).images.shape
        (6, 8, 8, 1)
        """
        metadata = dataclasses.replace(
            metadata,
            synthetic=synthetic.to_json(),
            space=synthetic.space,
            decode=decoding_text(synthetic),
        )
        batch = synthetic.decode(params, 0)
        batch = flat(batch if labels is None else batch._replace(labels=jnp.asarray(labels)))
        arrays = {name: _single(x) for name, x in synthetic.stored(params).items()}
        distilled = cls(arrays, _single(batch.labels), metadata, whitening)
        first = distilled.images if synthetic.variants == 1 else distilled.images[:, 0]
        require(
            np.allclose(first, np.asarray(batch.images), rtol=1e-5, atol=1e-6),
            f"{synthetic}: restored(stored(params)) does not decode to the same images as params",
        )
        return distilled

    @classmethod
    def from_images(
        cls, images: np.ndarray, labels: np.ndarray, metadata: Metadata
    ) -> DistilledSet:
        """Makes a set of images, as the parametrisation by pixels stores it.

        Args:
          images: float32 ``[N, H, W, channels]`` in the space of the metadata, ``ipc`` for each class.
          labels: integers ``[N]`` in any order (images are sorted by them), or float32 ``[N, num_classes]``
            class by class.
          metadata: of the set.

        Raises:
          ValueError: if images, labels and metadata do not fit together.
        """
        require(metadata.is_pixels, f"images are pixels, but synthetic is {metadata.synthetic}")
        images, labels = np.asarray(images), np.asarray(labels)
        require(images.dtype == np.float32, f"images are {images.dtype}, not float32")
        require(images.ndim == 4, f"images have shape {images.shape}, not [N, H, W, C]")
        require(images.size > 0, f"images have shape {images.shape}: there are none")
        _check_channels(images.shape[-1], metadata)
        require_finite("images", images)
        check_labels(labels, len(images), len(metadata.class_names))
        names, ipc = metadata.class_names, metadata.ipc
        if labels.ndim == 1:
            labels = labels.astype(np.int32)
            for label, n in enumerate(np.bincount(labels, minlength=len(names))):
                require(n == ipc, f"class {names[label]!r} has {n} images, but ipc is {ipc}")
            order = np.argsort(labels, kind="stable")
            images, labels = images[order], labels[order]
        require(
            len(images) == len(names) * ipc,
            f"there are {len(images)} images, but {len(names)} classes with ipc {ipc}",
        )
        stacked = images.reshape(len(names), ipc, *images.shape[1:])
        return cls({"images": stacked}, labels, metadata)

    @property
    def num_classes(self) -> int:
        """How many classes the set stands for."""
        return len(self.metadata.class_names)

    @property
    def ipc(self) -> int:
        """Stored images per class."""
        return self.metadata.ipc

    @functools.cached_property
    def synthetic(self) -> Parametrisation:
        """The parametrisation.

        Raises:
          ValueError: if this process does not know it.
        """
        return self.metadata.parametrisation()

    @property
    def params(self) -> Any:
        """The parameters of the parametrisation, for example to continue a run from them.

        Raises:
          ValueError: if this process does not know the parametrisation, or it cannot read the arrays.
        """
        return restored(self.synthetic, self.stored)

    @property
    def num_floats(self) -> int:
        """The storage budget in numbers."""
        return int(self.synthetic.num_floats(self.params))

    @property
    def variants(self) -> int:
        """How many variants each image has."""
        return self.synthetic.variants

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """``(H, W, channels)`` of decoded images."""
        height, width, channels = self._decoded_shape[2:]
        return height, width, channels

    @functools.cached_property
    def images(self) -> np.ndarray:
        """The decoded images in the space of the metadata, class by class, float32 ``[N, H, W, channels]``.

        With V > 1 variants of each image ``[N, V, H, W, channels]``.

        Raises:
          ValueError: if this process does not know the parametrisation, or images are not finite.
        """
        images = decoded_images(self.synthetic, self.params, self.stored)
        # Not known before where the parametrisation was registered after the set was loaded.
        require(
            len(images) == len(self.labels),
            f"labels have shape {self.labels.shape}, but there are {len(images)} images",
        )
        return images

    def normalised(self) -> np.ndarray:
        """Returns the images in the space that networks are trained in, float32, shaped as `images`."""
        if self.metadata.space == "normalised":
            return self.images
        # By jax, as a run does it: numpy divides with another rounding.
        rank = (1,) * (self.images.ndim - 1)
        rows = (jnp.asarray(x, jnp.float32) for x in (self.metadata.mean, self.metadata.std))
        statistics = Statistics(*(row.reshape(*rank, -1) for row in rows))
        return np.array(from_space(self.metadata.space, jnp.asarray(self.images), statistics))

    def pixels(self) -> np.ndarray:
        """Returns the images for people, clipped, uint8, shaped as `images`."""
        return as_pixels(self, self.images)

    def to_torch(self) -> tuple[torch.Tensor, torch.Tensor]:
        """Returns the normalised images and the labels as PyTorch tensors, on the CPU, as copies.

        Returns:
          Images float32 ``[N, channels, H, W]`` (``[N, V, channels, H, W]`` with several variants), and labels
          int64 ``[N]``, or float32 ``[N, num_classes]`` where they are soft: both as
          ``torch.nn.functional.cross_entropy`` takes them.

        Raises:
          ValueError: if PyTorch is not installed.
        """
        try:
            import torch  # pyright: ignore[reportMissingImports]
        except ImportError:
            raise ValueError(
                "to_torch needs PyTorch, which is not installed (pip install torch)"
            ) from None
        images = np.array(np.moveaxis(self.normalised(), -1, -3), order="C")
        kind = np.int64 if self.labels.ndim == 1 else np.float32
        return torch.from_numpy(images), torch.from_numpy(self.labels.astype(kind))

    def describe(self) -> dict[str, str]:
        """Describes the set for people, by name of the row; also where the parametrisation is unknown."""
        return rows_of(self) | self.metadata.describe()

    def save(self, path: str | Path, *, overwrite: bool = False) -> Path:
        """Writes the set to a file, and its metadata beside it as ``.json``.

        Each file is written under another name, flushed to the disk and then renamed, so that no
        reader sees half of one.

        Args:
          path: must end in ``.safetensors``.
          overwrite: whether to replace files that exist.

        Returns:
          The path.

        Raises:
          ValueError: if the path does not end in ``.safetensors``, its folder does not exist, or one of the
            two files exists and overwrite is not set.
        """
        if self.metadata.is_pixels:
            images = self.stored["images"]
            tensors = {"images": images.reshape(-1, *images.shape[2:])}
        else:
            tensors = {f"{_STORED}{name}": x for name, x in self.stored.items()}
        tensors |= {"labels": self.labels, **tensors_of(self.whitening)}
        return file.write(path, tensors, self.metadata.to_json(), overwrite=overwrite)

    @classmethod
    def load(cls, path: str | Path) -> DistilledSet:
        """Reads and checks the set that `save` wrote, in this version of the format or version 1.

        Raises:
          ValueError: in one line that starts with the path: if there is no such file, it is cut off or no
            safetensors file, jdd did not write it, or its content is not allowed or not what was saved.
        """
        path = Path(path)
        try:
            tensors, header = file.read(path)
            metadata = Metadata.from_json(header)
            required = ("images", "labels") if metadata.is_pixels else ("labels",)
            missing = [name for name in required if name not in tensors]
            require(not missing, f"the file holds no {' and no '.join(missing)}")
            file.check_sum(tensors, header)
            labels, whitening = tensors.pop("labels"), taken_from(tensors)
            if metadata.is_pixels:
                images = tensors.pop("images")
                # Version 1 had further tensors that nothing used.
                others = tensors if format_version(header) > 1 else ()
                require(not others, f"the file holds {', '.join(others)}, which pixels do not have")
                made = cls.from_images(images, labels, metadata)
                return dataclasses.replace(made, whitening=whitening)
            others = [name for name in tensors if not name.startswith(_STORED)]
            require(not others, f"the file holds {', '.join(others)}, which is no part of a set")
            stored = {name.removeprefix(_STORED): x for name, x in tensors.items()}
            return cls(stored, labels, metadata, whitening)
        except ValueError as error:
            raise ValueError(f"{path}: {one_line(error)}") from None

    def _check_pixels(self) -> None:
        require(
            self.stored.keys() == {"images"},
            f"pixels are stored as images alone, not {', '.join(self.stored)}",
        )
        images = self.stored["images"]
        require(images.dtype == np.float32, f"images are {images.dtype}, not float32")
        require(
            images.ndim == 5 and images.shape[1] == self.ipc,
            f"images have shape {images.shape}, not [C, ipc, H, W, channels] with ipc {self.ipc}",
        )

    def _check_order(self) -> None:
        n = len(self.labels) // self.num_classes
        expected = np.repeat(np.arange(self.num_classes), n)
        require(
            np.array_equal(self.labels, expected),
            f"hard labels must go class by class, {n} of each",
        )

    @functools.cached_property
    def _decoded_shape(self) -> tuple[int, ...]:
        """Of decoded images, ``[C, n, H, W, channels]``, checked against the metadata."""
        shape = decoded_shape(self.synthetic, self.params, self.stored)
        require(
            shape[0] == self.num_classes,
            f"{self.synthetic} decodes to {shape[0]} classes, but class_names has {self.num_classes}",
        )
        _check_channels(shape[-1], self.metadata)
        return shape


def _check_channels(channels: int, metadata: Metadata) -> None:
    expected = len(metadata.mean)
    require(
        channels == expected,
        f"images have {channels} channels, but mean and std have {expected}",
    )


def _single(array: Any) -> np.ndarray:
    array = np.asarray(array)
    return array.astype(np.float32) if array.dtype == np.float64 else array
