"""Whatever a set holds, it is loaded as it was saved, or refused in one line."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from jdd.artefact import Augmentation, DistilledSet, Metadata

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
finite: dict[str, Any] = {"allow_nan": False, "allow_infinity": False}


@st.composite
def metadata(draw: Any, classes: int, ipc: int, channels: int) -> Metadata:
    several: dict[str, Any] = {"min_size": channels, "max_size": channels}
    return Metadata(
        method=draw(texts),
        dataset=draw(texts),
        class_names=tuple(draw(st.lists(texts, min_size=classes, max_size=classes, unique=True))),
        ipc=ipc,
        space=draw(st.sampled_from(["normalised", "raw01"])),
        mean=tuple(draw(st.lists(st.floats(**finite), **several))),
        std=tuple(draw(st.lists(st.floats(min_value=1e-300, **finite), **several))),
        augmentation=draw(st.none() | st.builds(Augmentation, st.text(min_size=1), texts)),
        protocol=draw(texts),
        recipe=draw(mappings),
        learned_lr=draw(st.none() | st.floats(min_value=1e-300, **finite)),
        options=draw(mappings),
        seed=draw(st.none() | st.integers()),
        results=draw(mappings),
    )


@st.composite
def sets(draw: Any) -> DistilledSet:
    classes, ipc = draw(st.integers(1, 3)), draw(st.integers(1, 2))
    sides = draw(st.tuples(st.integers(1, 3), st.integers(1, 3), st.integers(1, 3)))
    count = classes * ipc
    floats = st.floats(width=32, **finite)
    hard = st.permutations([label for label in range(classes) for _ in range(ipc)]).map(np.array)
    soft = arrays.arrays(np.float32, (count, classes), elements=floats)
    kinds = st.sampled_from([np.float32, np.float64, np.int64, np.uint8, np.bool_])
    further = kinds.flatmap(
        lambda kind: arrays.arrays(
            kind,
            arrays.array_shapes(min_dims=0, max_dims=2, min_side=0, max_side=3),
            elements=finite if np.issubdtype(kind, np.floating) else None,
        )
    )
    names = texts.filter(lambda name: name not in ("images", "labels", "__metadata__"))
    return DistilledSet(
        draw(arrays.arrays(np.float32, (count, *sides), elements=floats)),
        draw(hard | soft),
        draw(metadata(classes, ipc, sides[-1])),
        draw(st.dictionaries(names, further, max_size=2)),
    )


def same(a: DistilledSet, b: DistilledSet) -> bool:
    def content(x: DistilledSet) -> dict[str, Any]:
        held = {**x.tensors, "images": x.images, "labels": x.labels}
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
