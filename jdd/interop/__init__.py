"""Exchange with other libraries' formats."""

from jdd.interop.torch import order_from_torch as order_from_torch
from jdd.interop.torch import params_from_torch as params_from_torch
