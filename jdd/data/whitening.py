r"""ZCA whitening: images whose pixels are decorrelated, as MTT trains on them; and the way back, for pictures."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax

from jdd.choice import Choice, register
from jdd.data.split import Split
from jdd.data.table import ClassTable, class_table
from jdd.validation import positive

# Images that are made floats at a time; more would make the sums in `fit_zca` inexact.
_CHUNK = 1024


class Whitening(NamedTuple):
    """An affine map of images on the [0, 1] scale, and its inverse.

    Pixels are in the order of our images, (row, column, channel). Both matrices are symmetric, and each is
    the inverse of the other.

    Attributes:
      mean: ``[D]``, of the training images, with D = H * W * channels.
      matrix: ``[D, D]``.
      inverse: ``[D, D]``.
    """

    mean: Any
    matrix: Any
    inverse: Any


def fit_zca(images: np.ndarray, epsilon: float = 0.1) -> Whitening:
    r"""Fits ZCA whitening to the training images.

    .. math:: \Sigma = U S U^\top, \quad T = U (S + \epsilon)^{-1/2} U^\top,
        \quad T^{-1} = U (S + \epsilon)^{1/2} U^\top

    with the covariance of the flattened images on the [0, 1] scale, divided by N - 1. There is no other
    normalisation.

    Args:
      images: uint8 ``[N, H, W, ch]``, or floats on the [0, 1] scale.
      epsilon: added to the variances.

    Returns:
      The whitening, as numpy arrays of the dtype of the images; float32 for uint8.

    Raises:
      ValueError: for fewer than two images, or an epsilon that is not positive.

    Reference: Cazenavette et al., "Dataset Distillation by Matching Training Trajectories", CVPR 2022
    (https://arxiv.org/abs/2203.11932), whose code uses kornia's ZCA.

    Deviation: the original computes in float32. Here it is float64 on the host, which takes the same time for
    CIFAR-10 (the decomposition 7 s on one core).

    >>> images = np.random.default_rng(0).integers(0, 256, (50, 4, 4, 1), np.uint8)
    >>> whitening = fit_zca(images, epsilon=1e-6)
    >>> white = np.asarray(whiten(images, whitening)).reshape(50, 16)
    >>> bool(np.allclose(np.cov(white.T), np.eye(16), atol=1e-3))
    True
    """
    positive("epsilon", epsilon)
    if images.ndim != 4 or len(images) < 2:
        raise ValueError(f"ZCA needs at least two images [N, H, W, ch], got {images.shape}")
    is_bytes = images.dtype == np.uint8
    scale = 1 / 255 if is_bytes else 1.0
    n, size = len(images), int(np.prod(images.shape[1:]))
    flat, total, products = images.reshape(n, size), np.zeros(size), np.zeros((size, size))
    for first in range(0, n, _CHUNK):
        part = flat[first : first + _CHUNK]
        # Whole numbers from -128 to 127: a sum of 1024 products is exact in single precision.
        part = np.subtract(part, 128, dtype=np.float32) if is_bytes else part.astype(np.float64)
        total += part.sum(0, dtype=np.float64)
        products += part.T @ part
    mean = total / n
    covariance = (products - n * np.outer(mean, mean)) / (n - 1) * scale**2
    values, vectors = np.linalg.eigh(covariance)
    mean = (mean + 128) * scale if is_bytes else mean
    root = np.sqrt(np.maximum(values, 0) + epsilon)  # rounding can make a zero variance negative
    dtype = np.float32 if is_bytes else images.dtype
    matrices = ((vectors / root) @ vectors.T, (vectors * root) @ vectors.T)
    return Whitening(*(x.astype(dtype) for x in (mean, *matrices)))


def whiten(images: Any, whitening: Whitening) -> Array:
    """``(x - mean) @ matrix`` of the flattened images.

    Args:
      images: uint8 ``[n, H, W, ch]``, or floats on the [0, 1] scale.
      whitening: with D = H * W * ch.

    Returns:
      Floats of the same shape, as networks see them.

    Raises:
      ValueError: if the whitening is of images of another size.

    >>> whitening = Whitening(np.zeros(4), np.eye(4) * 2, np.eye(4) / 2)
    >>> whiten(np.full((1, 2, 2, 1), 255, np.uint8), whitening).ravel().tolist()
    [2.0, 2.0, 2.0, 2.0]
    """
    images = jnp.asarray(images)
    check_whitening(images.shape, whitening)
    matrix = jnp.asarray(whitening.matrix)
    unit = images.astype(matrix.dtype) / 255 if images.dtype == jnp.uint8 else images
    flat = unit.reshape(len(images), -1) - jnp.asarray(whitening.mean)[None]
    return jnp.dot(flat, matrix, precision=lax.Precision.HIGHEST).reshape(images.shape)


def unwhiten(images: Any, whitening: Whitening) -> Array:
    """``x @ inverse + mean`` of the flattened images: the way back, to draw whitened images.

    Args:
      images: floats ``[n, H, W, ch]``, whitened.
      whitening: with D = H * W * ch.

    Returns:
      Floats of the same shape on the [0, 1] scale; those of learned images can lie outside.

    Raises:
      ValueError: if the whitening is of images of another size.

    >>> whitening = Whitening(np.zeros(4), np.eye(4) * 2, np.eye(4) / 2)
    >>> unwhiten(np.full((1, 2, 2, 1), 2.0), whitening).ravel().tolist()
    [1.0, 1.0, 1.0, 1.0]
    """
    images = jnp.asarray(images)
    check_whitening(images.shape, whitening)
    flat = images.reshape(len(images), -1)
    unit = jnp.dot(flat, jnp.asarray(whitening.inverse), precision=lax.Precision.HIGHEST)
    return (unit + jnp.asarray(whitening.mean)[None]).reshape(images.shape)


def check_whitening(shape: tuple[int, ...], whitening: Whitening) -> None:
    """Raises a ``ValueError`` where a whitening is not of images of this shape ``[..., H, W, ch]``."""
    size, own = int(np.prod(shape[-3:])), whitening.mean.shape[0]
    if len(shape) < 3 or size != own or whitening.matrix.shape != (own, own):
        raise ValueError(f"the whitening is of images of {own} numbers, got images {shape}")


def whitened_table(split: Split, num_classes: int, whitening: Whitening) -> ClassTable:
    """The class table of whitened images: floats, which networks see as they are.

    Its mean is 0 and its std 1. The images are whitened on the device, some at a time.

    Args:
      split: uint8 images.
      num_classes: of the data set.
      whitening: fitted to the training images, also for the test split.

    Returns:
      The table; its images have the dtype of the whitening.

    Raises:
      ValueError: as `class_table`, and if the whitening is of images of another size.

    >>> split = Split(np.full((2, 2, 2, 1), 255, np.uint8), np.array([1, 0], np.int32))
    >>> whitening = Whitening(np.zeros(4), np.eye(4) * 2, np.eye(4) / 2)
    >>> table = whitened_table(split, 2, whitening)
    >>> table.images.shape, float(table.images.max()), table.mean.tolist(), table.std.tolist()
    ((2, 2, 2, 1), 2.0, [0.0], [1.0])
    """
    channels = split.images.shape[3]
    check_whitening(split.images.shape, whitening)
    table = class_table(split, num_classes, (0.0,) * channels, (1.0,) * channels)
    return dataclasses.replace(table, images=_whitened(table.images, whitening))


@jax.jit
def _whitened(images: Array, whitening: Whitening) -> Array:
    return lax.map(
        lambda image: whiten(image[None], whitening)[0],
        images,
        batch_size=min(_CHUNK, len(images)),
    )


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class Normalisation(Choice):
    """How stored images become what networks see.

    Attributes:
      fit: ``fit(train_images) -> Whitening``; None for the mean and std per channel of the data set.
    """

    fit: Callable[[np.ndarray], Whitening] | None


@register
def per_channel() -> Normalisation:
    """(x - mean) / std per channel, with the statistics of the data set.

    >>> per_channel()
    per_channel()
    """
    return Normalisation(None)


@register
def zca(epsilon: float = 0.1) -> Normalisation:
    """ZCA whitening, fitted to the training images (`fit_zca`), in place of the statistics per channel.

    Args:
      epsilon: added to the variances; 0.1 in MTT.

    Raises:
      ValueError: if epsilon is not positive.

    Reference: the code of Cazenavette et al., CVPR 2022, https://arxiv.org/abs/2203.11932.

    >>> zca()
    zca()
    """
    positive("epsilon", epsilon)
    return Normalisation(lambda images: fit_zca(images, epsilon))
