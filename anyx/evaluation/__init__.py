"""Measuring a model: requests from a corpus, records, judges, the matrix and its report."""

from anyx.evaluation.run import evaluate

__all__ = ["evaluate"]
