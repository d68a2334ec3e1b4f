"""Measuring a model: requests from a corpus, records, verdicts of judges, the matrix and its report."""

from anyx.evaluation.run import compare, evaluate, score

__all__ = ["compare", "evaluate", "score"]
