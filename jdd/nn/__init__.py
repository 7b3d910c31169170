"""Networks as pure functions, and convolutions that are fast inside loops."""

from jdd.nn.classic import alexnet as alexnet
from jdd.nn.classic import lenet as lenet
from jdd.nn.classic import mlp as mlp
from jdd.nn.classic import vgg11 as vgg11
from jdd.nn.conv import Convolution as Convolution
from jdd.nn.conv import default_conv as default_conv
from jdd.nn.conv import lax_conv as lax_conv
from jdd.nn.conv import loop_safe_conv as loop_safe_conv
from jdd.nn.conv import winograd_conv as winograd_conv
from jdd.nn.convnet import convnet as convnet
from jdd.nn.model import Model as Model
from jdd.nn.model import stacked as stacked
from jdd.nn.registry import ARCHITECTURES as ARCHITECTURES
from jdd.nn.registry import NETWORKS as NETWORKS
from jdd.nn.registry import POOLS as POOLS
from jdd.nn.registry import Network as Network
from jdd.nn.registry import network as network
from jdd.nn.registry import parse_networks as parse_networks
from jdd.nn.resnet import resnet18 as resnet18
