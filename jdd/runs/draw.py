"""Pictures of a run as PNG files: the grid of its images, and the curves of its loss and accuracy."""

from __future__ import annotations

import io
import math
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib.style
import numpy as np
from matplotlib.figure import Figure
from matplotlib.font_manager import findfont
from PIL import Image, ImageDraw, ImageFont

from jdd.artefact import DistilledSet
from jdd.artefact.display import preview
from jdd.atomic_write import write_atomically
from jdd.validation import at_least

_INK, _LOSS, _ACCURACY = "#2b2d33", "#2f6db5", "#c4511f"
_BASELINES = ("#6b7280", "#2e8b57", "#8a5fb0", "#b08a2e")
_CELL, _WIDEST = 96, 1600  # pixels: readable on a screen and in a README
_IMAGES, _VARIANTS = 10, 5  # of a class, and of an image, where images have variants


def grid(
    images: np.ndarray,
    labels: np.ndarray,
    class_names: Sequence[str],
    path: str | Path,
    *,
    scale: int | None = None,
) -> Path:
    """Draws images class by class into a PNG: one row per class, with its name at the left.

    Pixels are enlarged by a whole number, never blended. Many classes of few images stand in several
    blocks side by side. Within a class images keep their order.

    Args:
      images: uint8 ``[N, H, W, C]``, or ``[N, V, H, W, C]`` with V variants of each image, which are
        drawn side by side. One channel, or the mean of two, is drawn grey; of more than three
        channels the first three are red, green and blue.
      labels: integers ``[N]``.
      class_names: a name for each label; a name of more than 30 characters is shortened.
      path: the file to write.
      scale: the factor to enlarge by; by default the picture is at most about 1600 pixels wide.

    Returns:
      ``path``.

    Raises:
      ValueError: if shapes, dtypes or labels do not fit, or ``scale`` is below 1.

    >>> import tempfile
    >>> images, labels = np.zeros((4, 8, 8, 3), np.uint8), np.array([0, 1, 0, 1])
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     grid(images, labels, ["cat", "dog"], Path(folder, "grid.png")).name
    'grid.png'
    """
    images, labels = np.asarray(images), np.asarray(labels)
    _check(images, labels, len(class_names))
    images = images if images.ndim == 5 else images[:, None]
    if images.shape[-1] == 2:
        images = np.rint(images.mean(axis=-1, keepdims=True)).astype(np.uint8)
    images = np.broadcast_to(images[..., :3], (*images.shape[:-1], 3))
    variants, height, width = images.shape[1:4]
    columns = variants * int(np.bincount(labels).max())
    if scale is None:
        scale = max(1, min(_CELL // max(height, width), _WIDEST // (columns * (width + 1))))
    height, width = at_least("scale", scale, 1) * height, scale * width
    gap = max(1, min(height, width) // 24)
    margin = 4 * gap + 4
    font = ImageFont.truetype(findfont("DejaVu Sans"), max(11, min(16, height // 3)))
    names = [_short(name) for name in class_names]
    name_width = math.ceil(max(map(font.getlength, names))) + 2 * margin
    block_width = name_width + columns * (width + gap)
    # So many blocks that the picture is not much higher than wide.
    wanted = math.ceil(math.sqrt(0.7 * len(names) * (height + gap) / block_width))
    rows = math.ceil(len(names) / wanted)
    blocks = math.ceil(len(names) / rows)
    size = blocks * block_width + margin, rows * (height + gap) + 2 * margin
    picture = Image.new("RGB", size, "white")
    pen = ImageDraw.Draw(picture)
    for label, name in enumerate(names):
        block, row = divmod(label, rows)
        x, y = block * block_width + name_width, margin + row * (height + gap)
        pen.text((x - margin, y + height / 2), name, _INK, font, anchor="rm")
        for image in images[labels == label].reshape(-1, *images.shape[2:]):
            enlarged = Image.fromarray(image).resize((width, height), Image.Resampling.NEAREST)
            picture.paste(enlarged, (x, y))
            x += width + gap
    content = io.BytesIO()
    picture.save(content, "PNG")
    write_atomically(path, content.getvalue())
    return Path(path)


def curves(
    metrics: Sequence[Mapping[str, Any]],
    path: str | Path,
    *,
    baselines: Mapping[str, float] | None = None,
    steps: str = "image updates",
) -> Path:
    """Draws the matching loss and the test accuracy against steps into a PNG.

    Args:
      metrics: records of a run in the order of their steps. ``step`` counts steps; ``loss``, or
        ``accuracy`` with ``accuracy_std`` (fractions), are drawn where a record has them.
      path: the file to write.
      baselines: accuracies (fractions) to compare with, drawn as lines, by name.
      steps: the label of the axis of steps.

    Returns:
      ``path``.

    Raises:
      ValueError: if no record has a loss or an accuracy.
    """
    losses, accuracies = (
        [record for record in metrics if record.get(name) is not None]
        for name in ("loss", "accuracy")
    )
    panels = bool(losses) + bool(accuracies)
    if not panels:
        raise ValueError("there is nothing to draw: no record of metrics has a loss or an accuracy")
    with matplotlib.style.context("default"), warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph .* missing from")  # a box is drawn instead
        figure = Figure(figsize=(5.2 * panels, 3.6), dpi=150, layout="constrained")
        axes = figure.subplots(1, panels, squeeze=False)[0]
        if losses:
            x, y = (np.array([record[k] for record in losses], float) for k in ("step", "loss"))
            window = max(1, len(y) // 40)
            axes[0].plot(x, y, ".-", color=_LOSS, alpha=0.25)
            means = [np.convolve(values, np.full(window, 1 / window), "valid") for values in (x, y)]
            axes[0].plot(
                *means, color=_LOSS, label=f"mean of {window} reports" if window > 1 else "loss"
            )
            finite = y[np.isfinite(y)]
            if len(finite) and finite.min() > 0 and finite.max() > 10 * finite.min():
                axes[0].set_yscale("log")
                axes[0].yaxis.set_major_formatter("{x:g}")
            axes[0].set_title("matching loss")
        if accuracies:
            x, y = ([record[k] for record in accuracies] for k in ("step", "accuracy"))
            deviation = [100 * (record.get("accuracy_std") or 0.0) for record in accuracies]
            means = [100 * accuracy for accuracy in y]
            axes[-1].errorbar(x, means, deviation, color=_ACCURACY, marker="o", label="distilled")
            for i, (name, accuracy) in enumerate((baselines or {}).items()):
                style = {"color": _BASELINES[i % len(_BASELINES)], "label": _escaped(name)}
                axes[-1].axhline(100 * accuracy, linestyle="--", **style)
            axes[-1].set_title("test accuracy, %")
        for panel in axes:
            panel.set_xlabel(_escaped(steps))
            panel.grid(alpha=0.4)
            panel.legend(frameon=False)
        content = io.BytesIO()
        figure.savefig(content, format="png")
    write_atomically(path, content.getvalue())
    return Path(path)


def _check(images: np.ndarray, labels: np.ndarray, classes: int) -> None:
    if images.dtype != np.uint8 or images.ndim not in (4, 5):
        actual = f"{images.dtype} {list(images.shape)}"
        raise ValueError(f"images must be uint8 [N, H, W, C] or [N, V, H, W, C], got {actual}")
    if not images.size:
        raise ValueError(f"images must not be empty, got the shape {list(images.shape)}")
    if labels.shape != images.shape[:1] or not np.issubdtype(labels.dtype, np.integer):
        actual = f"{labels.dtype} {list(labels.shape)}"
        raise ValueError(f"labels must be integers [{len(images)}], got {actual}")
    if labels.min() < 0 or labels.max() >= classes:
        actual = f"{labels.min()} to {labels.max()}"
        raise ValueError(
            f"labels must be from 0 to {classes - 1}, one per class name, got {actual}"
        )


def _short(name: str) -> str:
    """A name on one line of at most 30 characters.

    >>> _short("great  white shark\\n" * 3)
    'great white shark great white…'
    """
    line = "".join(c if c.isprintable() else "?" for c in " ".join(name.split()))
    return line if len(line) <= 30 else line[:29].rstrip() + "…"


def _escaped(name: str) -> str:
    """A short name that matplotlib does not take for a formula."""
    return _short(name).replace("$", r"\$")


def grid_of_set(distilled: DistilledSet, path: str | Path) -> Path:
    """Draws a distilled set with `grid`; images with soft labels stand in the row of the largest one.

    Of a set with variants it shows the first 10 images of each class, with what its parametrisation shows
    (bases) and the first 5 variants of each, side by side.
    """
    soft = distilled.labels.ndim == 2
    labels = np.argmax(distilled.labels, -1) if soft else distilled.labels
    images, before = distilled.pixels(), preview(distilled)
    if images.ndim == 5 or before is not None:
        images = images[:, :_VARIANTS] if images.ndim == 5 else images[:, None]
        images = images if before is None else np.concatenate([before[:, None], images], axis=1)
        places = (np.flatnonzero(labels == c)[:_IMAGES] for c in range(distilled.num_classes))
        rows = np.concatenate(list(places))
        images, labels = images[rows], labels[rows]
    return grid(images, labels, distilled.metadata.class_names, path)
