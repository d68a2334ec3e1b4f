"""Benchmarks of understanding: their released files are read, a model is asked, and the records are scored.

A family is one small file with a reader and a score; `anyx.benchmarks.table` lists them. Scores come from records
alone, so that old answers can be scored again, by another parser or judge.
"""

from anyx.benchmarks.comparing import compare, rank
from anyx.benchmarks.lmms import imported
from anyx.benchmarks.run import benchmark, score

__all__ = ["benchmark", "compare", "imported", "rank", "score"]
