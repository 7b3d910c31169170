"""Pictures: the grid shows every pixel where it belongs, the curves show what was recorded."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
import pytest
from matplotlib.backends.backend_agg import RendererAgg
from PIL import Image

from jdd.runs.draw import curves, grid


def read(path: Path) -> np.ndarray:
    with Image.open(path) as picture:
        assert picture.format == "PNG"
        return np.asarray(picture.convert("RGB"))


def find(picture: np.ndarray, patch: np.ndarray) -> tuple[int, int]:
    """The top left corner of the one place where the patch is."""
    windows = np.lib.stride_tricks.sliding_window_view(picture, patch.shape)[:, :, 0]
    places = np.argwhere((windows == patch).all(axis=(2, 3, 4)))
    assert len(places) == 1, places
    return int(places[0, 0]), int(places[0, 1])


def noise(count: int, channels: int, size: int = 5) -> np.ndarray:
    shape = (count, size, size, channels)
    return np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)


@pytest.mark.parametrize("channels", [1, 3])
def test_every_image_is_in_the_row_of_its_class(tmp_path: Path, channels: int) -> None:
    images = noise(7, channels)
    labels = np.array([2, 0, 1, 0, 2, 0, 2])
    path = grid(images, labels, ["a", "b", "c"], tmp_path / "grid.png", scale=2)
    picture = read(path)
    patches = np.broadcast_to(images.repeat(2, axis=1).repeat(2, axis=2), (7, 10, 10, 3))
    places = [find(picture, patch) for patch in patches]
    tops = {label: {places[i][0] for i in np.flatnonzero(labels == label)} for label in range(3)}
    assert all(len(rows) == 1 for rows in tops.values())
    assert min(tops[0]) < min(tops[1]) < min(tops[2])
    columns = sorted({left for _, left in places})
    assert [places[i][1] for i in (1, 3, 5)] == columns
    assert [places[i][1] for i in (0, 4, 6)] == columns
    assert places[2][1] == columns[0]


def test_variants_of_an_image_are_side_by_side(tmp_path: Path) -> None:
    images = noise(12, 3).reshape(4, 3, 5, 5, 3)
    labels = np.array([1, 0, 1, 0])
    picture = read(grid(images, labels, ["a", "b"], tmp_path / "grid.png", scale=1))
    places = [[find(picture, variant) for variant in image] for image in images]
    assert len({top for image in places for top, _ in image}) == 2
    assert places[0][0][0] == places[2][0][0] > places[1][0][0] == places[3][0][0]
    lefts = [[left for _, left in image] for image in places]
    assert lefts[0] == lefts[1] and lefts[2] == lefts[3]
    assert np.ptp(np.diff(lefts[0] + lefts[2])) == 0 < lefts[0][1] - lefts[0][0]
    one = read(grid(images[:, :1], labels, ["a", "b"], tmp_path / "one.png", scale=1))
    np.testing.assert_array_equal(
        one, read(grid(images[:, 0], labels, ["a", "b"], tmp_path / "b.png", scale=1))
    )


@pytest.mark.parametrize(
    "name",
    [
        "$x^2$",
        "a $ b",
        "$\\frac$",
        "a_b^c{",
        "%",
        "\\$1",
        "кот",
        "猫",
        "a\x00b",
        "\ud800",
        "🐈",
        "  ",
    ],
)
def test_names_from_outside(tmp_path: Path, name: str) -> None:
    """None is taken for a formula, fails, or warns (warnings are errors in tests)."""
    images, labels = np.zeros((2, 4, 4, 1), np.uint8), np.arange(2)
    assert read(grid(images, labels, [name, "b"], tmp_path / "grid.png")).std() > 0
    accuracies = [{"step": 1, "accuracy": 0.5}]
    drawn = read(
        curves(accuracies, tmp_path / "a.png", baselines={f"random {name}": 0.2}, steps="x")
    )
    assert drawn.std() > 0


def test_a_baseline_keeps_its_dollars(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    texts = []
    draw_text = RendererAgg.draw_text

    def recorded(self, gc, x, y, s, prop, angle, ismath=False, mtext=None):
        texts.append((s, ismath))
        draw_text(self, gc, x, y, s, prop, angle, ismath, mtext)

    monkeypatch.setattr(RendererAgg, "draw_text", recorded)
    accuracies = [{"step": 1, "accuracy": 0.5}]
    curves(accuracies, tmp_path / "a.png", baselines={"from $1\nto $2": 0.2}, steps="$n$ steps")
    assert ("from $1 to $2", False) in texts and ("$n$ steps", False) in texts


def test_the_users_settings_of_matplotlib_do_not_count(tmp_path: Path) -> None:
    settings: dict[Any, Any] = {
        "text.usetex": True,
        "figure.dpi": 30,
        "savefig.dpi": 40,
        "savefig.bbox": "tight",
    }
    before = curves(LOSSES, tmp_path / "a.png").read_bytes()
    with matplotlib.rc_context(settings):
        assert curves(LOSSES, tmp_path / "b.png").read_bytes() == before


def test_other_channels_are_drawn_as_grey_or_as_their_first_three(tmp_path: Path) -> None:
    two, five = noise(2, 2), noise(2, 5)
    labels = np.arange(2)
    grey = np.rint(two.mean(-1, keepdims=True)).astype(np.uint8)
    for given, seen in ((two, grey), (five, five[..., :3])):
        picture = read(grid(given, labels, ["a", "b"], tmp_path / "grid.png", scale=1))
        for image in np.broadcast_to(seen, (2, 5, 5, 3)):
            find(picture, image)


def test_names_are_written_left_of_their_rows(tmp_path: Path) -> None:
    images = np.zeros((8, 8, 8, 1), np.uint8)
    labels = np.repeat(np.arange(2), 4)
    plain = read(grid(images, labels, ["", "mm"], tmp_path / "a.png", scale=4))
    named = read(grid(images, labels, ["mm", ""], tmp_path / "b.png", scale=4))
    assert plain.shape == named.shape
    ink = [np.argwhere((picture > 0) & (picture < 255)) for picture in (plain, named)]
    assert ink[0][:, 0].min() > plain.shape[0] / 2 > ink[1][:, 0].max()
    assert ink[0][:, 1].max() < np.argwhere(plain == 0)[:, 1].min()


@pytest.mark.parametrize(
    ("classes", "ipc", "size"),
    [
        (10, 1, 8),
        (10, 10, 32),
        (10, 50, 28),
        (3, 120, 32),
        (100, 1, 32),
        (2, 1, 32),
        (2, 50, 64),
        (200, 1, 64),
    ],
)
def test_pictures_have_a_readable_size(tmp_path: Path, classes: int, ipc: int, size: int) -> None:
    images = np.zeros((classes * ipc, size, size, 1), np.uint8)
    labels = np.repeat(np.arange(classes), ipc)
    names = [f"class {i}" for i in range(classes)]
    height, width, _ = read(grid(images, labels, names, tmp_path / "grid.png")).shape
    assert width >= 0.6 * height
    # A picture is never shrunk: 120 images of 32 pixels are as wide as they are.
    assert width < max(1800, ipc * (size + 2) + 200)


def test_rows_of_many_classes_stand_side_by_side(tmp_path: Path) -> None:
    images = noise(10, 3)
    picture = read(grid(images, np.arange(10), list("abcdefghij"), tmp_path / "grid.png", scale=1))
    places = [find(picture, image) for image in images]
    lefts = sorted({left for _, left in places})
    assert len(lefts) > 1
    assert places == sorted(places, key=lambda place: (place[1], place[0]))


def test_a_long_name_is_shortened(tmp_path: Path) -> None:
    images = np.zeros((1, 8, 8, 1), np.uint8)
    name = "great white\nshark\t" * 20
    pictures = [
        grid(images, np.zeros(1, int), [name], tmp_path / f"{len(name)}.png").read_bytes()
        for name in (name, "great white shark great white…")
    ]
    assert pictures[0] == pictures[1]
    whole = read(grid(images, np.zeros(1, int), ["W" * 30], tmp_path / "W.png"))
    assert whole.shape[1] < 700


@pytest.mark.parametrize(
    ("images", "labels", "scale", "message"),
    [
        (np.zeros((2, 4, 4, 1)), np.arange(2), None, "uint8"),
        (np.zeros((2, 4, 4), np.uint8), np.arange(2), None, "uint8"),
        (np.zeros((2, 4, 4, 2)), np.arange(2), None, r"C\], got float64 \[2, 4, 4, 2\]"),
        (
            np.zeros((0, 4, 4, 1), np.uint8),
            np.arange(0),
            None,
            r"images must not be empty, got the shape \[0, 4, 4, 1\]",
        ),
        (np.zeros((2, 4, 4, 1), np.uint8), np.arange(3), None, r"integers \[2\], got int64 \[3\]"),
        (np.zeros((2, 4, 4, 1), np.uint8), np.zeros(2), None, "integers"),
        (
            np.zeros((2, 4, 4, 1), np.uint8),
            np.arange(2) + 1,
            None,
            "labels must be from 0 to 1.*got 1 to 2",
        ),
        (np.zeros((2, 4, 4, 1), np.uint8), np.arange(2), 0, "scale must be at least 1, got 0"),
    ],
)
def test_what_cannot_be_drawn_is_named(
    tmp_path: Path, images: np.ndarray, labels: np.ndarray, scale: int | None, message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        grid(images, labels, ["a", "b"], tmp_path / "grid.png", scale=scale)
    assert not list(tmp_path.iterdir())


LOSSES = [{"step": i, "loss": 100.0 / (i + 1)} for i in range(300)]
ACCURACIES = [{"step": i, "accuracy": 0.5, "accuracy_std": 0.01} for i in (0, 150, 300)]


def is_drawn(picture: np.ndarray, colour: str) -> bool:
    rgb = np.array([int(colour[i : i + 2], 16) for i in (1, 3, 5)])
    return bool((picture == rgb).all(axis=-1).any())


def test_curves_draw_what_is_there(tmp_path: Path) -> None:
    blue, orange, grey = "#2f6db5", "#c4511f", "#6b7280"
    both = read(curves(LOSSES + ACCURACIES, tmp_path / "a.png", baselines={"random real": 0.4}))
    assert all(is_drawn(both, colour) for colour in (blue, orange, grey))
    loss = read(curves(LOSSES, tmp_path / "b.png"))
    assert is_drawn(loss, blue)
    assert not is_drawn(loss, orange)
    accuracy = read(curves(ACCURACIES, tmp_path / "c.png"))
    assert is_drawn(accuracy, orange)
    assert not is_drawn(accuracy, blue)
    assert both.shape[1] == 2 * loss.shape[1] == 2 * accuracy.shape[1]


@pytest.mark.parametrize(
    "metrics",
    [
        [{"step": 1, "loss": 3.0}],
        [{"step": 1, "loss": 0.0}, {"step": 2, "loss": 100.0}],
        [{"step": i, "loss": float("nan")} for i in range(3)],
        [{"step": i, "loss": 1.0 if i else float("inf"), "time": 3} for i in range(100)],
        [{"step": 1, "accuracy": 0.3}, {"step": 2, "loss": None, "accuracy": 0.4}],
    ],
)
def test_curves_of_unusual_runs(tmp_path: Path, metrics: list[dict[str, Any]]) -> None:
    assert read(curves(metrics, tmp_path / "curves.png")).std() > 0


def test_curves_of_nothing(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="nothing to draw"):
        curves([{"step": 1}], tmp_path / "curves.png")
