"""Methods as values: a recipe of choices, the presets of the papers, and the loop that runs them."""

from jdd.methods.clusters import from_clusters as from_clusters
from jdd.methods.descent import descend as descend
from jdd.methods.loops import Advance as Advance
from jdd.methods.loops import advance as advance
from jdd.methods.method import Method as Method
from jdd.methods.method import Metrics as Metrics
from jdd.methods.method import State as State
from jdd.methods.motion import Motion as Motion
from jdd.methods.motion import Net as Net
from jdd.methods.motion import Round as Round
from jdd.methods.motion import never as never
from jdd.methods.motion import on_real as on_real
from jdd.methods.motion import on_synthetic as on_synthetic
from jdd.methods.network_loop import build as build
from jdd.methods.norm_policy import NormPolicy as NormPolicy
from jdd.methods.norm_policy import batch_statistics as batch_statistics
from jdd.methods.norm_policy import frozen_statistics as frozen_statistics
from jdd.methods.objectives import after_warm_up as after_warm_up
from jdd.methods.objectives import bidirectional_gradients as bidirectional_gradients
from jdd.methods.objectives import (
    class_characteristic_functions as class_characteristic_functions,
)
from jdd.methods.objectives import class_embeddings as class_embeddings
from jdd.methods.objectives import class_gradients as class_gradients
from jdd.methods.objectives import collective_gradients as collective_gradients
from jdd.methods.objectives import convolution_gradients as convolution_gradients
from jdd.methods.objectives import layer_features as layer_features
from jdd.methods.objectives import warmed_up_gradients as warmed_up_gradients
from jdd.methods.optimizers import Decay as Decay
from jdd.methods.optimizers import Optimizer as Optimizer
from jdd.methods.optimizers import adam as adam
from jdd.methods.optimizers import by_group as by_group
from jdd.methods.optimizers import class_by_class as class_by_class
from jdd.methods.optimizers import halved_after as halved_after
from jdd.methods.optimizers import sgd as sgd
from jdd.methods.presets import PRESETS as PRESETS
from jdd.methods.presets import Preset as Preset
from jdd.methods.presets import cafe as cafe
from jdd.methods.presets import cafe_fixed as cafe_fixed
from jdd.methods.presets import dc as dc
from jdd.methods.presets import dcc as dcc
from jdd.methods.presets import dm as dm
from jdd.methods.presets import dream as dream
from jdd.methods.presets import dream_plus as dream_plus
from jdd.methods.presets import dsa as dsa
from jdd.methods.presets import dsac as dsac
from jdd.methods.presets import idc as idc
from jdd.methods.presets import ncfm as ncfm
from jdd.methods.query_motion import by_original_queries as by_original_queries
from jdd.methods.query_motion import by_queries as by_queries
from jdd.methods.recipe import CHOICES as CHOICES
from jdd.methods.recipe import Recipe as Recipe
from jdd.methods.view_adversary import Adversary as Adversary
from jdd.methods.view_adversary import paper_adversary as paper_adversary
from jdd.methods.view_adversary import released_adversary as released_adversary
from jdd.methods.view_adversary import view_similarity as view_similarity
