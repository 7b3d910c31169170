"""Augmentation: pure functions ``(key, images) -> images``, and the deterministic ops that they draw from."""

from __future__ import annotations

from jdd.augment import ops as ops
from jdd.augment.augmentation import Augmentation as Augmentation
from jdd.augment.augmentation import batch_standardised as batch_standardised
from jdd.augment.augmentation import cutmix_augmentation as cutmix_augmentation
from jdd.augment.augmentation import dc_augmentation as dc_augmentation
from jdd.augment.augmentation import dsa_augmentation as dsa_augmentation
from jdd.augment.augmentation import dsa_or_none as dsa_or_none
from jdd.augment.augmentation import idc_augmentation as idc_augmentation
from jdd.augment.augmentation import no_augmentation as no_augmentation
from jdd.augment.cutmix import Box as Box
from jdd.augment.cutmix import cutmix as cutmix
from jdd.augment.cutmix import cutmix_box as cutmix_box
from jdd.augment.cutmix import mix_box as mix_box
from jdd.augment.dc import DC_STRATEGY as DC_STRATEGY
from jdd.augment.dc import DCRatios as DCRatios
from jdd.augment.dc import dc_augment as dc_augment
from jdd.augment.dsa import STRATEGY as STRATEGY
from jdd.augment.dsa import STRATEGY_NO_FLIP as STRATEGY_NO_FLIP
from jdd.augment.dsa import DSARatios as DSARatios
from jdd.augment.dsa import dsa as dsa
from jdd.augment.dsa import dsa_all as dsa_all
from jdd.augment.dsa import parse_strategy as parse_strategy
from jdd.augment.idc import IDC_STRATEGY as IDC_STRATEGY
from jdd.augment.idc import idc_augment as idc_augment
