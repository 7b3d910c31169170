"""From options to a configuration: the numbers of the papers, and every choice replaced in every method."""

from __future__ import annotations

import dataclasses
import functools
from typing import Any

import jax
import jax.numpy as jnp
import pytest

import jdd
from jdd import augment, baselines, data, evaluate, methods, synthetic
from jdd.choice import Choice
from jdd.cli.configure import configuration, option_of, run_folder
from jdd.cli.errors import UsageError
from jdd.cli.parse import Distill, parse
from jdd.configuration import Configuration
from jdd.methods import CHOICES, PRESETS, Recipe
from jdd.runs.experiment import prepare
from jdd.runs.session import evaluation_steps
from tests.methods.small_runs import NETWORK_PRESETS
from tests.parametrisations import mosaic, tinted

SMALL = "--width 4 --depth 1"
TWO = f"{SMALL} --classes 0 1"


@functools.cache
def command(words: str, *more: str) -> Distill:
    return parse(["distill", *words.split(), *more])


def configured(words: str, *more: str) -> Configuration:
    return configuration(command(words, *more))


def recipe_of(words: str, *more: str) -> Recipe:
    return configured(words, *more).recipe


# What a method is by default.


@pytest.mark.parametrize("method", PRESETS)
def test_a_method_without_options_is_its_preset(method):
    made = configured(method)
    assert made.recipe == PRESETS[method].recipe(1, data="digits", architecture="convnet")
    assert made.network == jdd.nn.network("convnet") and made.seed == 0
    cifar = recipe_of(f"{method} --data cifar10 --ipc 10 --model mlp")
    assert cifar == PRESETS[method].recipe(10, data="cifar10", architecture="mlp")


@pytest.mark.parametrize(
    ("name", "strategy"),
    [
        ("digits", augment.STRATEGY_NO_FLIP),
        ("mnist", augment.STRATEGY_NO_FLIP),
        ("tfds:mnist:3.0.1", augment.STRATEGY_NO_FLIP),
        ("tfds:svhn_cropped", augment.STRATEGY_NO_FLIP),
        ("fashion_mnist", augment.STRATEGY),
        ("cifar10", augment.STRATEGY),
        ("npz:mnist", augment.STRATEGY),
    ],
)
def test_no_flip_for_digits(name, strategy):
    recipe = recipe_of(f"dsa --data {name}")
    assert recipe.augment == augment.dsa_augmentation(strategy)
    assert recipe.protocol.augment == recipe.augment


@pytest.mark.parametrize(
    ("words", "protocol", "epochs"),
    [
        ("dsa --data cifar10", "dsa", 1000),
        ("dsa --data mnist --norm batch", "dsa-no-flip", 1000),
        ("dc --data cifar10", "dc", 300),
        ("dc --data mnist", "dc-crop-scale-rotate", 1000),
        ("dc --data tfds:mnist", "dc-crop-scale-rotate", 1000),
        ("dc --data mnist --eval-norm batch", "dc-crop-noise", 1000),
        ("dc --data cifar10 --eval-norm batch", "dc-crop-noise", 1000),
        ("dc --data cifar10 --norm batch", "dc", 300),
        ("cafe --data cifar10", "cafe", 600),
        ("cafe --data mnist", "dc-crop-scale-rotate", 1000),
        ("cafe --data cifar10 --eval-norm batch", "dc-crop-noise", 1000),
        # DC's code augments for ConvNetBN and for no other network with BatchNorm.
        ("cafe --data cifar10 --eval-norm batch --activation swish", "cafe", 600),
        ("cafe-fixed --data cifar10", "cafe", 600),
        ("cafe --data cifar10 --strategy crop_flip --eval-norm batch", "dsa, crop_flip", 1000),
        ("dsa --data cifar10 --strategy crop_flip", "dsa, crop_flip", 1000),
    ],
)
def test_the_protocol_belongs_to_method_data_and_evaluation_network(words, protocol, epochs):
    made = configured(words)
    judged_by = made.recipe.protocol.for_network(made.eval_network)
    assert (judged_by.name, judged_by.epochs) == (protocol, epochs)


def test_another_length_is_another_protocol():
    made = prepare(configured(f"dc {TWO} --eval-epochs 7"))
    assert (made.protocol.name, made.protocol.epochs) == ("dc, 7 epochs", 7)
    same = prepare(configured(f"dc {TWO} --eval-epochs 300"))
    assert same.protocol == evaluate.PROTOCOLS["dc"]


def test_dsa_on_digits():
    made = prepare(configured(f"dsa {SMALL}"))
    recipe = made.configuration.recipe
    assert recipe == made.method.recipe == jdd.dsa(1, data="digits")
    assert recipe.networks < 1000 and recipe.updates == 1
    assert made.protocol == evaluate.PROTOCOLS["dsa-no-flip"]
    assert made.train.num_classes == made.test.num_classes == 10
    half = -(-recipe.networks // 2)
    assert evaluation_steps(made) == [half, recipe.networks]
    assert made.configuration.data.fingerprint == made.dataset.fingerprint
    assert made.configuration.evaluation.networks == 3


def test_elsewhere_the_papers_numbers_hold():
    made = configured("dsa --data cifar10")
    assert (made.recipe.networks, made.evaluation.networks) == (1000, 20)
    assert made.evaluation.every == 500


def test_loops_of_the_paper_and_between():
    ten = recipe_of("dc --ipc 10 --networks 4")
    assert (ten.networks, ten.updates, ten.motion) == (4, 10, methods.on_synthetic(50))
    between = recipe_of("dc --ipc 15")
    assert (between.updates, between.motion) == (15, methods.on_synthetic(38))
    chosen = configured(f"dc --ipc 15 --networks 4 --updates 3 --net-epochs 0 {TWO}")
    assert (chosen.recipe.updates, chosen.recipe.motion) == (3, methods.on_synthetic(0))
    assert evaluation_steps(prepare(chosen)) == [6, 12]
    rare = configured(f"dc --networks 5 --eval-every 2 {TWO}")
    assert evaluation_steps(prepare(rare)) == [2, 4, 5]


def test_a_configuration_does_not_hold_where_the_run_lies(tmp_path):
    here = configured(f"dc --data-dir {tmp_path} --out {tmp_path / 'a'} --save-every 3")
    assert here == configured("dc") and here.record() == configured("dc").record()


@pytest.mark.parametrize("strategy", ["", "None", "none"])
def test_no_strategy_is_none_and_not_the_default(strategy):
    recipe = recipe_of("dsa", "--strategy", strategy)
    assert recipe.augment == augment.no_augmentation()
    assert recipe.protocol.name.startswith("dsa, ") and recipe.protocol.augment.is_none


@pytest.mark.parametrize(
    ("norm", "eval_norm", "expected", "protocol"),
    [
        ("batch", None, "instance", "dc"),
        ("batch", "batch", "batch", "dc-crop-noise"),
        ("layer", None, "layer", "dc"),
        ("instance", "batch", "batch", "dc-crop-noise"),
    ],
)
def test_the_norm_of_evaluation(norm, eval_norm, expected, protocol):
    more = [] if eval_norm is None else ["--eval-norm", eval_norm]
    made = prepare(configured(f"dc {TWO} --norm {norm}", *more))
    names = [
        jdd.nn.convnet(2, (8, 8, 1), width=4, depth=1, norm=each).name for each in (norm, expected)
    ]
    assert [made.method.model.name, made.eval_model.name] == names
    assert (made.configuration.network.norm, made.configuration.evaluation.norm) == (
        norm,
        eval_norm,
    )
    assert made.protocol.name == protocol


@pytest.mark.parametrize(
    ("words", "matched", "evaluated"),
    [
        ("--model mlp", "MLP", "MLP"),
        ("--model AlexNetBN", "AlexNet (norm batch)", "AlexNet"),
        (
            "--model resnet18 --norm batch --downsampling avg_pool",
            "ResNet18 (norm batch, downsampling avg_pool)",
            "ResNet18",
        ),
        (
            "--model convnetd1 --norm layer",
            "ConvNet-1 (norm layer)",
            "ConvNet-1 (norm layer)",
        ),
    ],
)
def test_every_network_can_be_matched_on(words, matched, evaluated):
    made = configured(f"dc {words}")
    assert made.network.model(10, (8, 8, 1)).name == matched
    assert made.eval_network.model(10, (8, 8, 1)).name == evaluated
    assert Configuration.from_record(made.record()) == made


def test_images_move_slowly_on_an_mlp():
    assert recipe_of("dc").optimizer == methods.sgd(0.1, 0.5)
    assert recipe_of("dc --model mlp").optimizer == methods.sgd(0.01, 0.5)
    assert recipe_of("dc --model mlp --learning-rate 0.5").optimizer == methods.sgd(0.5, 0.5)


def test_dcc_and_dsac_warm_up():
    recipe = recipe_of("dcc --networks 8")
    assert (recipe.name, recipe.networks, recipe.updates) == ("dcc", 8, 10)
    warm_up = methods.after_warm_up(2, 10, updates_per_network=10)
    assert recipe.objective == methods.warmed_up_gradients(warm_up)
    assert recipe.initial == synthetic.from_real()
    assert recipe.protocol == evaluate.PROTOCOLS["dc"]
    other = recipe_of("dsac --networks 8 --updates 3 --warm-up-networks 0 --strategy crop")
    warm_up = methods.after_warm_up(0, 3, updates_per_network=3)
    assert other.objective == methods.warmed_up_gradients(warm_up)
    assert other.protocol.augment == augment.dsa_augmentation("crop")


def test_dm_has_its_own_rate_and_pool():
    made = configured("dm --norm batch")
    assert made.recipe.optimizer == methods.sgd(1.0, 0.5) and made.recipe.updates == 1
    assert made.eval_network.norm == "batch" and made.recipe.protocol.epochs == 1000
    for ipc, name, rate in (
        *((50, "cifar10", 1.0), (100, "cifar10", 10.0)),
        *((100, "cifar100", 1.0), (100, "digits", 1.0)),
    ):
        recipe = recipe_of(f"dm --ipc {ipc} --data {name}")
        assert recipe.optimizer == methods.sgd(rate, momentum=0.5)


def test_cafe_has_the_papers_numbers():
    recipe = recipe_of("cafe")
    assert recipe == jdd.cafe(1, data="digits") and recipe.initial == synthetic.from_noise()
    assert recipe.motion == methods.by_queries(outer=0.04, inner=0.03)
    assert recipe.objective == methods.layer_features(discrimination_weight=0.01)
    assert recipe.protocol == evaluate.PROTOCOLS["cafe"]
    original = recipe_of("cafe --rule original --window 4 --max-updates 7")
    assert original.motion == methods.by_original_queries(outer=0.04, inner=0.03, window=4)
    assert original.updates == 7
    augmented = recipe_of("cafe --strategy crop_flip")
    assert (augmented.protocol.epochs, augmented.protocol.augment.strategy) == (1000, "crop_flip")
    fixed = recipe_of("cafe-fixed --ipc 10")
    assert (fixed.updates, fixed.motion) == (10, methods.on_synthetic(50))


@pytest.mark.slow
@pytest.mark.parametrize("name", ["herding", "k-centre"])
def test_images_can_start_at_chosen_ones(name):
    call = f"from_{name.replace('-', '_')}(2)"
    made = prepare(configured(f"dsa --ipc 2 {TWO} --initial {call}"))
    key = jax.random.key(3)
    images = made.method.init(key, made.data).synthetic["images"]
    expected = baselines.coreset_images(
        jax.random.split(key, 4)[0],
        *(made.train, 2),
        select={"herding": baselines.herding, "k-centre": baselines.k_centre}[name],
        model=made.method.model,
        epochs=2,
    )
    assert jnp.array_equal(images, expected)
    # a run that is resumed describes its state without the training
    described = jax.eval_shape(made.method.init, key, made.data)
    assert described.synthetic["images"].shape == images.shape


# The folder of a run.


@pytest.mark.parametrize(
    ("words", "name"),
    [
        ("dsa --ipc 2 --data npz:a/c.npz --classes 3 8 --seed 5", "dsa-npz-a-c.npz-3-8-ipc2-seed5"),
        ("dm --classes T-shirt/top ../Bag", "dm-digits-T-shirt-top-..-Bag-ipc1-seed0"),
        ("dm --data folder:~/[v2]é", "dm-folder----v2---ipc1-seed0"),
    ],
)
def test_the_folder_of_a_run(words, name):
    assert run_folder(configured(words), None).as_posix() == f"runs/{name}"


def test_a_folder_is_named_after_forty_classes():
    names = [f"a class with a long name {i}" for i in range(40)]
    first = run_folder(configured("dm --classes", *names), None)
    other = run_folder(configured("dm --classes", *names[::-1]), None)
    assert len(first.name) < 130 and first.parent == other.parent and first != other


def test_a_folder_that_was_chosen(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    out = command("dm --out ~/x").run.out
    assert run_folder(configured("dm"), out) == tmp_path / "x"


# Every choice replaced.


@jdd.register
def bright_half(n: int = 4) -> data.Sampler:
    """The n images of a class that a draw of 2 n begins with."""
    twice = data.uniform(2 * n)

    def draw(key: Any, state: Any, table: Any, view: Any) -> Any:
        drawn, state = twice.draw(key, state, table, view)
        return drawn._replace(indices=drawn.indices[:, :n], weights=drawn.weights[:, :n]), state

    return dataclasses.replace(twice, draw=draw)


REPLACEMENTS: dict[str, tuple[str, Choice]] = {
    "synthetic": ("mosaic(factor=2)", mosaic(2)),
    "synthetic of variants": ("tinted(2)", tinted(2)),
    "sampler": ("uniform(n=6)", data.uniform(6)),
    "sampler of one's own": ("bright_half", bright_half()),
    "augment": ("dsa_augmentation('crop_flip')", augment.dsa_augmentation("crop_flip")),
    "augment by none": ("no_augmentation()", augment.no_augmentation()),
    "objective": ("class_embeddings", methods.class_embeddings()),
    "objective of gradients": (
        "class_gradients(squared_error)",
        methods.class_gradients(jdd.matching.squared_error()),
    ),
    "objective of two": (
        "add(class_gradients, scale(0.1, class_embeddings))",
        jdd.matching.add(
            methods.class_gradients(), jdd.matching.scale(0.1, methods.class_embeddings())
        ),
    ),
    "objective of features": (
        "layer_features((1, 1, 1), discrimination_weight=0.1)",
        methods.layer_features((1, 1, 1), discrimination_weight=0.1),
    ),
    "motion": ("never", methods.never()),
    "motion on real images": ("on_real(8, batch_size=4)", methods.on_real(8, batch_size=4)),
    "motion on synthetic images": ("on_synthetic(3)", methods.on_synthetic(3)),
    "motion by queries": (
        "by_queries(window=2, query=4, max_epochs=2)",
        methods.by_queries(window=2, query=4, max_epochs=2),
    ),
    "optimizer": ("adam(0.01)", methods.adam(0.01)),
    "optimizer by group": (
        "by_group(images=sgd(0.1, momentum=0.9))",
        methods.by_group(images=methods.sgd(0.1, 0.9)),
    ),
    "initial": ("from_noise", synthetic.from_noise()),
    "initial of chosen images": ("from_k_centre(3)", baselines.from_k_centre(3)),
    "norm_policy": ("batch_statistics()", methods.batch_statistics()),
    "norm_policy of fewer": ("frozen_statistics(4)", methods.frozen_statistics(4)),
    "decay": ("halved_after((0.5,))", methods.halved_after((0.5,))),
}
FAST = f"--networks 2 --updates 2 {TWO}"


# Each replacement is in one of these.
TOGETHER = [
    ("synthetic", "sampler", "optimizer"),
    ("synthetic of variants", "sampler of one's own", "motion on real images"),
    ("augment", "objective", "motion", "norm_policy"),
    ("augment by none", "objective of gradients", "motion on synthetic images", "decay"),
    ("objective of two", "initial", "norm_policy of fewer", "motion by queries"),
    ("objective of features", "optimizer by group", "initial of chosen images"),
]


def every_pair() -> list[Any]:
    """Each method with each of `TOGETHER`; those beyond one method for each are slow."""
    return [
        pytest.param(
            method, names, marks=[pytest.mark.slow] if (i + j) % len(NETWORK_PRESETS) else []
        )
        for i, method in enumerate(NETWORK_PRESETS)
        for j, names in enumerate(TOGETHER)
    ]


def replaced(method: str, *names: str) -> Configuration:
    """A run of a method with replacements."""
    base = command(f"{method} {FAST} --norm batch")
    texts = {name.split()[0]: REPLACEMENTS[name][0] for name in names}
    return configuration(base._replace(recipe=dataclasses.replace(base.recipe, **texts)))


@pytest.mark.parametrize("method", NETWORK_PRESETS)
def test_every_choice_can_be_replaced_in_every_method(method):
    """Nothing else of the recipe changes."""
    usual = configured(f"{method} {FAST} --norm batch").recipe
    for name, (_, value) in REPLACEMENTS.items():
        field, made = name.split()[0], replaced(method, name)
        assert getattr(made.recipe, field) == value, name
        before = {field: getattr(usual, field)}
        assert dataclasses.replace(made.recipe, **before) == usual, name
        assert Configuration.from_record(made.record()) == made, name


@pytest.mark.parametrize(("method", "names"), every_pair())
def test_every_replacement_fits_every_method(method, names):
    """The whole step is traced; nothing runs."""
    made = replaced(method, *names)
    assert prepare(made).method.recipe == made.recipe


@pytest.mark.parametrize("name", ["sampler of one's own", "objective of two"])
def test_a_choice_is_replaced_by_an_option(name):
    field, (text, value) = name.split()[0], REPLACEMENTS[name]
    assert getattr(recipe_of(f"dm {FAST}", f"--{field}", text), field) == value


def test_several_choices_at_once():
    """DM on mosaics, with a sampler and a motion of another method."""
    words = "dm --synthetic mosaic --sampler bright_half(3) --motion on_real(8,batch_size=4)"
    more = "--optimizer adam(0.02) --networks-per-update 1 --over-classes vmap"
    made = configured(f"{words} {more} {FAST}")
    assert made.recipe.synthetic == mosaic() and made.recipe.sampler == bright_half(3)
    assert made.recipe.over_classes == "vmap"
    prepare(made)


def test_every_choice_has_a_replacement():
    assert {name.split()[0] for name in REPLACEMENTS} == set(CHOICES)
    assert sorted(name for names in TOGETHER for name in names) == sorted(REPLACEMENTS)


REFUSED = [
    ("dc --augment dc_augmentation", "cannot be siamese", "--augment"),
    ("dm --objective per_class(siamese)", "must end in a scalar", "--objective"),
    ("dm --objective collective(gradients)", "must end in a scalar", "--objective"),
    ("cafe --objective layer_features((1,))", "3 real layers and 1 weights", "--objective"),
    ("dc --optimizer by_group(tints=sgd(0.1))", "the groups tints, the parameters", "--optimizer"),
    ("dm --synthetic mosaic(3)", "multiple of 9 images whose sides", "--synthetic"),
    ("dc --motion by_queries(query=999)", "query must be at most", "--motion"),
    ("dm --motion by_queries --networks-per-update 2", "never trains", "--networks-per-update"),
    ("dsa --networks-per-update 2", "needs updates of 1", "--networks-per-update"),
]


@pytest.mark.parametrize(("words", "reason", "option"), REFUSED, ids=[w for w, _, _ in REFUSED])
def test_choices_that_do_not_fit_are_refused_with_the_reason(cli, refused, words, reason, option):
    method, *more = words.split()
    updates = [] if "by_queries --networks-per" in words else ["--updates", "2"]
    outcome = cli("distill", method, *TWO.split(), "--networks", 2, *updates, *more)
    assert refused(outcome, reason, f"{option}"), outcome


@pytest.mark.parametrize(
    ("words", "option"),
    [
        ("dsa --net-epochs 3", "--net-epochs"),
        ("dm --motion on_synthetic(3)", "--motion"),
        ("dm --motion on_real(3)", "--motion"),
    ],
)
def test_training_of_which_no_update_comes_is_refused(words, option):
    with pytest.raises(UsageError, match=rf"no effect with one update.*\(option {option}\)"):
        configured(words)
    configured(f"{words} --updates 2" if words.startswith("dm") else f"{words} --ipc 10")


def test_training_before_the_first_update_has_an_effect():
    configured("dm --motion on_real(3,first_images=8)")
    configured("dm --motion never")
    configured("dsa --net-epochs 0")


@pytest.mark.parametrize(
    ("entry", "option"),
    [
        ("recipe.name", "METHOD"),
        ("recipe.ipc", "--ipc"),
        ("recipe.networks", "--networks"),
        ("recipe.sampler.n", "--real-batch"),
        ("recipe.sampler", "--sampler"),
        ("recipe.optimizer.learning_rate", "--learning-rate"),
        ("recipe.motion.epochs", "--net-epochs"),
        ("recipe.objective.distance", "--distance"),
        ("recipe.objective.warm_up.networks", "--objective"),
        ("recipe.augment.strategy", "--strategy"),
        ("recipe.augment", "--augment"),
        ("recipe.protocol.epochs", "--strategy"),
        ("recipe.pool", "METHOD"),
        ("network.architecture", "--model"),
        ("network.norm", "--norm"),
        ("data.name", "--data"),
        ("data.test_share", "--test-share"),
        ("evaluation.norm", "--eval-norm"),
        ("evaluation.random", "--random"),
        ("evaluation.epochs", "--eval-epochs"),
        ("seed", "--seed"),
    ],
)
def test_the_option_of_an_entry(entry, option):
    assert option_of(entry, command("dsa")) == option


def test_the_option_of_an_entry_of_a_method_without_that_option():
    assert option_of("recipe.protocol.name", command("dc")) == "METHOD"
    assert option_of("recipe.augment.strategy", command("dc")) == "--augment"
    assert option_of("recipe.objective.distance", command("dm")) == "--objective"
