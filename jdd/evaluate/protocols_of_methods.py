"""The protocol that belongs to a method, by data set and augmentation."""

from __future__ import annotations

import dataclasses

from jdd.augment import (
    batch_standardised,
    cutmix_augmentation,
    dsa_or_none,
    idc_augmentation,
    no_augmentation,
    parse_strategy,
)
from jdd.evaluate.protocol import PROTOCOLS, EvaluationProtocol, idc_training


def dc_protocol(data: str) -> EvaluationProtocol:
    """DC's protocol for a data set: crop_scale_rotate on MNIST, no augmentation elsewhere.

    >>> dc_protocol("mnist").name, dc_protocol("cifar10").name
    ('dc-crop-scale-rotate', 'dc')
    """
    return PROTOCOLS["dc-crop-scale-rotate" if data == "mnist" else "dc"]


def dsa_protocol(strategy: str) -> EvaluationProtocol:
    """DSA's protocol with the strategy that was matched with, whatever the data and the network.

    Raises:
      ValueError: if the strategy names an unknown op.

    >>> dsa_protocol("crop_flip").name
    'dsa, crop_flip'
    """
    made = dataclasses.replace(
        PROTOCOLS["dsa"], name=f"dsa, {strategy or 'none'}", augment=dsa_or_none(strategy)
    )
    return _named(made, "dsa", "dsa-no-flip")


def haba_protocol(strategy: str) -> EvaluationProtocol:
    """HaBa's protocol: DSA's, where batches of training and of test are standardised (``augment.batch_standardised``).

    Raises:
      ValueError: if the strategy names an unknown op.

    >>> haba_protocol("color_crop_cutout_scale_rotate").name, haba_protocol("crop").name
    ('haba-no-flip', 'haba, crop')
    """
    augment = batch_standardised(dsa_or_none(strategy))
    name = f"haba, {strategy or 'none'}"
    made = dataclasses.replace(PROTOCOLS["haba"], name=name, augment=augment)
    return _named(made, "haba", "haba-no-flip")


def cafe_protocol(data: str, strategy: str) -> EvaluationProtocol:
    """CAFE's protocol: DC's with twice its epochs, or with augmentation DSA's.

    Raises:
      ValueError: if the strategy names an unknown op.

    >>> cafe_protocol("cifar10", "none").name, cafe_protocol("cifar10", "crop").name
    ('cafe', 'dsa, crop')
    """
    if not dsa_or_none(strategy).is_none:
        return dsa_protocol(strategy)
    protocol = dc_protocol(data)
    return PROTOCOLS["cafe"] if protocol.name == "dc" else protocol


def idc_protocol(strategy: str, *, cutmix: float = 0.5) -> EvaluationProtocol:
    """IDC's protocol with a strategy of its own order of the DSA ops, and CutMix on some of the batches.

    Args:
      strategy: ops of color, crop, cutout, flip, scale, rotate, joined by "_", or "none".
      cutmix: the probability of mixing a batch; 0 for no CutMix.

    Raises:
      ValueError: if the strategy names an unknown op, or the probability is not from 0 to 1.

    Reference: the code of Kim et al., ICML 2022, https://arxiv.org/abs/2205.14959.

    >>> idc_protocol("color_crop_scale_rotate").name, idc_protocol("color_crop", cutmix=0).name
    ('idc-no-flip', 'idc, color_crop, no CutMix')
    """
    augment = idc_augmentation(strategy) if parse_strategy(strategy) else no_augmentation()
    if cutmix:
        augment = cutmix_augmentation(cutmix, base=augment)
    mixing = f"CutMix {cutmix:g}" if cutmix else "no CutMix"
    made = idc_training(f"idc, {strategy or 'none'}, {mixing}", augment)
    return _named(made, "idc", "idc-no-flip", "idc-no-cutmix")


def _named(made: EvaluationProtocol, *names: str) -> EvaluationProtocol:
    """The known protocol with the same augmentation, which has a short name; else the protocol as made."""
    known = (PROTOCOLS[name] for name in names)
    return next((each for each in known if each.augment == made.augment), made)
