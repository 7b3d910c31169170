"""tensorflow-datasets as a source: sets prepared as ArrayRecord are read without TensorFlow."""

from __future__ import annotations

import contextlib
import importlib.util
import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from jdd.datasets.images import decode_image
from jdd.datasets.source import RawSplit, Source
from jdd.validation import did_you_mean

_FORMAT = "array_record"
_NEEDED_TO_PREPARE = ("tensorflow", "importlib_resources")
_BATCH = 1000
_MODES = {1: "L", 3: "RGB", 4: "RGBA"}  # by number of channels, in Pillow's names


def read_tfds(name: str, data_dir: Path | None) -> Source:
    """Reads the train and the test split of a tensorflow-datasets set, prepared first if possible.

    A prepared set is looked for in `data_dir`, then in tensorflow-datasets' folder. Preparing
    downloads the set and needs TensorFlow (the extra `jdd[tfds]`); reading does not. Images are
    8-bit, of one size, under the feature `image`, labels integers under `label`. Where there is no
    test split the validation split serves as test, with a remark in the name of the data set.

    Args:
      name: as tensorflow-datasets spells it, `NAME`, `NAME/CONFIG` or `NAME:VERSION`.
      data_dir: folder of prepared sets; None: tensorflow-datasets' default only.

    Raises:
      ValueError: one line, for an unknown set, one that is not prepared and cannot be, one prepared
        in another file format, or one that is no image classification set.
    """
    try:
        import tensorflow_datasets as tfds  # seconds to import, and needed by this source only
    except ImportError as error:
        raise ValueError(
            f"tfds:{name} needs tensorflow-datasets ({_first_line(error)}): pip install tensorflow-datasets"
        ) from None
    builder = _prepared_builder(tfds, name, data_dir)
    with _one_line(name, builder):
        return _read(tfds, name, builder)


@contextlib.contextmanager
def _one_line(name: str, builder: Any) -> Iterator[None]:
    """Every failure to read becomes a `ValueError` of one line."""
    try:
        yield
    except NotImplementedError:  # the only cause: a file format without random access
        raise ValueError(
            f"tfds:{name}: {builder.data_path} is prepared as {builder.info.file_format.value}, "
            f"which only TensorFlow reads: prepare it with file_format={_FORMAT!r}"
        ) from None
    except Exception as error:  # the backends of tfds raise many types
        raise ValueError(
            f"tfds:{name}: cannot read {builder.data_path}: {_first_line(error)}"
        ) from None


def _read(tfds: Any, name: str, builder: Any) -> Source:
    splits = builder.info.splits
    if "train" not in splits:
        raise ValueError(f"needs a split train, it has {', '.join(splits)}")
    test = next((part for part in ("test", "validation") if part in splits), None)
    features = builder.info.features
    for feature in ("image", "label"):
        if feature not in features:
            raise ValueError(f"needs the features image and label, it has {', '.join(features)}")
    image, label = features["image"], features["label"]
    if not isinstance(image, tfds.features.Image) or image.np_dtype != np.uint8:
        raise ValueError(f"images must be 8-bit images, the feature is {image}")
    if label.shape != () or np.dtype(label.np_dtype).kind not in "iu":
        raise ValueError(f"labels must be single integers, the feature is {label}")
    undecoded = {"image": tfds.decode.SkipDecoding()}
    mode = _MODES.get(image.shape[-1])
    if mode is None:
        raise ValueError(f"images must have 1, 3 or 4 channels, the feature is {image}")

    def read(part: str) -> RawSplit:
        return _read_split(builder.as_data_source(part, decoders=undecoded), mode)

    def read_validation() -> RawSplit:
        with _one_line(name, builder):  # called after this function has returned
            return read("validation")

    return Source(
        read("train"),
        None if test is None else read(test),
        tuple(getattr(label, "names", None) or ()) or None,
        validation=read_validation if "validation" in splits else None,
        remark=" (validation as test)" if test == "validation" else "",
    )


def _prepared_builder(tfds: Any, name: str, data_dir: Path | None) -> Any:
    places = [None] if data_dir is None else [str(data_dir), None]
    for place in places:
        builder = _builder(tfds, name, data_dir=place)
        # builder.is_prepared() would log a warning for each place without the set
        if builder is not None and (builder.data_path / "dataset_info.json").exists():
            return builder
    looked = " and ".join(place or str(tfds.core.constants.DATA_DIR) for place in places)
    builder = _builder(tfds, name, data_dir=places[0], file_format=_FORMAT)
    if builder is None:
        hint = did_you_mean(name, tfds.list_builders(with_community_datasets=False))
        raise ValueError(
            f"tfds:{name} is unknown to tensorflow-datasets and not prepared in {looked}{hint}"
        )
    missing = [module for module in _NEEDED_TO_PREPARE if importlib.util.find_spec(module) is None]
    if missing:
        raise ValueError(
            f"tfds:{name} is not prepared in {looked}, and preparing it needs "
            f"{' and '.join(missing)}: pip install tensorflow-cpu importlib_resources"
        )
    try:
        builder.download_and_prepare()
    except Exception as error:  # downloads, disks and TensorFlow raise many types
        raise ValueError(f"tfds:{name}: preparing failed: {_first_line(error)}") from None
    return builder


def _builder(tfds: Any, name: str, **options: Any) -> Any:
    """Finds the builder of a name; None where tensorflow-datasets has no such set."""
    try:
        return tfds.builder(name, **options)
    except tfds.core.registered.DatasetNotFoundError:
        return None
    except Exception as error:  # a malformed name, a config or version that does not exist
        raise ValueError(f"tfds:{name}: {_first_line(error)}") from None


def _read_split(source: Any, mode: str) -> RawSplit:
    """Reads all records of a split, in batches, decoded by Pillow.

    CPU seconds for 60,000 PNG of 28 x 28, measured side by side on a busy machine: 10; with the
    decoding of tensorflow-datasets 14, looked up one by one 18.
    """
    images, labels = None, np.empty(len(source), np.int32)
    for low in range(0, len(source), _BATCH):
        rows = range(low, min(low + _BATCH, len(source)))
        for row, example in zip(rows, source.__getitems__(rows), strict=True):
            image = decode_image(io.BytesIO(example["image"]), mode)
            if images is None:
                images = np.empty((len(source), *image.shape), np.uint8)
            if image.shape != images.shape[1:]:
                raise ValueError(
                    f"images must be of one size, got {images.shape[1:]} and {image.shape}"
                )
            images[row], labels[row] = image, example["label"]
    if images is None:
        raise ValueError("a split without images")
    return RawSplit(images, labels)


def _first_line(error: BaseException) -> str:
    return str(error).strip().partition("\n")[0] or type(error).__name__
