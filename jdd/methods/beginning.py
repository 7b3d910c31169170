"""How a run of either family begins: the table that it needs, and the first parameters of the set."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
from jax import Array

from jdd.data import ClassTable, Data
from jdd.matching import RESERVED_FOLD
from jdd.nn import Model
from jdd.synthetic import Parametrisation, Statistics, into_space


def checked_table(model: Model, data: Data) -> ClassTable:
    """The table, which must have the classes and images of the network, and images of every class.

    Raises:
      ValueError: if it does not.
    """
    if not isinstance(data, Data):
        raise ValueError(f"data must be a jdd.data.Data(table), got {type(data).__name__}")
    table = data.table
    shape = table.images.shape[1:]
    if (table.num_classes, shape) != (model.num_classes, model.image_shape):
        raise ValueError(
            f"{model.name} is for {model.num_classes} classes of images {model.image_shape}, "
            f"the real set has {table.num_classes} classes of images {shape}"
        )
    if table.smallest < 1:
        raise ValueError("every class needs real images, but a class of the table has none")
    return table


def statistics_of(table: ClassTable) -> Statistics:
    """Copies of mean and std: a state is donated to each dispatch, the table is not."""
    return Statistics(jnp.array(table.mean), jnp.array(table.std))


def first_params(
    key: Array, synthetic: Parametrisation, images: Array, table: ClassTable, statistics: Statistics
) -> Any:
    """The parameters of a set that starts from normalised images.

    Args:
      key: that the images were drawn with.
      synthetic: the parametrisation.
      images: ``[C, ipc * tiles, H, W, ch]``.
      table: the real set.
      statistics: of it.

    Raises:
      ValueError: if the parameters decode to images of other shapes than the real ones.
    """
    images = into_space(synthetic.space, images, statistics)
    params = synthetic.init(jax.random.fold_in(key, RESERVED_FOLD), images)
    shape = decoded_shape(synthetic, params)
    if shape[:1] + shape[2:] != (table.num_classes, *table.images.shape[1:]):
        raise ValueError(
            f"{synthetic} decodes to images {list(shape)}, but the real set has {table.num_classes} "
            f"classes of images {list(table.images.shape[1:])}"
        )
    return params


def decoded_shape(synthetic: Parametrisation, params: Any) -> tuple[int, ...]:
    """The shape ``(C, n, H, W, ch)`` of the images that parameters decode to."""
    return jax.eval_shape(lambda params: synthetic.decode(params, 0).images, params).shape
