"""Benchmarks by name: where each is described, and what it asks. To add one: a file with a `Benchmark`, a line here."""

from __future__ import annotations

from collections.abc import Mapping

from anyx.benchmarks.samples import Benchmark
from anyx.imports import find

BENCHMARKS: Mapping[str, tuple[str, str]] = {
    "mme": ("mme:MME", "yes or no, two questions a picture, 14 subtasks"),
    "mmbench": ("mmbench:MMBENCH", "multiple choice, every rotation of the options"),
    "mmmu": ("mmmu:MMMU", "college questions, several pictures"),
    "vqav2": ("vqav2:VQAV2", "short answers, ten people each"),
    "textvqa": ("textvqa:TEXTVQA", "short answers about text in pictures"),
    "textvqa-ocr": ("textvqa:TEXTVQA_OCR", "the same, with words read by OCR in the prompt"),
    "vizwiz": ("vizwiz:VIZWIZ", "short answers, some questions cannot be answered"),
    "gqa": ("gqa:GQA", "short answers about scenes"),
    "docvqa": ("docvqa:DOCVQA", "short answers about scanned pages (ANLS)"),
    "scienceqa": ("scienceqa:SCIENCEQA", "multiple choice from school books, some with pictures"),
    "seedbench": ("seedbench:SEEDBENCH", "multiple choice, twelve abilities"),
    "pope": ("pope:POPE", "is there a ... in the picture: hallucination"),
    "refcoco": ("refcoco:REFCOCO", "a box for a sentence"),
    "refcoco+": ("refcoco:REFCOCO", "the same, sentences without places"),
    "refcocog": ("refcoco:REFCOCO", "the same, longer sentences"),
    "coco": ("captions:COCO", "captions (CIDEr, BLEU, ROUGE)"),
    "nocaps": ("captions:NOCAPS", "captions of objects that COCO has not, by domain"),
    "flickr30k": ("captions:FLICKR30K", "captions of people at work and play"),
    "lamm-cifar10": ("lamm:CIFAR10", "LAMM-Benchmark: name what is in a picture"),
    "lamm-ucmerced": ("lamm:UCMERCED", "the same, of places from above"),
    "lamm-celeba-smile": ("lamm:SMILE", "the same, whether a person smiles"),
    "lamm-celeba-hair": ("lamm:HAIR", "the same, the colour of hair"),
    "lamm-fsc147": ("lamm:FSC147", "LAMM-Benchmark: count (mean error)"),
    "lamm-svt": ("lamm:SVT", "LAMM-Benchmark: read words on signs"),
    "lamm-flickr30k": ("lamm:FLICKR30K", "LAMM-Benchmark: captions (BLEU-4)"),
    "lamm-sqaimage": ("lamm:SQAIMAGE", "LAMM-Benchmark: multiple choice from school books"),
    "lamm-ai2d": ("lamm:AI2D", "LAMM-Benchmark: multiple choice about diagrams"),
    "lamm-voc2012": ("lamm:VOC2012", "LAMM-Benchmark: boxes of objects (recall)"),
    "lamm-lsp": ("lamm:KEYPOINTS", "LAMM-Benchmark: fourteen joints of a person (PCK)"),
    "lamm-locating": ("lamm:LOCATING", "LAMM-Benchmark: points on objects, people and things counted"),
    "lamm-scannet": ("lamm:SCANNET", "LAMM-Benchmark: boxes in a cloud of points"),
    "lamm-scanrefer": ("lamm:SCANREFER", "LAMM-Benchmark: the box of a sentence in a cloud"),
    "lamm-scanqa": ("lamm:SCANQA", "LAMM-Benchmark: multiple choice about a cloud"),
    "llava-bench": ("llava_bench:LLAVA_BENCH", "long answers, points of a judge beside GPT-4's answer"),
    "mm-vet": ("mm_vet:MM_VET", "open answers, graded by a judge, by capability"),
}


def benchmark(name: str) -> Benchmark:
    """The benchmark of that name; ValueError lists those there are."""
    if name not in BENCHMARKS:
        listed = "\n".join(f"  {known:18} {about}" for known, (_, about) in BENCHMARKS.items())
        raise ValueError(f"no benchmark {name!r} here; there are:\n{listed}")
    found: Benchmark = find(f"anyx.benchmarks.{BENCHMARKS[name][0]}", "benchmark")
    return found
