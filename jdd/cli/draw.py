"""Pictures of a run: the grid of its images, and the curves of its loss and accuracy."""

from __future__ import annotations

import io
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from PIL import Image, ImageDraw, ImageFont

from jdd.atomic_write import write_atomically

_INK = "#2b2d33"
_LOSS = "#2f6db5"
_ACCURACY = "#c4511f"
_BASELINES = ("#6b7280", "#2e8b57", "#8a5fb0", "#b08a2e")
# Pixels: a picture that reads well on a screen and in a README.
_WIDEST = 1600
_CELL, _CELL_OF_FEW, _FEW = 64, 112, 20
_LONGEST_NAME = 200


class _Layout(NamedTuple):
    """Where everything is, in pixels of the picture."""

    cell: tuple[int, int]
    gap: int
    margin: int
    name_width: int
    columns: int
    rows: int
    blocks: int

    @property
    def block_width(self) -> int:
        return self.name_width + self.columns * (self.cell[1] + self.gap)

    def size(self) -> tuple[int, int]:
        height = self.rows * (self.cell[0] + self.gap) - self.gap + 2 * self.margin
        between = (self.blocks - 1) * 2 * self.margin
        return height, self.blocks * self.block_width - self.gap + between + 2 * self.margin

    def corner(self, class_index: int, column: int) -> tuple[int, int]:
        block, row = divmod(class_index, self.rows)
        left = self.margin + block * (self.block_width + 2 * self.margin) + self.name_width
        top = self.margin + row * (self.cell[0] + self.gap)
        return top, left + column * (self.cell[1] + self.gap)


def grid(
    images: np.ndarray,
    labels: np.ndarray,
    class_names: Sequence[str],
    path: str | Path,
    *,
    scale: int | None = None,
) -> Path:
    """Draws the images class by class into a PNG: one row per class, its name at the left.

    Pixels are enlarged by a whole number, never blended. Where there are many classes of few
    images, the rows stand in several blocks side by side. Within a class images keep their order.

    Args:
        images: uint8 ``[N, H, W, C]``. One channel, or the mean of two, is drawn grey; of more than
            three, the first three are red, green and blue.
        labels: integers ``[N]``.
        class_names: one name for each label.
        path: the PNG to write.
        scale: how many times to enlarge; by default what makes the picture readable and at most
            about 1600 pixels wide.

    Returns:
        ``path``.

    Raises:
        ValueError: if shapes, dtypes or labels do not fit, or ``scale`` is less than 1.
    """
    images, labels = np.asarray(images), np.asarray(labels)
    _check_images(images, labels, len(class_names), scale)
    images = _drawable(images)
    height, width = images.shape[1:3]
    columns = int(np.bincount(labels).max())
    if scale is None:
        wanted = _CELL_OF_FEW if len(images) <= _FEW else _CELL
        scale = max(1, min(wanted // max(height, width), _WIDEST // (columns * (width + 1))))
    cell = (height * scale, width * scale)
    font = ImageFont.load_default(max(11, min(18, cell[0] // 3)))
    names = [_shortened(name, font) for name in class_names]
    layout = _arrange(cell, columns, names, font)

    canvas = np.full((*layout.size(), 3), 255, np.uint8)
    for index in range(len(names)):
        for column, image in enumerate(images[labels == index]):
            top, left = layout.corner(index, column)
            enlarged = image.repeat(scale, axis=0).repeat(scale, axis=1)
            canvas[top : top + cell[0], left : left + cell[1]] = enlarged
    picture = Image.fromarray(canvas)
    pen = ImageDraw.Draw(picture)
    for index, name in enumerate(names):
        top, left = layout.corner(index, 0)
        position = (left - layout.margin, top + cell[0] / 2)
        pen.text(position, name, fill=_INK, font=font, anchor="rm")
    content = io.BytesIO()
    picture.save(content, format="PNG", optimize=True)
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
            ``accuracy`` with ``accuracy_std`` (fractions), are drawn where a record has them; other
            keys are passed over.
        path: the PNG to write.
        baselines: accuracies (fractions) to compare with, drawn as lines, by name.
        steps: what steps are called below the axis.

    Returns:
        ``path``.

    Raises:
        ValueError: if no record has a loss or an accuracy.
    """
    losses = [record for record in metrics if record.get("loss") is not None]
    accuracies = [record for record in metrics if record.get("accuracy") is not None]
    panels = bool(losses) + bool(accuracies)
    if not panels:
        raise ValueError("there is nothing to draw: no record has a loss or an accuracy")
    figure = Figure(figsize=(5.2 * panels, 3.6), layout="constrained", facecolor="white")
    FigureCanvasAgg(figure)
    axes = figure.subplots(1, panels, squeeze=False)[0]
    if losses:
        _draw_loss(axes[0], losses)
    if accuracies:
        _draw_accuracy(axes[-1], accuracies, baselines or {})
    for panel in axes:
        _tidy(panel, steps)
    content = io.BytesIO()
    figure.savefig(content, format="png", dpi=150)
    write_atomically(path, content.getvalue())
    return Path(path)


def _check_images(images: np.ndarray, labels: np.ndarray, classes: int, scale: int | None) -> None:
    if images.dtype != np.uint8 or images.ndim != 4:
        given = f"{images.dtype} {list(images.shape)}"
        raise ValueError(f"images to draw must be uint8 [N, H, W, C], not {given}")
    if not images.size:
        raise ValueError("there are no images to draw")
    if labels.shape != images.shape[:1] or not np.issubdtype(labels.dtype, np.integer):
        given = f"{labels.dtype} {list(labels.shape)}"
        raise ValueError(f"labels must be integers [{len(images)}], not {given}")
    if labels.min() < 0 or labels.max() >= classes:
        there = f"{labels.min()} to {labels.max()}"
        raise ValueError(f"labels run from {there}, but there are {classes} class names")
    if scale is not None and scale < 1:
        raise ValueError(f"scale is {scale}, but must be at least 1")


def _drawable(images: np.ndarray) -> np.ndarray:
    """The images with 1 or 3 channels."""
    if images.shape[-1] == 2:
        return np.rint(images.mean(axis=-1, keepdims=True)).astype(np.uint8)
    return images[..., :3]


def _shortened(name: str, font: Any) -> str:
    if font.getlength(name) <= _LONGEST_NAME:
        return name
    while name and font.getlength(name + "…") > _LONGEST_NAME:
        name = name[:-1]
    return name.rstrip() + "…"


def _arrange(cell: tuple[int, int], columns: int, names: Sequence[str], font: Any) -> _Layout:
    gap = max(1, min(cell) // 24)
    margin = 4 * gap + 4
    name_width = math.ceil(max(font.getlength(name) for name in names)) + margin
    layout = _Layout(cell, gap, margin, name_width, columns, len(names), 1)
    for blocks in range(2, len(names) + 1):
        height, width = layout.size()
        if width >= 0.6 * height:
            break
        layout = layout._replace(blocks=blocks, rows=math.ceil(len(names) / blocks))
    # Fewer blocks may now hold all rows.
    return layout._replace(blocks=math.ceil(len(names) / layout.rows))


def _draw_loss(axes: Axes, records: Sequence[Mapping[str, Any]]) -> None:
    steps = np.array([record["step"] for record in records], float)
    losses = np.array([record["loss"] for record in records], float)
    window = len(losses) // 40
    if window > 1:
        axes.plot(steps, losses, color=_LOSS, alpha=0.25, linewidth=0.8, label="each report")
        middle, smooth = _smoothed(steps, window), _smoothed(losses, window)
        axes.plot(middle, smooth, color=_LOSS, linewidth=1.8, label=f"mean of {window}")
        axes.legend(frameon=False, fontsize=8)
    else:
        marker = "o" if len(losses) < 20 else ""
        axes.plot(steps, losses, color=_LOSS, linewidth=1.5, marker=marker, markersize=4)
    finite = losses[np.isfinite(losses)]
    if len(finite) and finite.min() > 0 and finite.max() > 10 * finite.min():
        axes.set_yscale("log")
        axes.yaxis.set_major_formatter("{x:g}")
    axes.set_title("matching loss", loc="left", fontsize=10, color=_INK)


def _draw_accuracy(
    axes: Axes, records: Sequence[Mapping[str, Any]], baselines: Mapping[str, float]
) -> None:
    steps = [record["step"] for record in records]
    means = [100 * record["accuracy"] for record in records]
    deviations = [100 * (record.get("accuracy_std") or 0.0) for record in records]
    axes.errorbar(
        steps,
        means,
        yerr=deviations,
        color=_ACCURACY,
        marker="o",
        markersize=5,
        linewidth=1.2,
        capsize=3,
        label="distilled",
    )
    for (name, accuracy), colour in zip(baselines.items(), _cycle(len(baselines)), strict=True):
        axes.axhline(100 * accuracy, color=colour, linestyle="--", linewidth=1.2, label=name)
    if baselines:
        axes.legend(frameon=False, fontsize=8)
    axes.set_title("test accuracy, %", loc="left", fontsize=10, color=_INK)


def _cycle(count: int) -> list[str]:
    return [_BASELINES[i % len(_BASELINES)] for i in range(count)]


def _smoothed(values: np.ndarray, window: int) -> np.ndarray:
    return np.convolve(values, np.full(window, 1 / window), mode="valid")


def _tidy(axes: Axes, steps: str) -> None:
    axes.set_xlabel(steps, fontsize=9, color=_INK)
    axes.grid(True, color="#e5e7eb", linewidth=0.8)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    axes.tick_params(labelsize=8, colors=_INK)
