"""The artefact of a distillation: one safetensors file with the set and how to use it.

The file holds what the parametrisation stores, the labels, and in its header, under the key ``jdd``,
the metadata as JSON. A copy of that JSON lies beside it for people to read. Pixels are the two tensors
``images`` ``[N, H, W, C]`` and ``labels``, so that any safetensors reader opens them, also in PyTorch. Any
other parametrisation has the tensors ``stored/NAME`` and ``labels``, and the metadata describes how they
become images. Nothing is pickled.
"""

from jdd.artefact.distilled_set import DistilledSet as DistilledSet
from jdd.artefact.export import export_arrays as export_arrays
from jdd.artefact.export import export_images as export_images
from jdd.artefact.format import FORMAT_VERSION as FORMAT_VERSION
from jdd.artefact.initial import from_set as from_set
from jdd.artefact.metadata import Metadata as Metadata
from jdd.artefact.provenance import versions as versions
