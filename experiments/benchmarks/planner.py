"""What `anyx plan --on here` says of three stages, against what they take: peak memory and seconds of a step.

Each stage trains in a process of its own, on the LLM of the reference's baseline (hidden 512, 8 layers, ffn 1408, 32000
rows, fp32): an input projector, an output projector, and LoRA. Memory is the largest resident set of the process less
what it was when everything had been imported; seconds are the median of the steps after the first five. This machine is
measured before and after, as other work on it comes and goes, and the plan takes the mean of both.

    python experiments/benchmarks/planner.py [--steps 25] [--threads N]
"""

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import torch

STAGES = {
    "encode": {"train": {"inputs.image.projector": 4e-4}, "losses": {"text": 1}, "batch_size": 4},
    "decode": {"train": {"outputs.image.projector": 4e-4, "llm.signal_tokens": 4e-4}, "losses": {"text": 1, "caption": 1}},
    "instruct": {"train": {"llm.lora": 1e-4}, "losses": {"text": 1}},
}
