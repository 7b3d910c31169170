"""What must be known to use a distilled set: its metadata, as JSON and as values of the library."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from jdd.artefact.checks import (
    is_finite,
    is_int,
    json_mapping,
    one_line,
    require,
    require_strings,
)
from jdd.artefact.decoding import decoding_text, unknown_choices
from jdd.artefact.description import described
from jdd.artefact.format import FORMAT_VERSION, entries_of
from jdd.artefact.provenance import versions
from jdd.augment import Augmentation, no_augmentation
from jdd.choice import from_json
from jdd.configuration import Configuration, DataChoice, evaluation_network
from jdd.evaluate import PROTOCOLS, EvaluationProtocol
from jdd.nn import Network
from jdd.synthetic import Parametrisation, pixels
from jdd.synthetic.parametrisation import SPACES, Space
from jdd.validation import one_of

if TYPE_CHECKING:
    from jdd.datasets import Dataset

LAYOUTS = ("NHWC",)
_PIXELS = pixels.to_json()


@dataclasses.dataclass(frozen=True)
class Metadata:
    """Everything that must be known to use a distilled set.

    Attributes:
      method: the name of the method that made it.
      dataset: the name of the data set that it stands for.
      class_names: one name for each label, in the order of the labels.
      ipc: stored images per class.
      space: of the decoded images. "normalised": ``(pixel - mean) / std``, the space that networks are trained
        in; "raw01": pixels in [0, 1].
      mean: of each channel, of pixels in [0, 1]; normalises the input of networks.
      std: likewise.
      layout: of decoded images; always "NHWC".
      synthetic: the parametrisation, as JSON (``Parametrisation.to_json()``); pixels unless stated.
      decode: how the stored arrays become images, in words, for those who read the file without jdd.
      protocol: the evaluation that belongs to the set, as JSON (``EvaluationProtocol.to_json()``); may be
        empty.
      learning_rate: that was learned with the images, in place of the protocol's; None for the protocol's.
      configuration: the run, as JSON (``Configuration.record()``); may be empty.
      seed: of the run.
      versions: of the software that made it.
      results: what was measured with it, by name, as JSON.

    Raises:
      ValueError: if a value is of the wrong type or not allowed; the message names the field.

    >>> metadata = Metadata("dm", "digits", ("0", "1"), 1, "normalised", (0.5,), (0.25,))
    >>> metadata.data_choice().classes, metadata.parametrisation(), metadata.evaluation_protocol()
    (('0', '1'), pixels(), None)
    """

    method: str
    dataset: str
    class_names: tuple[str, ...]
    ipc: int
    space: Space
    mean: tuple[float, ...]
    std: tuple[float, ...]
    layout: str = "NHWC"
    synthetic: Mapping[str, Any] = dataclasses.field(default_factory=lambda: dict(_PIXELS))
    decode: str = decoding_text(pixels)
    protocol: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    learning_rate: float | None = None
    configuration: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    seed: int | None = None
    versions: Mapping[str, str] = dataclasses.field(default_factory=versions)
    results: Mapping[str, Any] = dataclasses.field(default_factory=dict)

    def __post_init__(self) -> None:
        strings = ("method", "dataset", "space", "layout", "decode")
        require_strings("metadata", {name: getattr(self, name) for name in strings})
        one_of("space", self.space, SPACES)
        one_of("layout", self.layout, LAYOUTS)
        for name in ("class_names", "mean", "std"):
            value = getattr(self, name)
            require(isinstance(value, (tuple, list)), f"{name} is {value!r}, not a sequence")
            object.__setattr__(self, name, tuple(value))
        require(len(self.class_names) > 0, "class_names is empty")
        require_strings("class_names", dict(enumerate(self.class_names)))
        repeated = sorted({name for name in self.class_names if self.class_names.count(name) > 1})
        require(not repeated, f"class_names repeats {', '.join(map(repr, repeated))}")
        require(is_int(self.ipc) and self.ipc > 0, f"ipc is {self.ipc!r}, not a positive integer")
        require(self.seed is None or is_int(self.seed), f"seed is {self.seed!r}, not an integer")
        require(len(self.mean) == len(self.std), "mean and std have different lengths")
        for name in ("mean", "std"):
            for value in getattr(self, name):
                require(is_finite(value), f"{name} holds {value!r}, not a finite number")
        require(all(x > 0 for x in self.std), f"std is {self.std}, but must be positive")
        rate = self.learning_rate
        is_rate = rate is None or (is_finite(rate) and rate > 0)
        require(is_rate, f"learning_rate is {rate!r}, not a positive number")
        for name in ("synthetic", "protocol", "configuration", "versions", "results"):
            object.__setattr__(self, name, json_mapping(name, getattr(self, name)))
        require_strings("versions", self.versions)
        require(
            isinstance(self.synthetic.get("choice"), str),
            f"synthetic is {self.synthetic}, but must have the entry 'choice' with a name",
        )
        if not self.unknown_choices():
            self.parametrisation()  # raises for one that does not fit

    @classmethod
    def of_run(
        cls,
        configuration: Configuration,
        dataset: Dataset,
        *,
        is_whitened: bool = False,
        learning_rate: float | None = None,
        results: Mapping[str, Any] | None = None,
    ) -> Metadata:
        """Makes the metadata of the set of a run.

        Args:
          configuration: of the run.
          dataset: that it was distilled from.
          is_whitened: whether images are whitened: their mean is then 0 and their std 1.
          learning_rate: that was learned with the images; None where none was.
          results: what was measured.

        Raises:
          ValueError: naming a choice of the recipe that no registered factory made (``jdd.register``).

        >>> import jdd
        >>> run = Configuration(jdd.dm(1, data="digits"), DataChoice("digits"))
        >>> metadata = Metadata.of_run(run, jdd.load_dataset("digits"))
        >>> metadata.method, metadata.evaluation_protocol() == run.recipe.protocol
        ('dm', True)
        """
        recipe = configuration.recipe
        return cls(
            method=recipe.name,
            dataset=dataset.name,
            class_names=dataset.class_names,
            ipc=recipe.ipc,
            space=recipe.synthetic.space,
            mean=(0.0,) * len(dataset.mean) if is_whitened else dataset.mean,
            std=(1.0,) * len(dataset.std) if is_whitened else dataset.std,
            synthetic=recipe.synthetic.to_json(),
            decode=decoding_text(recipe.synthetic),
            protocol=recipe.protocol.to_json(),
            learning_rate=learning_rate,
            configuration=configuration.record(),
            seed=configuration.seed,
            results=results or {},
        )

    @property
    def is_pixels(self) -> bool:
        """Whether the stored arrays are the images themselves."""
        return self.synthetic == _PIXELS

    def unknown_choices(self) -> list[str]:
        """Returns the names in `synthetic` that no module of this process has registered."""
        return unknown_choices(self.synthetic)

    def parametrisation(self) -> Parametrisation:
        """Returns the parametrisation, which decodes the set.

        Raises:
          ValueError: if this process does not know it, it is no parametrisation, or it decodes into another
            space than `space`.
        """
        unknown = self.unknown_choices()
        if unknown:
            raise ValueError(
                f"the set is decoded by {unknown[0]!r}, which this process does not know: import the module that "
                "registers it (@jdd.register)"
            )
        choice = from_json(self.synthetic)
        if not isinstance(choice, Parametrisation):
            raise ValueError(f"synthetic is {choice!r}, not a Parametrisation")
        # Images that somebody else saved as pixels may be in either space.
        require(
            self.is_pixels or choice.space == self.space,
            f"space is {self.space!r}, but {choice} decodes into {choice.space!r}",
        )
        return choice

    def evaluation_protocol(self) -> EvaluationProtocol | None:
        """Returns the evaluation that belongs to the set; None where the file states none.

        Where this jdd has another protocol of the same name, the one of the file is returned, and its
        name states that.

        Raises:
          ValueError: if this jdd does not know the protocol.
        """
        if not self.protocol:
            return None
        allowed = f"choose one of {', '.join(PROTOCOLS)}"
        require_strings("protocol", {"name": self.protocol.get("name")})
        if set(self.protocol) == {"name"}:
            name = self.protocol["name"]
            raise ValueError(
                f"the set is meant for the protocol {name!r}, which this jdd does not know: {allowed}"
            )
        try:
            protocol = EvaluationProtocol.from_json(self.protocol)
        except ValueError as error:
            raise ValueError(f"{one_line(error)}: {allowed}") from None
        if PROTOCOLS.get(protocol.name, protocol) == protocol:
            return protocol
        return dataclasses.replace(protocol, name=f"{protocol.name}, as the set states it")

    def augmentation(self) -> Augmentation:
        """Returns what to augment with when a network is trained on the set: that of its protocol.

        Raises:
          ValueError: if this jdd does not know it.
        """
        protocol = self.evaluation_protocol()
        if protocol is not None:
            return protocol.augment
        # A set of jdd 0.1 may state an augmentation without a protocol.
        recorded = self.configuration.get("augmentation")
        return no_augmentation() if recorded is None else from_json(recorded)

    def data_choice(self) -> DataChoice:
        """Returns the data set to evaluate with, with the classes of the labels in their order.

        The fingerprint is that of the run; empty where the classes are not those of the run.

        Raises:
          ValueError: if an entry of the configuration is of the wrong type.
        """
        entries = self._entries("data")
        name, classes = entries.get("name", self.dataset), entries.get("classes", [])
        share, fingerprint = entries.get("test_share"), entries.get("fingerprint", "")
        require_strings("configuration: data", {"name": name, "fingerprint": fingerprint})
        require(isinstance(classes, list), f"configuration: classes is {classes!r}, not a list")
        require(
            share is None or is_finite(share),
            f"configuration: test_share is {share!r}, not a number",
        )
        # Sets of several runs that were joined have the classes of all.
        is_of_run = not classes or len(classes) == len(self.class_names)
        return DataChoice(name, self.class_names, share, fingerprint if is_of_run else "")

    def network(self) -> Network | None:
        """Returns the network that the set was distilled on; None where the file states none.

        Raises:
          ValueError: if this jdd has no such network.
        """
        entries = self._entries("network")
        return Network.from_json(entries) if entries else None

    def eval_network(self) -> Network | None:
        """Returns the network that the run evaluated with; None where the file states none.

        Raises:
          ValueError: if this jdd has no such network.
        """
        network = self.network()
        if network is None:
            return None
        # Only these two decide: other choices of the recipe may be unknown to this process.
        pool = self._entries("recipe").get("pool", "S")
        norm = self._entries("evaluation").get("norm")
        require(
            norm is None or isinstance(norm, str), f"configuration: norm is {norm!r}, not a string"
        )
        return evaluation_network(network, pool, norm)

    def describe(self) -> dict[str, str]:
        """Describes every field for people, by name of the row."""
        try:
            protocol = self.evaluation_protocol()
        except ValueError as error:
            text = str(error)
        else:
            text = "none" if protocol is None else protocol.describe()
        return described(self, text)

    def to_json(self) -> str:
        """Returns the metadata as JSON text, with the version of the format."""
        return json.dumps({"format_version": FORMAT_VERSION, **dataclasses.asdict(self)}, indent=2)

    @classmethod
    def from_json(cls, text: str) -> Metadata:
        """Reads the metadata that `to_json` wrote, in this version of the format or version 1.

        Entries unknown to this version are passed over.

        Raises:
          ValueError: if the text is no JSON object, the format is newer than this version of jdd
            reads, a required entry is missing, or a value is not allowed.
        """
        fields = dataclasses.fields(cls)
        missing = dataclasses.MISSING
        required = [x.name for x in fields if x.default is missing and x.default_factory is missing]
        values = entries_of(text, required)
        # Those of the running software would be wrong for a file that states none.
        known: dict[str, Any] = {"versions": {}}
        return cls(**known | {x.name: values[x.name] for x in fields if x.name in values})

    def _entries(self, name: str) -> Mapping[str, Any]:
        """An entry of the configuration; empty where there is none."""
        entries = self.configuration.get(name, {})
        require(
            isinstance(entries, Mapping), f"configuration: {name} is {entries!r}, not a mapping"
        )
        return entries
