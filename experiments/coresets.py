"""Herding and k-centre beside random real images, under DC's evaluation protocol (ConvNet-3).

The coreset columns of the DC paper at 1 / 10 images per class, from memory: MNIST random 64.9 / 95.1, herding
89.2 / 93.7, k-centre 89.3 / 84.4; Fashion-MNIST random 51.4 / 73.8, herding 67.0 / 71.1, k-centre 66.9 / 54.7. The
paper chooses by the features of "models trained on the whole dataset"; how long they were trained is not said, here 15
epochs. Features are taken as they are (iCaRL would bring them to length 1). MNIST is evaluated with DC's augmentation
and 1001 epochs, Fashion-MNIST without and 301, as DC's code does.

    python experiments/coresets.py --data-dir FOLDER              # holds mnist/ and fashion_mnist/

One network per set and data set chooses for all cells; every network that is tested on random images has a subset of
its own. On 2 cores (AMD EPYC, AVX-512) an epoch of the network that chooses takes a minute, an MNIST cell at IPC 10
ten minutes for three networks.
Writes experiments/results/coresets/*.json; a cell that is there is not run again.
"""

from __future__ import annotations

import argparse
import functools
import json
import sys
import time
from pathlib import Path

import jax

from jdd import data, datasets, evaluate, methods, nn
from jdd.artefact import versions
from jdd.atomic_write import write_atomically
from jdd.cli import report, scoring
from jdd.validation import count

RESULTS = Path(__file__).parent / "results" / "coresets"


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data-dir")
    parser.add_argument("--data", nargs="+", default=["mnist", "fashion_mnist"])
    parser.add_argument("--ipc", nargs="+", type=int, default=[1, 10])
    parser.add_argument("--sets", type=int, default=1, help="chosen sets, each by its own network")
    parser.add_argument("--networks", type=int, default=5, help="tested on each set")
    parser.add_argument("--epochs", type=int, default=evaluate.CORESET_EPOCHS)
    parser.add_argument("--protocol", choices=evaluate.PROTOCOLS, help="default: DC's for the data")
    parser.add_argument("--width", type=int, default=128)
    parser.add_argument("--depth", type=int, default=3)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=RESULTS)
    options = parser.parse_args(argv)
    for name in options.data:
        run(name, options)
    return 0


def run(name: str, options: argparse.Namespace) -> None:
    """All cells of one data set."""
    meant = methods.METHODS["dc"].protocol(name, eval_norm="instance")
    protocol = evaluate.PROTOCOLS[options.protocol] if options.protocol else meant
    wanted = {
        ipc: path
        for ipc in options.ipc
        if not (path := options.out / f"{name}-ipc{ipc}-{protocol.name}.json").exists()
    }
    if not wanted:
        print(f"{name}: all cells are there already: skipped")
        return
    dataset = datasets.load_dataset(name, data_dir=options.data_dir)
    train, test = (
        data.class_table(split, dataset.num_classes, dataset.mean, dataset.std)
        for split in (dataset.train, dataset.test)
    )
    model = nn.convnet(
        dataset.num_classes, dataset.image_shape, width=options.width, depth=options.depth
    )
    choosers, chooser_facts = [], []
    for i in range(options.sets):
        began = time.perf_counter()
        key = jax.random.fold_in(jax.random.fold_in(jax.random.key(options.seed), 0), i)
        choosers.append(evaluate.train_on_all(key, model, train, epochs=options.epochs))
        accuracy = float(jax.jit(functools.partial(evaluate.accuracy, model))(choosers[-1], test))
        seconds = round(time.perf_counter() - began, 1)
        chooser_facts.append({"accuracy": accuracy, "epochs": options.epochs, "seconds": seconds})
        print(
            f"{name}: network {i + 1} that chooses: {100 * accuracy:.2f} % in {seconds} s",
            flush=True,
        )
    for ipc, path in wanted.items():
        scores = [
            score(word, ipc, model, choosers, train, test, protocol, options)
            for word in ("random", *evaluate.SELECTIONS)
        ]
        content = {
            "data": dataset.name,
            "ipc": ipc,
            "width": options.width,
            "depth": options.depth,
            "choosers": chooser_facts,
            "scores": [one.record() for one in scores],
            "seed": options.seed,
            "device": report.device(),
            "versions": versions(),
        }
        options.out.mkdir(parents=True, exist_ok=True)
        write_atomically(path, (json.dumps(content, indent=2) + "\n").encode())


def score(
    word: str,
    ipc: int,
    model: nn.Model,
    choosers: list,
    train: data.ClassTable,
    test: data.ClassTable,
    protocol: evaluate.EvaluationProtocol,
    options: argparse.Namespace,
) -> scoring.Score:
    """Networks on random images, or on those that a selection picks."""
    began = time.perf_counter()
    key = jax.random.fold_in(jax.random.key(options.seed), 1)
    sets, networks = options.sets, options.networks
    variables = iter(choosers)

    def random(key: jax.Array) -> tuple[jax.Array, jax.Array]:
        return evaluate.random_real(key, train, ipc)

    def chosen(key: jax.Array) -> tuple[jax.Array, jax.Array]:
        del key  # each set by the next network
        select = evaluate.SELECTIONS[word]
        return evaluate.flat_set(evaluate.select_images(select, model, next(variables), train, ipc))

    if word == "random":
        sets, networks = sets * networks, 1  # a subset for each network
    found = evaluate.real_sets(
        *(key, model, random if word == "random" else chosen, test, protocol),
        sets=sets,
        num_networks=networks,
        networks_per_dispatch=scoring.networks_per_dispatch(),
    )
    title = f"{word}, {ipc} per class, {count(sets, 'set')}"
    result = scoring.Score.of(title, found, time.perf_counter() - began)
    print(f"{train.num_classes} classes: {title}: {result} ({protocol.name})", flush=True)
    return result


if __name__ == "__main__":
    sys.exit(main())
