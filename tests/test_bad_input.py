"""What the API refuses: a ``ValueError`` of one line that names what is wrong, and no file is changed."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace as Toy
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import safetensors.numpy

import jdd
from jdd import (
    augment,
    baselines,
    data,
    datasets,
    evaluate,
    interop,
    losses,
    matching,
    methods,
    nn,
    synthetic,
    training,
)
from jdd.artefact import DistilledSet, Metadata
from jdd.augment import ops
from jdd.checkpoint import Checkpoints

KEY = jax.random.key(0)
NAN = float("nan")
IMAGES = np.arange(12 * 64, dtype=np.uint8).reshape(12, 8, 8, 1)
LABELS = np.repeat(np.arange(2, dtype=np.int32), (7, 5))
FLOATS = jnp.zeros((2, 8, 8, 1))
METADATA = Metadata("dsa", "toy", ("cat", "dog"), 1, "normalised", (0.5,), (0.25,))
QUICK = evaluate.EvaluationProtocol("quick", epochs=1)
MATRIX = jnp.eye(2)


@pytest.fixture(scope="module")
def toy(tmp_path_factory: pytest.TempPathFactory) -> Toy:
    """What is right, so that each case can be wrong in one point; some of it in a folder."""
    folder = tmp_path_factory.mktemp("toy")
    images = np.zeros((2, 8, 8, 1), np.float32)
    distilled = DistilledSet.from_images(images, np.arange(2), METADATA)
    distilled.save(folder / "set.safetensors")
    checkpoints = Checkpoints(folder / "checkpoints")
    checkpoints.save(1, {"x": jnp.ones(2)}, {"ipc": 1})
    split = data.Split(IMAGES, LABELS)
    model = nn.convnet(2, (8, 8, 1), width=4, depth=1)
    three = data.class_table(data.Split(IMAGES, LABELS * 2), 3, (0.5,), (0.25,))
    return Toy(
        split=split,
        dataset=datasets.Dataset("toy", split, split, ("cat", "dog"), (0.5,), (0.25,)),
        table=data.class_table(split, 2, (0.5,), (0.25,)),
        three=three,
        real=data.Data(data.class_table(split, 2, (0.5,), (0.25,))),
        model=model,
        variables=model.init(KEY),
        distilled=distilled,
        folder=folder,
        checkpoints=checkpoints,
    )


def npz(toy: Toy, **changes: Any) -> datasets.Dataset:
    arrays = {"x_train": IMAGES, "y_train": LABELS, "x_test": IMAGES, "y_test": LABELS}
    np.savez(toy.folder / "own.npz", **(arrays | changes))
    return datasets.load_dataset(f"npz:{toy.folder / 'own.npz'}")


def rewritten(toy: Toy, *, without: str = "", **changes: Any) -> DistilledSet:
    """The set with other tensors, as somebody else would write it."""
    tensors = {"images": toy.distilled.images, "labels": toy.distilled.labels} | changes
    tensors.pop(without, None)
    header = {"jdd": toy.distilled.metadata.to_json()}
    safetensors.numpy.save_file(tensors, toy.folder / "b.safetensors", metadata=header)
    return DistilledSet.load(toy.folder / "b.safetensors")


def damaged(toy: Toy, change: Callable[[bytes], bytes]) -> DistilledSet:
    (toy.folder / "b.safetensors").write_bytes(
        change((toy.folder / "set.safetensors").read_bytes())
    )
    return DistilledSet.load(toy.folder / "b.safetensors")


def distilled(
    toy: Toy, images: Any = None, labels: Any = None, tensors: Any = None, **metadata: Any
) -> DistilledSet:
    changed = dataclasses.replace(METADATA, **metadata)
    if tensors is not None:
        return DistilledSet(dict(toy.distilled.stored) | tensors, toy.distilled.labels, changed)
    return DistilledSet.from_images(
        toy.distilled.images if images is None else images,
        toy.distilled.labels if labels is None else labels,
        changed,
    )


def evaluated(toy: Toy, images: Any = FLOATS, labels: Any = (0, 1), **options: Any):
    arguments = {"model": toy.model, "test": toy.table, "protocol": QUICK} | options
    return evaluate.evaluate(KEY, images=images, labels=jnp.asarray(labels), **arguments)


def trained(toy: Toy, images: Any = FLOATS, labels: Any = (0, 1), epochs: Any = 1, **sgd: Any):
    return training.train_epochs(
        KEY,
        toy.model,
        training.TrainingState.begin(toy.variables, training.SGD()),
        images,
        jnp.asarray(labels),
        training.SGD(**sgd),
        epochs=epochs,
    )


def linear(weights: Any, images: Any) -> Any:
    return images.reshape(len(images), -1) @ weights


def begun(toy: Toy, recipe: methods.Recipe, *, model: Any = None, table: Any = None) -> Any:
    """The first state of a run."""
    method = methods.build(recipe, model or toy.model)
    return method.init(KEY, toy.real if table is None else data.Data(table))


def stepped(toy: Toy, objective: matching.Stage) -> Any:
    recipe = dataclasses.replace(methods.dm(1), name="own", objective=objective)
    method = methods.build(recipe, toy.model)
    return jax.eval_shape(method.step, method.init(KEY, toy.real), toy.real)


def matched(toy: Toy, stage: matching.Stage, synthetic_side: Any, real_side: Any) -> Any:
    network, params = toy.model.network(toy.variables)
    context = matching.Context(network, params, KEY)
    return matching.value_of(stage, matching.Pair(synthetic_side, real_side), context)


def blind(toy: Toy, stage: matching.Stage) -> Any:
    """With a network that returns logits alone."""
    context = matching.Context(linear, jnp.ones((64, 2)), KEY)
    return matching.value_of(stage, matching.Pair(stacked(2), stacked(2)), context)


def stacked(classes: int, n: int = 1) -> matching.Batch:
    labels = jnp.tile(jnp.arange(classes)[:, None], (1, n))
    return matching.Batch(jnp.zeros((classes, n, 8, 8, 1)), labels)


def flip(place: float) -> Callable[[bytes], bytes]:
    """Changes one byte, at a share of the length."""

    def change(content: bytes) -> bytes:
        i = int(place * (len(content) - 1))
        return content[:i] + bytes([content[i] ^ 1]) + content[i + 1 :]

    return change


def with_nan(images: Any) -> np.ndarray:
    images = np.array(images, np.float32)
    images.flat[3] = np.nan
    return images


# id: (call, words of the message)
CASES: dict[str, tuple[Callable[[Toy], Any], list[str]]] = {
    # losses
    "cross entropy of float labels": (
        lambda t: losses.cross_entropy(jnp.zeros((2, 3)), jnp.zeros(2)),
        ["hard labels must be integers", "float32"],
    ),
    "cross entropy of soft labels of other classes": (
        lambda t: losses.cross_entropy(jnp.zeros((2, 3)), jnp.zeros((2, 4))),
        ["(2, 3)", "(2, 4)"],
    ),
    "cross entropy of fewer labels": (
        lambda t: losses.cross_entropy(jnp.zeros((2, 3)), jnp.zeros(1, int)),
        ["(2, 3)", "(1,)"],
    ),
    "distance of other layers": (
        lambda t: losses.layerwise_cosine({"a": FLOATS}, {"a": FLOATS, "b": FLOATS}),
        ["same pytree structure"],
    ),
    "distance of other shapes": (
        lambda t: losses.squared_error(FLOATS, FLOATS[:1]),
        ["equal shapes", "(1, 8, 8, 1)"],
    ),
    # augment
    "dsa on bytes": (
        lambda t: augment.dsa(KEY, IMAGES, "color", siamese=True),
        ["floats", "uint8"],
    ),
    "dsa by an unknown op": (
        lambda t: augment.dsa(KEY, FLOATS, "crop_rotat", siamese=True),
        ["'rotat'", "did you mean 'rotate'?"],
    ),
    "dsa on one image": (
        lambda t: augment.dsa(KEY, FLOATS[0], "flip", siamese=True),
        ["[N, H, W, C]", "(8, 8, 1)"],
    ),
    "dc's augmentation on bytes": (
        lambda t: augment.dc_augment(KEY, IMAGES),
        ["floats", "uint8"],
    ),
    "dc's augmentation by an op of dsa": (
        lambda t: augment.dc_augment(KEY, FLOATS, "crop_flip"),
        ["'flip'", "allowed: crop, scale, rotate, noise"],
    ),
    "a negative strength": (lambda t: augment.DSARatios(rotate=-1.0), ["rotate", "-1.0"]),
    "a strength that is nan": (lambda t: augment.DSARatios(cutout=NAN), ["cutout", "nan"]),
    "a crop of nothing": (lambda t: augment.DCRatios(crop=0), ["crop", "at least 1"]),
    "more parameters than images": (
        lambda t: ops.crop(FLOATS, jnp.zeros(3, int), 0),
        ["one value per image (2,)", "(3,)"],
    ),
    "a negative hole": (lambda t: ops.cutout(FLOATS, 1, 1, -3), ["size", "at least 0", "-3"]),
    # data
    "labels of floats": (
        lambda t: data.Split(IMAGES, LABELS.astype(np.float32)),
        ["labels must be", "int32", "float32"],
    ),
    "pixels that are nan": (
        lambda t: data.Split(with_nan(IMAGES), LABELS),
        ["images must be", "uint8", "float32"],
    ),
    "an empty class": (
        lambda t: dataclasses.replace(t.dataset, class_names=("cat", "dog", "emu")),
        ["no train image of emu"],
    ),
    "statistics of another number of channels": (
        lambda t: dataclasses.replace(t.dataset, mean=(0.5, 0.5, 0.5)),
        ["mean must be 1 finite"],
    ),
    "an unknown class": (lambda t: t.dataset.restrict(["dgo"]), ["did you mean 'dog'?"]),
    "a table with a std of zero": (
        lambda t: data.class_table(t.split, 2, (0.5,), (0.0,)),
        ["std positive", "(0.0,)"],
    ),
    "a table with a mean that is nan": (
        lambda t: data.class_table(t.split, 2, (NAN,), (0.5,)),
        ["mean must be finite", "nan"],
    ),
    "a table of fewer classes": (
        lambda t: data.class_table(t.split, 1, (0.5,), (0.5,)),
        ["labels run from 0 to 1", "0 to 0"],
    ),
    "a draw of nothing": (lambda t: data.draw_indices(KEY, t.table, 0), ["n must be at least 1"]),
    "normalising what is normalised": (
        lambda t: data.normalise(FLOATS, (0.5,), (0.5,)),
        ["uint8", "float32"],
    ),
    "an unknown data set": (
        lambda t: datasets.load_dataset("fashion-mnist"),
        ["did you mean 'fashion_mnist'?"],
    ),
    "the home of nobody": (
        lambda t: datasets.load_dataset("npz:~nobody-of-this-name/a.npz"),
        ["npz:~nobody", "home"],
    ),
    "an archive with pixels that are nan": (
        lambda t: npz(t, x_train=with_nan(IMAGES)),
        ["own.npz", "x_train"],
    ),
    "an archive with labels of floats": (
        lambda t: npz(t, y_train=LABELS + 0.5),
        ["own.npz", "y_train must be integers", "float64"],
    ),
    "an archive with fewer labels": (
        lambda t: npz(t, y_test=LABELS[:3]),
        ["own.npz", "12 images but 3 labels"],
    ),
    "an archive without a color": (
        lambda t: npz(t, x_train=IMAGES * 0, x_test=IMAGES * 0),
        ["std must be positive"],
    ),
    # nn
    "a network for one class": (lambda t: nn.convnet(1, (8, 8, 1)), ["num_classes", "at least 2"]),
    "a network for flat images": (lambda t: nn.convnet(2, (64,)), ["image_shape", "(64,)"]),  # type: ignore[arg-type]
    "a network too deep for the images": (
        lambda t: nn.convnet(2, (8, 8, 3), depth=4),
        ["8x8", "depth may be at most 3"],
    ),
    "an unknown norm": (lambda t: nn.convnet(2, (8, 8, 1), norm="bach"), ["did you mean 'batch'?"]),
    "groups that do not divide the width": (
        lambda t: nn.convnet(2, (8, 8, 1), width=6, norm="group"),
        ["multiple of 4", "6"],
    ),
    "images of another size": (
        lambda t: t.model.apply(t.variables, FLOATS[:, :4]),
        ["takes images [n, 8, 8, 1]", "(2, 4, 8, 1)"],
    ),
    "a state dict without layers": (
        lambda t: interop.params_from_torch(t.model, {}),
        ["layer"],
    ),
    # matching
    "a micro-batch of nothing": (
        lambda t: matching.gradients(real_micro_batch=0),
        ["real_micro_batch", "at least 1"],
    ),
    "a siamese op that is unknown": (
        lambda t: matching.siamese("colour"),
        ["did you mean 'color'?"],
    ),
    "a chain of nothing": (lambda t: matching.chain(), ["chain needs at least one stage"]),
    "classes by an unknown strategy": (
        lambda t: matching.per_class(matching.gradients(), over_classes="vamp"),
        ["over_classes", "'vamp'"],
    ),
    "sides of different classes": (
        lambda t: matched(t, matching.per_class(matching.gradients()), stacked(2), stacked(3)),
        ["2 classes", "3"],
    ),
    "an empty batch": (
        lambda t: matched(
            t,
            matching.gradients(),
            *[matching.Batch(FLOATS[:0], jnp.zeros(0, int)), stacked(2).of_class(0)],
        ),
        ["empty batch"],
    ),
    "a sum of what is no number": (
        lambda t: matched(t, matching.add(matching.siamese("none")), stacked(2), stacked(2)),
        ["add", "scalar", "stage 0"],
    ),
    # synthetic
    "noise for no image": (lambda t: synthetic.noise(KEY, t.table, 0), ["ipc", "at least 1"]),
    "half an image per class": (
        lambda t: synthetic.real(KEY, t.table, 1.5),  # type: ignore[arg-type]
        ["ipc must be a whole number", "1.5"],
    ),
    "more images than the smallest class has": (
        lambda t: synthetic.real(KEY, t.table, 6),
        ["smallest class (5)", "6"],
    ),
    "images without classes": (
        lambda t: synthetic.pixels.init(KEY, FLOATS),
        ["[C, ipc, H, W, channels]", "(2, 8, 8, 1)"],
    ),
    # training
    "training on nothing": (lambda t: trained(t, FLOATS[:0], np.zeros(0, int)), ["need images"]),
    "training with fewer labels": (lambda t: trained(t, labels=[0]), ["label each", "(1,)"]),
    "a negative rate of training": (
        lambda t: trained(t, learning_rate=-0.1),
        ["learning_rate", "above 0", "-0.1"],
    ),
    "a momentum of one": (lambda t: trained(t, momentum=1.0), ["momentum", "below 1"]),
    "a negative decay": (lambda t: trained(t, weight_decay=-1e-3), ["weight_decay", "-0.001"]),
    "minibatches of nothing": (lambda t: trained(t, batch_size=0), ["batch_size", "at least 1"]),
    "fewer epochs than none": (lambda t: trained(t, epochs=-1), ["epochs", "at least 0", "-1"]),
    # methods
    "no image per class": (lambda t: methods.dsa(0), ["ipc must be at least 1, got 0"]),
    "a negative rate of the images": (
        lambda t: methods.sgd(-0.1),
        ["learning_rate must be above 0", "-0.1"],
    ),
    "a rate that is nan": (lambda t: methods.adam(NAN), ["learning_rate", "nan"]),
    "a rate that is text": (
        lambda t: methods.sgd("0.1"),  # type: ignore[arg-type]
        ["learning_rate", "'0.1'"],
    ),
    "a negative momentum": (
        lambda t: methods.sgd(0.1, -0.5),
        ["momentum must be at least 0", "-0.5"],
    ),
    "a momentum of 1": (lambda t: methods.sgd(0.1, 1), ["momentum", "below 1"]),
    "a method by an unknown strategy": (
        lambda t: methods.dsa(1, strategy="flop"),
        ["'flop'", "did you mean"],
    ),
    "half a network": (
        lambda t: dataclasses.replace(methods.dc(1), networks=0.5),
        ["networks", "whole number", "0.5"],
    ),
    "no update": (
        lambda t: dataclasses.replace(methods.dc(1), updates=0),
        ["updates must be at least 1, got 0"],
    ),
    "fewer epochs between updates than none": (
        lambda t: methods.on_synthetic(-1),
        ["epochs must be at least 0, got -1"],
    ),
    "no real image": (lambda t: data.uniform(0), ["n must be at least 1, got 0"]),
    "loops for half an image": (
        lambda t: methods.dc(1.5),  # type: ignore[arg-type]
        ["ipc", "whole number", "1.5"],
    ),
    "a choice of another kind": (
        lambda t: dataclasses.replace(methods.dc(1), sampler=methods.never()),
        ["sampler must be of kind Sampler", "never()"],
    ),
    "an objective that is a function": (
        lambda t: dataclasses.replace(methods.dc(1), objective=losses.squared_error),
        ["objective must be of kind Stage", "function"],
    ),
    "a recipe that is no JSON": (lambda t: methods.Recipe.from_json("{"), ["not JSON"]),
    "a recipe of tomorrow": (
        lambda t: methods.Recipe.from_json({"version": 9}),
        ["version 9", "reads version 1"],
    ),
    "a recipe with an unnamed stage": (
        lambda t: dataclasses.replace(
            methods.dc(1), objective=matching.stateless(lambda value, context: value)
        ).to_json(),
        ["the recipe cannot be saved: objective", "@jdd.register"],
    ),
    "a table in place of data": (
        lambda t: methods.build(methods.dc(1), t.model).init(KEY, t.table),
        ["data must be a jdd.data.Data(table)", "ClassTable"],
    ),
    "a table of other classes": (
        lambda t: begun(t, methods.dc(1), table=t.three),
        ["2 classes", "the real set has 3 classes"],
    ),
    "a table of other images": (
        lambda t: begun(t, methods.dc(1), model=nn.convnet(2, (8, 8, 3), width=4, depth=1)),
        ["(8, 8, 3)", "(8, 8, 1)"],
    ),
    "a table with an empty class": (
        lambda t: begun(
            t, methods.dc(1), model=nn.convnet(3, (8, 8, 1), width=4, depth=1), table=t.three
        ),
        ["every class needs real images"],
    ),
    "a warm-up of more networks than there are": (
        lambda t: methods.dcc(1, networks=4, warm_up_networks=5),
        ["warm_up_networks", "0 to the 4", "got 5"],
    ),
    "a warm-up of more updates than there are": (
        lambda t: methods.dsac(1, updates=2, warm_up_updates=3),
        ["warm_up_updates", "0 to the 2", "got 3"],
    ),
    "a warm-up of negative networks": (
        lambda t: methods.dcc(1, warm_up_networks=-1),
        ["warm_up_networks", "from 0", "got -1"],
    ),
    "a warm-up of negative updates": (
        lambda t: methods.dsac(1, warm_up_updates=-1),
        ["warm_up_updates", "from 0", "got -1"],
    ),
    "a warm-up of half a network": (
        lambda t: methods.dcc(1, warm_up_networks=0.5),  # type: ignore[arg-type]
        ["networks", "whole number", "0.5"],
    ),
    "dsac by an unknown strategy": (
        lambda t: methods.dsac(1, strategy="crop_flop"),
        ["'flop'", "did you mean 'flip'?"],
    ),
    "dm by an unknown strategy": (
        lambda t: methods.dm(1, strategy="colour"),
        ["did you mean 'color'?"],
    ),
    "no network per update": (
        lambda t: dataclasses.replace(methods.dm(1), networks_per_update=0),
        ["networks_per_update", "at least 1", "0"],
    ),
    "half a network per update": (
        lambda t: dataclasses.replace(methods.dm(1), networks_per_update=1.5),
        ["networks_per_update", "whole number", "1.5"],
    ),
    "several networks that would be trained": (
        lambda t: methods.build(
            dataclasses.replace(methods.dc(10), networks_per_update=3), t.model
        ),
        ["networks_per_update above 1 needs updates of 1", "3 and 10"],
    ),
    "embeddings of a network without": (
        lambda t: blind(t, methods.class_embeddings()),
        ["needs the embedding", "returns logits alone", "Output(logits, taps, embedding)"],
    ),
    "embeddings of all classes at once of a network without": (
        lambda t: blind(t, matching.joint_embeddings()),
        ["needs the embedding", "returns logits alone"],
    ),
    "features of a network without": (
        lambda t: blind(t, methods.layer_features()),
        ["needs the embedding", "returns logits alone"],
    ),
    "dm without images": (lambda t: methods.dm(0), ["ipc must be at least 1"]),
    "more images than the smallest class has, in a run": (
        lambda t: begun(t, methods.dm(6)),
        ["smallest class (5)", "got 6"],
    ),
    "feature_alignment of other layers": (
        lambda t: losses.feature_alignment([jnp.ones((2, 1, 3))], [jnp.ones((2, 1, 4))], [1.0]),
        ["[C, n, ...]", "(2, 1, 3)", "(2, 1, 4)"],
    ),
    "feature_alignment with a weight too many": (
        lambda t: losses.feature_alignment([jnp.ones((2, 1))], [jnp.ones((2, 1))], [1.0, 1.0]),
        ["one weight for each layer", "2 weights"],
    ),
    "discrimination of other classes": (
        lambda t: losses.discrimination(jnp.ones((2, 1, 3)), jnp.ones((3, 1, 3))),
        ["[C, n, d]", "(3, 1, 3)"],
    ),
    "discrimination with other weights": (
        lambda t: losses.discrimination(
            jnp.ones((2, 1, 3)), jnp.ones((2, 4, 3)), weights=jnp.ones((2, 3))
        ),
        ["weights must be (2, 4)", "(2, 3)"],
    ),
    "feature_alignment of no layers": (
        lambda t: losses.feature_alignment([], [], []),
        ["at least one", "0 weights"],
    ),
    "class_discrimination of no class": (
        lambda t: losses.class_discrimination(jnp.eye(3), jnp.eye(3), 3),
        ["index must be from 0 to 2", "got 3"],
    ),
    "class_discrimination of other embeddings": (
        lambda t: losses.class_discrimination(jnp.eye(3), jnp.eye(2), 0),
        ["[C, d] and [m, d]", "(2, 2)"],
    ),
    "class_discrimination with other weights": (
        lambda t: losses.class_discrimination(jnp.eye(3), jnp.eye(3), 0, jnp.ones(2)),
        ["weights must be (3,)", "(2,)"],
    ),
    "a loss that is one number for a batch": (
        lambda t: matched(
            t,
            matching.per_class(matching.gradients(loss=lambda z, y: z.sum())),
            stacked(2),
            stacked(2),
        ),
        ["loss must return one number for each image", "got ()"],
    ),
    "strengths of an augmentation without its ops": (
        lambda t: matching.siamese(ratios=augment.DSARatios(rotate=30.0)),
        ["ratios need a strategy"],
    ),
    "a warm-up of no updates per network": (
        lambda t: methods.after_warm_up(1, 0, updates_per_network=0),
        ["updates_per_network must be at least 1"],
    ),
    "a parametrisation with half a variant": (
        lambda t: dataclasses.replace(synthetic.pixels, variants=1.5),  # type: ignore[arg-type]
        ["variants must be a whole number", "1.5"],
    ),
    "a share that is no number": (
        lambda t: methods.halved_after(("a",)),  # type: ignore[arg-type]
        ["shares must be between 0 and 1", "'a'"],
    ),
    "half an image of each class": (
        lambda t: data.draw_indices(KEY, t.table, 1.5),  # type: ignore[arg-type]
        ["n must be a whole number", "1.5"],
    ),
    "cafe with weights of another network": (
        lambda t: stepped(t, methods.layer_features([1.0] * 9)),
        ["one weight for each layer", "9 weights"],
    ),
    "cafe with a window above both caps": (
        lambda t: begun(
            t,
            dataclasses.replace(
                methods.cafe(1), updates=8, motion=methods.by_queries(window=9, max_epochs=7)
            ),
        ),
        ["window must be at most 8", "got 9"],
    ),
    "cafe with negative weights": (
        lambda t: methods.layer_features([1.0, -1.0]),
        ["at least 0", "-1.0"],
    ),
    "cafe with a threshold of 1": (
        lambda t: methods.by_queries(outer=1.0),
        ["outer threshold", "between 0 and 1"],
    ),
    "cafe with a cap of 0": (
        lambda t: methods.by_queries(max_epochs=0),
        ["max_epochs", "at least 1"],
    ),
    "cafe with a threshold that is above 1 for so few images": (
        lambda t: begun(t, methods.cafe(1, query=5, inner=0.5)),
        ["inner threshold of 0.5", "5.66 for the 10"],
    ),
    "cafe with more steps than can be counted": (
        lambda t: begun(t, methods.cafe(1, max_epochs=10**12)),
        ["max_epochs times updates", "2147483647"],
    ),
    "cafe with a query larger than a class": (
        lambda t: begun(t, methods.cafe(1, query=128)),
        ["query must be at most 5", "got 128"],
    ),
    "cafe with weights that are not finite": (
        lambda t: methods.layer_features(discrimination_weight=float("nan")),
        ["finite", "nan"],
    ),
    "cafe without layers": (
        lambda t: methods.layer_features(()),
        ["layer_weights", "none"],
    ),
    "cafe with fewer query images than synthetic ones": (
        lambda t: begun(t, methods.cafe(3, query=2)),
        ["query must be at least the 3 synthetic images", "got 2"],
    ),
    "dcc of sides with different classes": (
        lambda t: matched(t, methods.collective_gradients(), stacked(2), stacked(3)),
        ["2 classes", "3"],
    ),
    "an objective that is no number": (
        lambda t: stepped(t, matching.per_class(matching.gradients())),
        ["objective of own must end in a scalar"],
    ),
    "an augmentation that cannot be siamese": (
        lambda t: matching.value_of(
            methods.class_gradients(),
            matching.Pair(stacked(2), stacked(2)),
            matching.Context(
                linear, jnp.ones((64, 2)), KEY, augment=augment.dc_augmentation("crop")
            ),
        ),
        ["dc_augmentation('crop') cannot be siamese"],
    ),
    "dispatches of nothing": (
        lambda t: methods.advance(methods.build(methods.dc(1), t.model), 0),
        ["at least 1"],
    ),
    "more steps than a dispatch takes": (
        lambda t: methods.advance(methods.build(methods.dc(1), t.model), 2)(
            None,  # type: ignore[arg-type]
            t.real,
            np.int64(3),  # type: ignore[arg-type]
        ),
        ["0 to 2 steps", "3"],
    ),
    # choices
    "an unknown choice": (
        lambda t: jdd.choice.parse("unifrm(3)"),
        ["unknown choice 'unifrm'", "did you mean 'uniform'?"],
    ),
    "a choice with an unknown argument": (
        lambda t: jdd.choice.parse("uniform(m=3)"),
        ["uniform has no argument 'm'", "allowed: n"],
    ),
    "an expression that would run code": (
        lambda t: jdd.choice.parse("__import__('os').system('true')"),
        ["cannot read", "must be a number, a text or NAME(...)"],
    ),
    # evaluate
    "labels out of range": (lambda t: evaluated(t, labels=[0, 2]), ["from 0 to 2", "0 to 1"]),
    "negative labels": (lambda t: evaluated(t, labels=[0, -1]), ["from -1 to 0"]),
    "labels that are floats": (lambda t: evaluated(t, labels=[0.0, 1.0]), ["integers", "float32"]),
    "fewer labels than images": (lambda t: evaluated(t, labels=[0]), ["integers [2]", "(1,)"]),
    "soft labels of other classes": (
        lambda t: evaluated(t, labels=np.ones((2, 3))),
        ["probabilities [2, 2]", "(2, 3)"],
    ),
    "soft labels that are nan": (
        lambda t: evaluated(t, labels=np.full((2, 2), NAN)),
        ["labels hold 4 values", "not finite"],
    ),
    "images that are nan": (
        lambda t: evaluated(t, with_nan(FLOATS)),
        ["images hold 1 values", "not finite"],
    ),
    "images that are bytes": (lambda t: evaluated(t, IMAGES[:2]), ["normalised floats", "uint8"]),
    "oblong images": (lambda t: evaluated(t, FLOATS[:, :6]), ["takes images", "(2, 6, 8, 1)"]),
    "no images": (lambda t: evaluated(t, FLOATS[:0], np.zeros(0, int)), ["(0, 8, 8, 1)"]),
    "a test set of other classes": (
        lambda t: evaluated(t, test=t.three),
        ["2 classes", "the test set has 3 classes"],
    ),
    "no network": (lambda t: evaluated(t, num_networks=0), ["num_networks", "at least 1"]),
    "networks by an unknown strategy": (
        lambda t: evaluated(t, over_seeds="vmp"),
        ["over_seeds", "'vmp'"],
    ),
    "a kernel of a number per image": (
        lambda t: evaluate.empirical_ntk(lambda w, x: (x @ w).sum(1), MATRIX, MATRIX),
        ["[2, outputs]", "got (2,)"],
    ),
    "a kernel of fewer rows than images": (
        lambda t: evaluate.empirical_ntk(lambda w, x: (x @ w)[:1], MATRIX, MATRIX),
        ["[2, outputs]", "got (1, 2)"],
    ),
    "kernels of other images": (
        lambda t: evaluate.kernel_distance(MATRIX, jnp.eye(3)),
        ["two square kernels", "(2, 2), (3, 3)"],
    ),
    "kernels that are not square": (
        lambda t: evaluate.kernel_distance(MATRIX[:1], MATRIX[:1]),
        ["two square kernels", "(1, 2)"],
    ),
    "a velocity of one kernel": (
        lambda t: evaluate.kernel_velocity(MATRIX[None], jnp.zeros(1)),
        ["T >= 2 times", "(1, 2, 2)"],
    ),
    "a velocity of fewer times": (
        lambda t: evaluate.kernel_velocity(jnp.stack([MATRIX] * 3), jnp.arange(2)),
        ["T >= 2 times", "(3, 2, 2) and (2,)"],
    ),
    "a protocol without epochs": (lambda t: evaluate.EvaluationProtocol("x", epochs=0), ["epochs"]),
    "a protocol with half an epoch": (
        lambda t: evaluate.EvaluationProtocol("x", epochs=1.5),  # type: ignore[arg-type]
        ["epochs", "whole number"],
    ),
    "a protocol of infinite rate": (
        lambda t: evaluate.EvaluationProtocol("x", epochs=1, learning_rate=float("inf")),
        ["learning_rate", "finite", "inf"],
    ),
    "a protocol with too much momentum": (
        lambda t: evaluate.EvaluationProtocol("x", epochs=1, momentum=1.0),
        ["momentum", "below 1"],
    ),
    "a protocol by an unknown op": (
        lambda t: evaluate.dsa_protocol("rotat"),
        ["did you mean 'rotate'?"],
    ),
    "a protocol with a name in place of that for BatchNorm": (
        lambda t: evaluate.EvaluationProtocol("x", epochs=1, batch_norm="dc"),  # type: ignore[arg-type]
        ["batch_norm must be an EvaluationProtocol or None", "'dc'"],
    ),
    "a protocol by a text in place of an augmentation": (
        lambda t: evaluate.EvaluationProtocol("x", epochs=1, augment="dsa"),  # type: ignore[arg-type]
        ["augment must be an Augmentation", "'dsa'"],
    ),
    "a protocol by an unknown augmentation": (
        lambda t: evaluate.EvaluationProtocol.from_json(
            QUICK.to_json() | {"augment": {"choice": "das_augmentation"}}
        ),
        ["did you mean 'dsa_augmentation'?"],
    ),
    "accuracy of no image at a time": (
        lambda t: evaluate.accuracy(t.model, t.variables, t.table, micro_batch=0),
        ["micro_batch", "at least 1"],
    ),
    "a baseline above the smallest class": (
        lambda t: baselines.real_set(KEY, synthetic.from_real(), t.model, t.table, 6),
        ["smallest class (5)", "6"],
    ),
    "a coreset above the smallest class": (
        lambda t: baselines.real_set(KEY, baselines.from_herding(1), t.model, t.table, 6),
        ["smallest class (5)", "6"],
    ),
    "a coreset by a network without training": (
        lambda t: baselines.from_k_centre(0),
        ["epochs must be at least 1, got 0"],
    ),
    # artefact
    "a set with pixels that are nan": (
        lambda t: distilled(t, images=with_nan(FLOATS)),
        ["images hold 1 values", "not finite"],
    ),
    "a set with labels of floats": (
        lambda t: distilled(t, labels=np.zeros(2, np.float32)),
        ["hard labels are float32"],
    ),
    "a set that lacks a class": (
        lambda t: distilled(t, labels=np.zeros(2, int)),
        ["class 'cat' has 2 images, but ipc is 1"],
    ),
    "a set with a class named twice": (
        lambda t: distilled(t, class_names=("cat", "cat")),
        ["class_names repeats 'cat'"],
    ),
    "a set of no image per class": (lambda t: distilled(t, ipc=0), ["ipc is 0"]),
    "a set in an unknown space": (
        lambda t: distilled(t, space="normalized"),
        ["did you mean 'normalised'?"],
    ),
    "a set with a protocol without a name": (
        lambda t: distilled(t, protocol={"name": 1}).metadata.evaluation_protocol(),
        ["protocol: name is 1, not a string"],
    ),
    "a set with a tensor of text": (
        lambda t: distilled(t, tensors={"bases": np.array(["a"])}),
        ["bases are <U1", "not numbers"],
    ),
    "a set with a tensor that is nan": (
        lambda t: distilled(t, tensors={"bases": np.array([NAN])}),
        ["bases hold 1 values", "not finite"],
    ),
    "a set over another": (
        lambda t: t.distilled.save(t.folder / "set.safetensors"),
        ["set.safetensors already exists"],
    ),
    "a set in a file": (
        lambda t: t.distilled.save(t.folder / "set.json" / "a.safetensors"),
        ["there is no folder", "set.json"],
    ),
    "a file without labels": (lambda t: rewritten(t, without="labels"), ["holds no labels"]),
    "a file with other labels": (
        lambda t: rewritten(t, labels=np.array([0, 2])),
        ["from 0 to 2", "2 classes"],
    ),
    "a file with pixels that are nan": (
        lambda t: rewritten(t, images=with_nan(FLOATS)),
        ["b.safetensors", "images hold 1 values"],
    ),
    "a file with more channels than its metadata": (
        lambda t: rewritten(t, images=np.zeros((2, 8, 8, 3), np.float32)),
        ["3 channels", "mean and std have 1"],
    ),
    "a file cut short": (
        lambda t: damaged(t, lambda content: content[:-10]),
        ["b.safetensors", "not a whole safetensors file"],
    ),
    "a file with a longer header than it has": (
        lambda t: damaged(t, lambda content: b"\xff\xff\xff\x7f" + content[4:]),
        ["b.safetensors", "not a whole safetensors file"],
    ),
    "a file with a changed pixel": (
        lambda t: damaged(t, flip(0.9)),
        ["b.safetensors", "not what was saved"],
    ),
    "a file with a changed description": (
        lambda t: damaged(t, lambda content: content.replace(b"toy", b"boy")),
        ["b.safetensors", "not what was saved"],
    ),
    "metadata that is no JSON": (lambda t: Metadata.from_json("{"), ["not JSON"]),
    "metadata of tomorrow": (
        lambda t: Metadata.from_json(json.dumps({"format_version": 9})),
        ["format version 9 is newer"],
    ),
    # checkpoint
    "a checkpoint of other settings": (
        lambda t: t.checkpoints.restore(None, {"x": jnp.ones(2)}, config={"ipc": 2}),
        ["another config: ipc was 1, is 2"],
    ),
    "a checkpoint of another state": (
        lambda t: t.checkpoints.restore(None, {"x": jnp.ones(3)}),
        ["state['x'] is float32[3] here, but float32[2]"],
    ),
    "a checkpoint of an earlier step": (
        lambda t: t.checkpoints.save(1, {"x": jnp.ones(2)}, {}),
        ["step 1", "not after the latest checkpoint, 1"],
    ),
    "a checkpoint of what is no array": (
        lambda t: t.checkpoints.save(2, {"x": 1.0}, {}),
        ["state['x'] is of type float"],
    ),
    "a checkpoint with settings that are no JSON": (
        lambda t: t.checkpoints.save(2, {"x": jnp.ones(2)}, {"rate": NAN}),
        ["must be JSON"],
    ),
    "checkpoints of which none stays": (
        lambda t: Checkpoints(t.folder, keep=0),
        ["keep is 0"],
    ),
}


def files(folder: Path) -> dict[str, bytes]:
    made = ("own.npz", "b.safetensors")
    there = [path for path in folder.rglob("*") if path.is_file() and path.name not in made]
    return {str(path): path.read_bytes() for path in there}


@pytest.mark.parametrize("case", CASES)
def test_bad_input_is_one_clear_line(toy: Toy, case: str) -> None:
    call, words = CASES[case]
    before = files(toy.folder)
    with pytest.raises(ValueError) as caught:
        call(toy)
    message = str(caught.value)
    assert "\n" not in message and len(message) < 400, message
    assert all(word in message for word in words), message
    assert files(toy.folder) == before
