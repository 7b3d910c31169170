"""From stored arrays to images, by a parametrisation that may be a user's own."""

from __future__ import annotations

import contextlib
import inspect
from collections.abc import Iterator, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jdd.artefact.checks import one_line, require, require_finite
from jdd.choice import FACTORIES, FUNCTIONS
from jdd.synthetic import Parametrisation, pixels

Stored = Mapping[str, np.ndarray]


def unknown_choices(content: Any) -> list[str]:
    """Returns the names in the JSON of a choice that no module of this process has registered.

    >>> unknown_choices({"choice": "pixels"}), unknown_choices({"choice": "by_somebody"})
    ([], ['by_somebody'])
    """
    if isinstance(content, list):
        return [name for item in content for name in unknown_choices(item)]
    if not isinstance(content, Mapping):
        return []
    key, registered = ("choice", FACTORIES) if "choice" in content else ("function", FUNCTIONS)
    name = str(content.get(key, ""))
    names = [name] if key in content and name not in registered else []
    return names + [name for value in content.values() for name in unknown_choices(value)]


def decoding_text(parametrisation: Parametrisation) -> str:
    """Returns how stored arrays become images: its formula, or else the first line of the factory's docstring.

    >>> decoding_text(pixels)
    'images are stored as they are'
    """
    if parametrisation == pixels:
        return "images are stored as they are"
    if parametrisation.expression is None:
        return ""
    docstring = inspect.getdoc(FACTORIES[parametrisation.expression.name]) or ""
    words = parametrisation.formula or docstring.partition(chr(10))[0]
    return f"{parametrisation.describe()}: {words}"


def arrays_text(stored: Stored) -> str:
    """Returns names, dtypes and shapes.

    >>> arrays_text({"tints": np.zeros((3, 1), np.float32)})
    'tints float32[3, 1]'
    """
    return ", ".join(f"{name} {x.dtype}{list(x.shape)}" for name, x in stored.items())


def restored(parametrisation: Parametrisation, stored: Stored) -> Any:
    """Returns the parameters.

    Raises:
      ValueError: if the parametrisation cannot read the arrays.
    """
    with _reported(parametrisation, stored):
        # Copies: a run that starts from them donates them.
        return parametrisation.restored({name: jnp.array(x) for name, x in stored.items()})


def decoded_shape(parametrisation: Parametrisation, params: Any, stored: Stored) -> tuple[int, ...]:
    """Returns the shape of decoded images, ``[C, n, H, W, channels]``, without decoding them.

    Raises:
      ValueError: if they cannot be decoded, or do not have such a shape.
    """
    with _reported(parametrisation, stored):
        batch = jax.eval_shape(lambda params: parametrisation.decode(params, 0), params)
    images, labels = tuple(batch.images.shape), tuple(batch.labels.shape)
    require(
        len(images) == 5 and 0 not in images,
        f"{parametrisation} decodes to images of shape {images}, not [C, n, H, W, channels]",
    )
    require(
        labels[:2] == images[:2] and len(labels) in (2, 3),
        f"{parametrisation} decodes to labels of shape {labels} for images of shape {images}",
    )
    return images


def decoded_images(parametrisation: Parametrisation, params: Any, stored: Stored) -> np.ndarray:
    """Decodes the images, class by class.

    Returns:
      float32 ``[N, H, W, channels]``, or with V > 1 variants of each image ``[N, V, H, W, channels]``.

    Raises:
      ValueError: if they cannot be decoded, or are not finite.
    """
    with _reported(parametrisation, stored):
        batches = [parametrisation.decode(params, v) for v in range(parametrisation.variants)]
        variants = [np.array(batch.images, np.float32) for batch in batches]
    variants = [x.reshape(-1, *x.shape[2:]) for x in variants]
    images = variants[0] if len(variants) == 1 else np.stack(variants, axis=1)
    require_finite("images", images)
    return images


@contextlib.contextmanager
def _reported(parametrisation: Parametrisation, stored: Stored) -> Iterator[None]:
    try:
        yield
    except Exception as error:  # whatever a user's function raises
        reason = f"{type(error).__name__}: {one_line(error)}"[:200]
        arrays = arrays_text(stored)
        raise ValueError(
            f"{parametrisation} cannot decode the stored arrays {arrays} ({reason})"
        ) from error
