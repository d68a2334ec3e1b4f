"""Scores: pure, seeded functions over what was answered. They never see a model, and old answers can be scored again.

Every function returns a `Result`, which names what the figure depends on besides the answers: the parser that read
them, the tokenizer that cut them, the embedder that compared them.
"""

from anyx.scoring.result import Result

__all__ = ["Result"]
