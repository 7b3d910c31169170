"""The tables: their cells are those of the committed results, which are recognised as finished."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pytest

from jdd import methods
from jdd.baselines import from_herding
from jdd.configuration import Configuration
from jdd.evaluate import PROTOCOLS
from jdd.methods import Recipe, on_synthetic
from jdd.synthetic import from_noise, from_real

pytestmark = pytest.mark.slow  # as a whole: it compiles many programs

RESULTS = Path(__file__).parents[2] / "experiments" / "results"
# The commands whose cells are committed.
COMMANDS = {
    "main_table": [
        "cifar10 dsa 1",
        "fashion_mnist dsa 1",
        "fashion_mnist cafe 1 --networks 10",
        "fashion_mnist cafe 1 --networks 24",
        "fashion_mnist cafe 10 --networks 4",
        "fashion_mnist cafe 10 --networks 5 --init real",
        "fashion_mnist dm 1 --networks 300",
        "fashion_mnist dm 10 --networks 300",
        "fashion_mnist dsac 1 --networks 20",
        "fashion_mnist dsac 10 --networks 6",
    ],
    "cafe_ablation": ["fashion_mnist --networks 4 --query 32"],
    "fine_grained": [
        "fashion_mnist_tops --ipc 1 --networks 8 --coreset-epochs 5",
        "fashion_mnist_tops --ipc 10 --networks 3 --coreset-epochs 5",
        "cifar10_animals --ipc 1 --networks 4 --coreset-epochs 5",
        "cifar10_animals --ipc 10 --networks 1 --coreset-epochs 5",
    ],
    "protocol_check": [""],
    "coresets": ["--epochs 5"],
}


@pytest.fixture(scope="module")
def cells_of(load_script, options_of):
    """``cells_of(name, command)``: the cells of a table."""

    def table(name, command):
        script = load_script(name)
        return list(script.table(options_of(script, command)))

    return table


@pytest.mark.parametrize("name", COMMANDS)
def test_committed_cells_are_finished(load_script, name, monkeypatch, capsys):
    script, cells = load_script(name), load_script("cells")
    before = {file: file.stat().st_mtime_ns for file in RESULTS.rglob("*")}
    for command in COMMANDS[name]:
        assert cells.main(script.__file__, "", script.Options, script.table, command.split()) == 0
    skipped = {line.split()[0] for line in capsys.readouterr().out.splitlines()}
    assert skipped == {entry.name for entry in (RESULTS / name).iterdir()}
    assert before == {file: file.stat().st_mtime_ns for file in RESULTS.rglob("*")}


@pytest.mark.parametrize(
    ("name", "command"),
    [(name, command) for name in list(COMMANDS)[:3] for command in COMMANDS[name]],
)
def test_cells_are_those_of_the_committed_results(cells_of, name, command):
    cells = [cell for cell in cells_of(name, command) if hasattr(cell, "configuration")]
    assert cells
    for cell in cells:
        file = RESULTS / name / cell.name / "config.json"
        content = json.loads(file.read_text(encoding="utf-8"))
        if "configuration" in content:
            saved = Configuration.from_record(content["configuration"])
            assert (cell.configuration.recipe, cell.configuration.seed) == (
                saved.recipe,
                saved.seed,
            )
            continue
        old, new = content["options"], as_options(cell.configuration)
        shared = old.keys() & new.keys()
        assert {entry: old[entry] for entry in shared} == {entry: new[entry] for entry in shared}
        assert len(shared) >= 14, "too little to compare"


def as_options(configuration: Configuration) -> dict[str, object]:
    """A configuration in the words of a run of jdd 0.1."""
    recipe, network = configuration.recipe, configuration.network.options
    assert isinstance(recipe, Recipe)

    def of(choice):
        return dict(choice.expression.arguments)

    objective, motion = of(recipe.objective), of(recipe.motion)
    words = {from_real(): "real", from_noise(): "noise"}
    is_cafe = recipe.name == "cafe"
    options = {
        "method": recipe.name,
        "data": configuration.data.name,
        "classes": list(configuration.data.classes),
        "ipc": recipe.ipc,
        "seed": configuration.seed,
        "init": words[recipe.initial],
        "networks": recipe.networks,
        "learning_rate": of(recipe.optimizer)["learning_rate"],
        "momentum": of(recipe.optimizer)["momentum"],
        "real_batch": of(recipe.sampler)["n"],
        "over_classes": recipe.over_classes,
        "max_updates" if is_cafe else "updates": recipe.updates,
        "eval_every": configuration.evaluation.every,
        "eval_epochs": configuration.evaluation.epochs,
        "strategy": recipe.augment.strategy or "none",
        **network,
    }
    if "epochs" in motion:
        options["net_epochs"] = motion["epochs"]
    if is_cafe:
        options["rule"] = "corrected" if repr(recipe.motion).startswith("by_queries(") else ""
        options |= {word: motion[word] for word in ("outer", "inner", "window", "max_epochs")}
        options["query"] = motion["query"] or 128
    if "layer_weights" in objective:
        options["layer_weights"] = list(objective["layer_weights"] or ())
        options["discrimination"] = objective["discrimination_weight"]
    if "warm_up" in objective:
        warm_up = of(objective["warm_up"])
        options["warm_up_networks"] = warm_up["networks"]
        options["warm_up_updates"] = warm_up["updates"]
    return options


def test_the_cell_of_the_main_table(cells_of):
    (cell,) = cells_of("main_table", "cifar10 dm 10 --seed 3")
    assert cell.name == "cifar10-dm-ipc10-seed3" and cell.configuration.seed == 3
    assert cell.configuration.recipe == methods.dm(10, data="cifar10")
    plan = cell.configuration.evaluation
    assert (plan.networks, plan.every, plan.random) == (20, 0, True)
    (cell,) = cells_of("main_table", "cifar10 cafe 10 --networks 50 --strategy crop_flip")
    assert cell.name == "cifar10-cafe-crop_flip-ipc10-networks50-seed0"
    assert cell.configuration.recipe.protocol.name == "dsa, crop_flip"
    (cell,) = cells_of("main_table", "cifar10 dcc 1 --networks 8 --init herding --no-random")
    assert cell.name == "cifar10-dcc-herding-ipc1-networks8-seed0"
    assert cell.configuration.recipe.initial == from_herding()
    assert not cell.configuration.evaluation.random
    # A quarter of the networks warm up, of whatever budget.
    assert cell.configuration.recipe.objective == methods.dcc(1, networks=8).objective
    (cell,) = cells_of("main_table", "cifar10 cafe 1 --rule original --eval-networks 3")
    assert cell.name == "cifar10-cafe-original-ipc1-seed0"
    assert cell.configuration.recipe.motion == methods.by_original_queries()
    assert cell.configuration.evaluation.networks == 3
    (cell,) = cells_of("main_table", "cifar10 dream-plus 10 --networks 5")
    assert cell.name == "cifar10-dream-plus-ipc10-networks5-seed0"


@pytest.mark.parametrize(
    ("command", "message"),
    [
        ("cifar10 dc 1 --strategy crop", "dc has no --strategy, got crop"),
        ("cifar10 dm 1 --rule original", "dm has no --rule, got original"),
        ("cifar10 dssa 1", "unknown method 'dssa', did you mean 'dsa'?"),
        ("cifar10 dm 0", "ipc must be at least 1, got 0"),
        ("cifar10 dsa 1 --networks 0", "networks must be at least 1, got 0"),
        ("cifar10 dsa 1 --seed -1", "seed must be at least 0, got -1"),
        ("cifar10 dsa 1 --strategy crp", "crp"),
    ],
)
def test_cells_that_cannot_be(load_script, command, message, capsys, tmp_path):
    script, cells = load_script("main_table"), load_script("cells")
    words = [*command.split(), "--results", str(tmp_path / "results")]
    assert cells.main(script.__file__, "", script.Options, script.table, words) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("main_table.py: error: ") and message in line
    assert not (tmp_path / "results").exists()


def test_the_parts_of_cafe(cells_of, tmp_path):
    command = f"digits --networks 4 --results {tmp_path}"
    full = tmp_path / "cafe_ablation" / "digits-full-ipc1-networks4-query128-seed0"
    full.mkdir(parents=True)
    with pytest.raises(ValueError, match="fixed takes its loops from full"):
        cells_of("cafe_ablation", command)
    schedule = {"updates_mean": 11.4, "epochs_mean": 124.8}
    (full / "result.json").write_text(json.dumps({"schedule": schedule}))
    parts = {
        cell.name.split("-")[1]: cell.configuration.recipe
        for cell in cells_of("cafe_ablation", command)
    }
    assert len(parts) == 8 and {recipe.networks for recipe in parts.values()} == {4}

    def weights(part):
        arguments = dict(parts[part].objective.expression.arguments)
        return arguments["layer_weights"], arguments["discrimination_weight"]

    assert weights("full") == (None, 0.01) and weights("alignment") == (None, 0.0)
    assert weights("layer2") == ((0.0, 1.0, 0.0, 0.0, 0.0), 0.01)
    assert weights("layer4") == ((0.0, 0.0, 0.0, 1.0, 1.0), 0.01)
    assert weights("discrimination") == ((0.0,) * 5, 0.01)
    assert parts["full"].motion == methods.by_queries(query=128)
    fixed = parts["fixed"]
    assert (fixed.name, fixed.updates, fixed.motion) == ("cafe-fixed", 11, on_synthetic(12))
    assert fixed.objective == parts["full"].objective


def test_all_methods_of_the_look_alikes_have_the_loops_of_dcc(cells_of):
    cells = cells_of("fine_grained", "digits_curved --networks 8 --eval-networks 3")
    names = [cell.name for cell in cells]
    assert len(names) == len(set(names)) == 2 * 8
    assert names[:3] == [
        f"digits_curved-{row}-ipc1-seed0" for row in ("random-dc", "random-dsa", "herding-dc")
    ]
    assert all(cell.rows[0].networks == 3 for cell in cells if hasattr(cell, "rows"))
    recipes = [cell.configuration.recipe for cell in cells if hasattr(cell, "configuration")]
    assert [recipe.name for recipe in recipes] == ["dc", "dsa", "dcc", "dsac"] * 2
    for recipe in recipes:
        assert recipe.initial == from_real() and recipe.networks == 8 and recipe.updates == 10
        assert recipe.motion == on_synthetic(5 if recipe.ipc == 1 else 50)
    with pytest.raises(ValueError, match="did you mean 'cifar10_animals'"):
        cells_of("fine_grained", "cifar10_animal")


def test_the_check_of_the_protocol(cells_of):
    cells = cells_of("protocol_check", "--eval-networks 5 --seed 2")
    assert [cell.name for cell in cells[:2]] == ["mnist-ipc1", "mnist-ipc1-dc-crop-scale-rotate"]
    assert [cell.rows[0].sets for cell in cells] == [5, 5, 5, 4, 4, 4]
    assert {cell.rows[0].networks for cell in cells} == {1} and {cell.seed for cell in cells} == {2}


def test_coresets_are_written_once(load_script, monkeypatch, tmp_path, capsys):
    script, cells = load_script("coresets"), load_script("cells")
    quick = dataclasses.replace(PROTOCOLS["dc"], epochs=1)
    monkeypatch.setitem(PROTOCOLS, "dc", quick)
    words = (
        "--data digits --ipc 1 2 --sets 2 --eval-networks 1 --epochs 1 --width 2 --depth 1".split()
    )
    words += ["--protocol", "dc", "--results", str(tmp_path)]
    trainings = []
    train_on_all = script.train_on_all

    def counted(*args, **kwargs):
        trainings.append(kwargs)
        return train_on_all(*args, **kwargs)

    monkeypatch.setattr(script, "train_on_all", counted)
    assert cells.main(script.__file__, "", script.Options, script.table, words) == 0
    assert trainings == [{"epochs": 1}] * 2, "each network that chooses is trained once"
    files = sorted((tmp_path / "coresets").iterdir())
    assert [file.name for file in files] == [f"digits-ipc{n}-dc.json" for n in (1, 2)]
    content = json.loads(files[1].read_text())
    titles = [f"{w}, 2 per class, 2 sets" for w in ("random", "herding", "k-centre")]
    assert [score["images"] for score in content["scores"]] == titles
    assert all(len(score["accuracies"]) == 2 for score in content["scores"])
    assert [chooser["epochs"] for chooser in content["choosers"]] == [1, 1]
    assert all(0 <= chooser["accuracy"] <= 1 for chooser in content["choosers"])
    assert content["network"]["width"] == 2 and {"command", "seconds", "device", "versions"} <= set(
        content
    )
    before = [file.read_bytes() for file in files]
    capsys.readouterr()
    assert cells.main(script.__file__, "", script.Options, script.table, words) == 0
    assert capsys.readouterr().out.count("is finished: skipped") == 2
    assert [file.read_bytes() for file in files] == before
