"""Start a run from the images of a distilled set."""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jax import Array

from jdd.artefact.distilled_set import DistilledSet
from jdd.choice import register
from jdd.data import ClassTable, denormalise
from jdd.nn import Model
from jdd.synthetic import Initial


@register
def from_set(path: str) -> Initial:
    """Starts at the images of a distilled set: its decoded images, the first variant of each.

    Images are brought to the normalisation of the data set of the run; whitened ones start a run on images
    that are whitened alike.

    Args:
      path: of the ``.safetensors`` file.

    Raises:
      ValueError: when a run is built, if there is no such set, or it has other classes, images or another
        number of images per class than the run.

    >>> from_set("runs/dm/set.safetensors")
    from_set('runs/dm/set.safetensors')
    """

    def images(key: Array, table: ClassTable, model: Model, n: int) -> Array:
        del key, model
        # A run is traced before it starts, and a file is no part of the trace.
        with jax.ensure_compile_time_eval():
            distilled = DistilledSet.load(path)
            every = distilled.images
        if distilled.labels.ndim != 1:
            raise ValueError(f"{path}: a set with soft labels is no start: its classes are mixed")
        classes, shape = table.num_classes, tuple(table.images.shape[1:])
        decoded = every[:, 0] if distilled.variants > 1 else every
        if distilled.num_classes != classes or decoded.shape != (classes * n, *shape):
            raise ValueError(
                f"{path}: the set has {distilled.num_classes} classes and images {list(decoded.shape)}, "
                f"the run starts from {classes} classes and images {[classes * n, *shape]}"
            )
        # Only whitened images are floats in a table.
        is_whitened = jnp.issubdtype(table.images.dtype, jnp.floating)
        if is_whitened != (distilled.whitening is not None):
            words = ("whitened", "normalised per channel")
            raise ValueError(
                f"{path}: the set's images are {words[is_whitened]}, those of the run {words[not is_whitened]}"
            )
        if is_whitened:
            return jnp.asarray(decoded).reshape(classes, n, *shape)
        raw = decoded
        if distilled.metadata.space == "normalised":
            raw = denormalise(decoded, distilled.metadata.mean, distilled.metadata.std)
        return jnp.asarray((jnp.asarray(raw) - table.mean) / table.std).reshape(classes, n, *shape)

    return Initial(images)
