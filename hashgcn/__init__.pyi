"""The names that load when they are first used."""

from hashgcn import compat as compat
from hashgcn import data as data
from hashgcn import errors as errors
from hashgcn import evaluate as evaluate
from hashgcn import graph as graph
from hashgcn import metrics as metrics
from hashgcn import models as models
from hashgcn import networks as networks
from hashgcn import nn as nn
from hashgcn import ops as ops
from hashgcn import retrieval as retrieval
from hashgcn import runs as runs
from hashgcn import train as train
from hashgcn.data import load as load
from hashgcn.data.read import read_interactions as read_interactions
from hashgcn.errors import NotFittedError as NotFittedError
from hashgcn.models import BGCH as BGCH
from hashgcn.models import HashGNN as HashGNN
from hashgcn.models import HashRec as HashRec
from hashgcn.models import LightGCN as LightGCN
from hashgcn.models import RecallHash as RecallHash
from hashgcn.retrieval import HammingIndex as HammingIndex
from hashgcn.retrieval import Recommender as Recommender
from hashgcn.runs.opened import open_run as open_run

__version__: str
