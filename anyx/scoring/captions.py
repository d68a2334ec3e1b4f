"""Scores of captions as COCO's evaluation has them: CIDEr-D, BLEU-1 to 4, ROUGE-L, and METEOR where Java can run it.

Figures are shares, 0 to 1 (CIDEr-D 0 to 10), which tables mostly print times a hundred.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence

from anyx.scoring.bleu import Words, bleu, matches, together
from anyx.scoring.cider import Rarity, cider_d, rarity
from anyx.scoring.ptb import tokenize
from anyx.scoring.result import Result
from anyx.scoring.rouge import rouge_l
from anyx.scoring.rows import is_texts


def captions(
    references: Mapping[str, Sequence[str]],
    written: Mapping[str, str],
    *,
    tokenizer: str = "ptb-lite",
    known: Rarity | None = None,
    meteor: bool = False,
) -> Result:
    """Score one caption an image against its references, some an image; both are by the image's name.

    `tokenizer` is `ptb-lite`, `ptb-java` or `none` for captions that have been tokenized; `known` says how rare n-grams
    are, that of the references unless given; `meteor` needs pycocoevalcap and Java. `details` are by image.
    """
    if references.keys() != written.keys() or not all(references.values()):
        wrong = sorted(references.keys() ^ written.keys()) or [name for name, some in references.items() if not some]
        raise ValueError(f"each image has one caption and at least one reference, but not {', '.join(wrong[:3])}")
    for name, some in references.items():
        if not is_texts(some) or not isinstance(written[name], str):
            raise ValueError(
                f"captions: {name} has {written[name]!r} and references {some!r}; a text and a list of texts"
            )
    names = list(references)
    cut = iter(tokenize([text for name in names for text in (written[name], *references[name])], tokenizer))
    replies: list[Words] = []
    right: list[list[Words]] = []
    for name in names:
        replies.append(next(cut))
        right.append([next(cut) for _ in references[name]])
    known = known or rarity(right)
    counts = [matches(reply, some) for reply, some in zip(replies, right, strict=True)]
    columns: dict[str, list[float]] = {
        "cider": [cider_d(reply, some, known) for reply, some in zip(replies, right, strict=True)],
        **{f"bleu_{n}": [bleu(one)[n - 1] for one in counts] for n in (1, 2, 3, 4)},
        "rouge_l": [rouge_l(reply, some) for reply, some in zip(replies, right, strict=True)],
    }
    whole: dict[str, float] = {name: sum(values) / max(1, len(values)) for name, values in columns.items()}
    if names:
        whole |= {f"bleu_{n}": score for n, score in enumerate(bleu(together(counts)), 1)}
    if meteor:
        whole["meteor"], columns["meteor"] = meteors(replies, right)
    return Result(
        metric="captions",
        by={"tokenizer": tokenizer, "cider_df": f"{known.images} images"},
        figures={name: value if names else None for name, value in whole.items()},
        n=len(names),
        items=columns["cider"],
        details={image: {key: values[row] for key, values in columns.items()} for row, image in enumerate(names)},
    )


def meteors(replies: Sequence[Words], references: Sequence[Sequence[Words]]) -> tuple[float, list[float]]:
    """METEOR 1.5 of a corpus and of each image, by its Java program; a ValueError where that cannot be run."""
    if shutil.which("java") is None:
        raise ValueError("METEOR needs Java on the path; the other scores of captions need nothing")
    try:
        from pycocoevalcap.meteor.meteor import Meteor
    except ImportError:
        raise ValueError("METEOR needs `pip install anyx[captions]`; the other scores need nothing") from None
    right = {row: [" ".join(words) for words in some] for row, some in enumerate(references)}
    corpus, each = Meteor().compute_score(right, {row: [" ".join(words)] for row, words in enumerate(replies)})
    return float(corpus), [float(value) for value in each]
