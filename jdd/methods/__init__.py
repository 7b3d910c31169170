"""One paper, one module: a preset of the five choices; the loops drive them all."""

from jdd.methods.dc import dc as dc
from jdd.methods.dc import dc_objective as dc_objective
from jdd.methods.dcc import dcc as dcc
from jdd.methods.dcc import dcc_objective as dcc_objective
from jdd.methods.dcc import dsac as dsac
from jdd.methods.dm import dm as dm
from jdd.methods.dm import dm_joint_objective as dm_joint_objective
from jdd.methods.dm import dm_objective as dm_objective
from jdd.methods.dsa import dsa as dsa
from jdd.methods.dsa import dsa_objective as dsa_objective
from jdd.methods.loops import Advance as Advance
from jdd.methods.loops import advance as advance
from jdd.methods.network_matching import MatchingState as MatchingState
from jdd.methods.network_matching import Method as Method
from jdd.methods.network_matching import network_matching as network_matching
from jdd.methods.norm_policy import NORM_POLICIES as NORM_POLICIES
from jdd.methods.norm_policy import NormPolicy as NormPolicy
from jdd.methods.norm_policy import batch_statistics as batch_statistics
from jdd.methods.norm_policy import frozen_statistics as frozen_statistics
from jdd.methods.registry import METHODS as METHODS
from jdd.methods.schedule import Loops as Loops
from jdd.methods.schedule import WarmUp as WarmUp
from jdd.methods.schedule import dc_loops as dc_loops
from jdd.methods.schedule import dcc_loops as dcc_loops
