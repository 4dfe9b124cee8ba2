"""What HASHGCN_CUDA is where it is not set: auto where torch has CUDA, else 0."""

import torch

print("auto" if torch.version.cuda else "0")
