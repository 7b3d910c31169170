"""Whatever a set holds, it is loaded as it was saved, or refused in one line."""

from __future__ import annotations

import dataclasses
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from jdd.artefact import DistilledSet, Metadata
from jdd.evaluate import PROTOCOLS
from jdd.synthetic import Parametrisation, pixels
from tests.parametrisations import mosaic, tinted

pytestmark = pytest.mark.slow  # as a whole: it compiles many programs

properties = settings(max_examples=40, deadline=None)
texts = st.text(max_size=8)
json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=6,
)
mappings = st.dictionaries(texts, json_values, max_size=3)
protocols = st.sampled_from([protocol.to_json() for protocol in PROTOCOLS.values()])
finite: dict[str, Any] = {"allow_nan": False, "allow_infinity": False}
# Of each parametrisation the arrays that hold no images, by name, with their shape for some channels.
FURTHER = {"tinted": ("tints", lambda channels: (2, channels))}
CHOICES = {"pixels": pixels, "mosaic": mosaic(2), "tinted": tinted(2)}


@st.composite
def metadata(draw: Any, synthetic: Parametrisation, classes: int, channels: int) -> Metadata:
    several: dict[str, Any] = {"min_size": channels, "max_size": channels}
    spaces = ["normalised", "raw01"] if synthetic == pixels else [synthetic.space]
    return Metadata(
        method=draw(texts),
        dataset=draw(texts),
        class_names=tuple(draw(st.lists(texts, min_size=classes, max_size=classes, unique=True))),
        ipc=draw(st.integers(1, 2)),
        space=draw(st.sampled_from(spaces)),
        mean=tuple(draw(st.lists(st.floats(**finite), **several))),
        std=tuple(draw(st.lists(st.floats(min_value=1e-300, **finite), **several))),
        synthetic=synthetic.to_json(),
        decode=draw(texts),
        protocol=draw(mappings | protocols),
        learning_rate=draw(st.none() | st.floats(min_value=1e-300, **finite)),
        configuration=draw(mappings),
        seed=draw(st.none() | st.integers()),
        results=draw(mappings),
    )


@st.composite
def sets(draw: Any) -> DistilledSet:
    name = draw(st.sampled_from(sorted(CHOICES)))
    synthetic, unit = CHOICES[name], 2 if name == "mosaic" else 1
    classes, channels = draw(st.integers(1, 3)), draw(st.integers(1, 3))
    about = draw(metadata(synthetic, classes, channels))
    sides = [unit * draw(st.integers(1, 2)) for _ in range(2)]
    # The product of image and tint stays finite.
    floats = st.floats(width=32, **finite)
    bounded = floats if name == "pixels" else st.floats(-1e3, 1e3, width=32)
    shape = (classes, about.ipc, *sides, channels)
    stored = {"images": draw(arrays.arrays(np.float32, shape, elements=bounded))}
    if name in FURTHER:
        further, shape_of = FURTHER[name]
        stored[further] = draw(arrays.arrays(np.float32, shape_of(channels), elements=bounded))
    count = classes * about.ipc * synthetic.tiles
    hard = np.repeat(np.arange(classes), count // classes)
    soft = arrays.arrays(np.float32, (count, classes), elements=floats)
    return DistilledSet(stored, draw(st.just(hard) | soft), about)


def same(a: DistilledSet, b: DistilledSet) -> bool:
    def content(x: DistilledSet) -> dict[str, Any]:
        held = {**x.stored, "": x.labels, "decoded": x.images}
        return {name: (v.dtype, v.shape, v.tobytes()) for name, v in held.items()}

    return a.metadata == b.metadata and content(a) == content(b)


@properties
@given(distilled=sets())
def test_what_is_saved_is_loaded(distilled: DistilledSet) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = distilled.save(f"{folder}/a.safetensors")
        loaded = DistilledSet.load(path)
        assert same(loaded, distilled)
        # And once more: the same bytes.
        again = loaded.save(f"{folder}/b.safetensors")
        assert again.read_bytes() == path.read_bytes()
        assert again.with_suffix(".json").read_bytes() == path.with_suffix(".json").read_bytes()
        # Whatever the metadata holds, people can read it.
        assert all(isinstance(text, str) for text in loaded.describe().values())


@properties
@given(distilled=sets(), data=st.data())
def test_images_in_any_order_are_kept_with_their_labels(
    distilled: DistilledSet, data: st.DataObject
) -> None:
    ipc = len(distilled.labels) // distilled.num_classes
    labels = np.repeat(np.arange(distilled.num_classes), ipc)
    about = dataclasses.replace(distilled.metadata, synthetic=pixels.to_json(), ipc=ipc)
    images = distilled.images if distilled.variants == 1 else distilled.images[:, 0]
    order = np.array(data.draw(st.permutations(range(len(images)))))
    shuffled = DistilledSet.from_images(images[order], labels[order], about)
    for label in range(distilled.num_classes):
        before = {x.tobytes() for x in images[labels == label]}
        assert {x.tobytes() for x in shuffled.images[shuffled.labels == label]} == before


@properties
@given(distilled=sets(), place=st.floats(0, 1), bit=st.integers(0, 7), cut=st.booleans())
def test_what_is_damaged_is_refused(
    distilled: DistilledSet, place: float, bit: int, cut: bool
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = distilled.save(f"{folder}/a.safetensors")
        content = bytearray(path.read_bytes())
        i = int(place * (len(content) - 1))
        if cut:
            del content[i:]
        else:
            content[i] ^= 1 << bit
        path.write_bytes(content)
        try:
            loaded = DistilledSet.load(path)
        except ValueError as error:
            assert str(error).startswith(f"{Path(path)}: ") and "\n" not in str(error)
        else:
            assert same(loaded, distilled)
