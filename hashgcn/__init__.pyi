"""The modules that load when they are first used."""

from hashgcn import data as data
from hashgcn import graph as graph
from hashgcn import metrics as metrics
from hashgcn import models as models
from hashgcn import nn as nn
from hashgcn import ops as ops
from hashgcn import retrieval as retrieval

__version__: str
