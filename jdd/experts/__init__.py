"""Expert trajectories: networks trained on the real data, stored after every epoch, for methods that match them."""

from jdd.experts.plan import ExpertPlan as ExpertPlan
from jdd.experts.plan import default_folder as default_folder
from jdd.experts.recording import Recorded as Recorded
from jdd.experts.recording import estimated_seconds as estimated_seconds
from jdd.experts.recording import record as record
from jdd.experts.store import Store as Store
from jdd.experts.store import open_store as open_store
