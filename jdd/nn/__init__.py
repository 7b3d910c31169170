"""Networks as pure functions, and the loop-safe convolution."""

from jdd.nn.conv import Convolution as Convolution
from jdd.nn.conv import default_conv as default_conv
from jdd.nn.conv import lax_conv as lax_conv
from jdd.nn.conv import loop_safe_conv as loop_safe_conv
from jdd.nn.conv import winograd_conv as winograd_conv
from jdd.nn.convnet import convnet as convnet
from jdd.nn.model import Model as Model
from jdd.nn.model import stacked as stacked
