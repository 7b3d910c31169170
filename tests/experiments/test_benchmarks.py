"""The benchmarks on small networks: what they time, and what they write."""

from __future__ import annotations

import dataclasses
import functools
import json
import math
import sys
import time
import unittest.mock
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jdd import methods, nn
from jdd.data import Split, uniform

pytestmark = pytest.mark.slow  # as a whole: it compiles many programs

STAND_INS = (
    *("torchvision", "torchvision.datasets", "torchvision.transforms", "torchvision.utils"),
    "scipy.ndimage.interpolation",
)


@pytest.fixture(scope="module")
def common(load_script):
    return load_script("benchmarks/common")


@pytest.fixture(scope="module")
def iteration(load_script):
    return load_script("benchmarks/iteration")


@pytest.fixture
def small(common, monkeypatch):
    """Small networks, and a small matrix product."""
    monkeypatch.setattr(nn, "convnet", functools.partial(nn.convnet, width=2, depth=1))
    monkeypatch.setattr(
        common, "matrix_product", lambda: ((lambda a: a @ a, (jnp.ones((8, 8)),)), 1e-6)
    )


@pytest.fixture
def built(iteration, common, monkeypatch):
    """The methods that would be compiled."""
    methods = []

    def compiled(method, num_classes):
        assert method.model.num_classes == num_classes
        methods.append(method)
        program = common.Program(lambda: None, 1.0, 2.0)
        return iteration.Iteration(lambda: None, program)

    monkeypatch.setattr(iteration, "compiled", compiled)
    return methods


def test_an_iteration_is_an_update_on_a_fresh_network(iteration):
    recipe = dataclasses.replace(
        methods.dm(1), networks=1000, updates=1, motion=methods.never(), sampler=uniform(8)
    )
    model = nn.convnet(2, iteration.SHAPE, width=2, depth=1)
    method = methods.build(recipe, model)
    timed = iteration.compiled(method, 2)
    losses = [float(timed.run()[0]) for _ in range(3)]
    data = iteration.Data(iteration.table(2))
    state, expected = methods.advance(method, 3)(method.init(jax.random.key(0), data), data, 3)
    np.testing.assert_allclose(losses, expected, rtol=1e-5)
    assert int(state.updates) == 3 and len(set(losses)) == 3
    assert timed.program.compile_seconds > 0 and timed.program.temporaries_mb > 0


@pytest.mark.parametrize(
    "recipe",
    [methods.dsa(1), methods.dcc(1, warm_up_networks=0), methods.cafe_fixed(1), methods.dm(1)],
    ids=lambda recipe: recipe.name,
)
def test_the_network_is_never_trained(iteration, recipe, built):
    iteration.update(recipe, 3)
    (method,) = built
    assert (method.recipe.networks, method.recipe.updates) == (1000, 1)
    assert method.recipe.motion == methods.never() and method.recipe.objective == recipe.objective
    assert method.model == nn.convnet(3, (32, 32, 3))


def test_a_comparison_with_the_original(load_script, common, iteration, small, tmp_path, capsys):
    script = load_script("benchmarks/script")
    out = tmp_path / "a.json"
    clones = []

    def original(clone, ipc):
        clones.append((clone, ipc))
        return lambda: time.sleep(0.02)

    def body(options, command):
        recipe = dataclasses.replace(methods.dm(1), sampler=uniform(8))
        rows = iteration.rows(options, lambda ipc, n: iteration.update(recipe, n), original)
        common.report(rows, options, command)

    words = ["--ipc", "1", "--rounds", "2", "--original", str(tmp_path), "--out", str(out)]
    file = load_script("benchmarks/feature_iteration").__file__
    assert script.main(file, "", common.ComparisonOptions, body, words) == 0
    assert clones == [(tmp_path, 1)]
    content = json.loads(out.read_text())
    (row,) = content["rows"]
    assert row["original_seconds"] >= 0.02
    assert math.isclose(row["ratio"], row["original_seconds"] / row["seconds"])
    assert row["temporaries_mb_20_classes"] > 0 and row["matrix_product_gflops"] > 0
    assert {"command", "seconds", "device", "versions", "peak_memory_mb"} <= set(content)
    assert "ipc 1, seconds " in capsys.readouterr().out


@pytest.mark.parametrize(
    ("name", "words", "recipes"),
    [
        ("dsa_iteration", "--conv lax --over-classes 2", [methods.dsa(1)] * 2),
        ("embedding_iteration", "", [methods.dm(1)] * 2),
        ("feature_iteration", "", [methods.cafe_fixed(1)] * 2),
        ("collective_iteration", "", [methods.dc(1), *[methods.dcc(1, warm_up_networks=0)] * 2]),
    ],
)
def test_ours_alone(load_script, iteration, built, small, name, words, recipes, tmp_path):
    benchmark, script = load_script(f"benchmarks/{name}"), load_script("benchmarks/script")
    kind = getattr(benchmark, "Options", benchmark.common.ComparisonOptions)
    out = tmp_path / "a.json"
    command = [*words.split(), "--ipc", "1", "--rounds", "1", "--out", str(out)]
    assert script.main(benchmark.__file__, "", kind, benchmark.benchmark, command) == 0
    (row,) = json.loads(out.read_text())["rows"]
    times = {entry: x for entry, x in row.items() if entry.endswith("seconds") and x is not None}
    assert row["ipc"] == 1 and len(times) >= 2 and all(x > 0 for x in times.values())
    assert row.get("original_seconds") is None
    assert [method.recipe.objective for method in built] == [r.objective for r in recipes]
    assert sorted(method.model.num_classes for method in built)[-1] == 20
    if words:
        assert {method.recipe.over_classes for method in built} == {2}
        assert built[0].model == nn.convnet(10, iteration.SHAPE, conv=nn.lax_conv)


def test_the_strategies_through_a_student(load_script, tmp_path):
    name = "trajectory_iteration"
    benchmark, script = load_script(f"benchmarks/{name}"), load_script("benchmarks/script")
    out = tmp_path / "a.json"
    words = "--ipc 1 --steps 2 --width 2 --rounds 1 --strategies direct remat frozen --out".split()
    options = benchmark.Options
    assert (
        script.main(benchmark.__file__, "", options, benchmark.benchmark, [*words, str(out)]) == 0
    )
    (row,) = json.loads(out.read_text())["rows"]
    assert row["images"] == 10 and row["steps"] == 2
    for strategy in ("direct", "remat", "frozen"):
        for entry in ("seconds", "temporaries_mb", "compile_seconds"):
            assert row[f"{strategy}_{entry}"] > 0


def test_the_evaluation(load_script, small, tmp_path):
    benchmark, script = load_script("benchmarks/evaluation"), load_script("benchmarks/script")
    out = tmp_path / "a.json"
    words = ["--ipc", "1", "--rounds", "1", "--epochs", "1", "--networks", "1"]
    words += ["--test-images", "10", "--out", str(out)]
    assert script.main(benchmark.__file__, "", benchmark.Options, benchmark.benchmark, words) == 0
    (row,) = json.loads(out.read_text())["rows"]
    assert (row["epochs"], row["networks"], row["test_images"]) == (2, 1, 10) and row["seconds"] > 0


def test_functions_take_turns(common):
    calls = []
    best = common.interleaved(2, a=lambda: calls.append("a"), b=lambda: calls.append("b"))
    assert calls == ["a", "b", "a", "b"] and all(x >= 0 for x in best.values())
    with pytest.raises(ValueError, match="--rounds must be at least 1, got 0"):
        common.interleaved(0, a=lambda: None)


def test_micro_batches_divide_the_images(load_script, capsys):
    benchmark, script = load_script("benchmarks/convolution"), load_script("benchmarks/script")
    words = ["--images", "10", "--micro-batches", "5", "4"]
    assert script.main(benchmark.__file__, "", benchmark.Options, benchmark.benchmark, words) == 2
    assert "--micro-batches must divide the 10 images, got 4" in capsys.readouterr().err


def test_a_small_table_of_convolutions(load_script, small, tmp_path):
    benchmark, script = load_script("benchmarks/convolution"), load_script("benchmarks/script")
    out = tmp_path / "a.json"
    words = "--tables streaming --rounds 1 --width 2 --images 4 --micro-batches 2 4".split()
    words += ["--out", str(out)]
    assert script.main(benchmark.__file__, "", benchmark.Options, benchmark.benchmark, words) == 0
    content = json.loads(out.read_text())
    rows = content["tables"]["streaming"]
    assert set(rows) == {f"{c}, micro-batch {m}" for c in ("loop_safe", "winograd") for m in (2, 4)}
    assert content["settings"]["width"] == 2 and content["matrix_product_gflops"]["streaming"] > 0


@pytest.fixture
def clone(tmp_path, monkeypatch):
    """A clone of the original code in name only, and a torch that accepts every call."""
    (tmp_path / "networks.py").write_text("")
    (tmp_path / "utils.py").write_text(
        "from unittest.mock import MagicMock\n"
        "ParamDiffAug = match_loss = MagicMock()\n"
        "log = []\n"
        "def DiffAugment(x, strategy, seed, param):\n"
        "    log.append(seed)\n"
        "    return x\n"
        "def get_network(name, channels, classes, size):\n"
        "    network = MagicMock()\n"
        "    network.train.return_value.return_value = (MagicMock(), [MagicMock()] * 5)\n"
        "    network.train.return_value.embed = lambda x: x\n"
        "    return network\n"
        "def evaluate_synset(i, *others):\n"
        "    log.append(i)\n"
        "    return 0, 0, 0.5\n"
    )
    (tmp_path / "distill.py").write_text("criterion_middle = lambda real, synthetic: 1.0\n")
    monkeypatch.setattr(sys, "path", list(sys.path))
    # Restored by name: other modules that are first imported here must stay.
    for name in ("utils", "networks", "distill", "original", *STAND_INS):
        monkeypatch.setitem(sys.modules, name, sys)
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "torch", unittest.mock.MagicMock())
    return tmp_path


@pytest.mark.parametrize(
    ("name", "rate", "seeds"),
    [
        ("dsa_iteration", 0.1, [s + c for s in (0, 1000) for c in range(10) for _ in (0, 1)]),
        ("embedding_iteration", 1.0, [s + c for s in (0, 1000) for c in range(10) for _ in (0, 1)]),
        ("feature_iteration", 0.1, []),
    ],
)
def test_the_original_runs_from_a_clone(load_script, clone, name, rate, seeds):
    step = load_script(f"benchmarks/{name}").original(clone, 2)
    torch: Any = sys.modules["torch"]
    assert torch.randn.call_args == unittest.mock.call(20, 3, 32, 32, requires_grad=True)
    assert torch.optim.SGD.call_args.kwargs == {"lr": rate, "momentum": 0.5}
    for _ in range(2):
        step()
    assert torch.optim.SGD.return_value.step.call_count == 2
    assert sys.modules["utils"].log == seeds


def test_the_evaluation_of_the_original_runs_from_a_clone(load_script, clone):
    benchmark = load_script("benchmarks/evaluation")
    images = np.zeros((10, 32, 32, 3), np.uint8)
    test = Split(images, np.arange(10, dtype=np.int32))
    train = (jnp.zeros((10, 32, 32, 3)), jnp.arange(10))
    run = benchmark.original(clone, 1, benchmark.Options(networks=2), train, test)
    assert run() == [0.5, 0.5] and sys.modules["utils"].log == [0, 1]
    shapes = [call.args[0].shape for call in sys.modules["torch"].from_numpy.call_args_list]
    assert sorted(shapes) == [(10,), (10,), (10, 3, 32, 32), (10, 3, 32, 32)]


def test_what_is_no_clone_is_refused(load_script, clone, tmp_path):
    with pytest.raises(ValueError, match="--original must be a clone of the original code, got"):
        load_script("benchmarks/dsa_iteration").original(tmp_path / "nowhere", 1)
