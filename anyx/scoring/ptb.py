r"""Tokens of captions as COCO's scorers cut them: the Penn Treebank's conventions, in lower case, without punctuation.

`ptb-lite` needs no Java: at each place the longest of a few patterns is a token. It was held against the published
tokenizer by its answers alone, quirks included: `(` becomes `-lrb-` and stays, so do `?!` and `!!`, while a single `!`
goes; `plan b.` keeps its dot, as `mr.` does, unless a sentence begins after it. Of 14000 random captions none came out
otherwise, of 6000 made of such oddities alone, glued together, 97. Markup with attributes and other scripts' marks were
not tried. Captions are cut one by one: the published one reads all as one text, so that there `plan b.` at the end of a
caption loses its dot where the next begins with `A`.

`ptb-java` is the published one, through pycocoevalcap, where that and Java are installed.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Sequence

L, W, A = r"[^\W\d_²³¹½¼¾⅓⅔]", r"[^\W_²³¹½¼¾⅓⅔]", "['\u2019]"  # a letter, a letter or digit, an apostrophe
ABBREVIATED = (
    "adm|al|ala|apr|ariz|assn|aug|ave|bldg|blvd|bros|calif|capt|cf|cie|cmdr|co|col|colo|conn|corp|cos|cpl|ct|dec|dept|"
    "det|dr|drs|esq|est|etc|ext|feb|fla|fri|ft|ga|gen|gov|hon|inc|ind|insp|intl|jan|jr|jul|jun|kan|ky|lt|ltd|maj|mar|"
    "md|messrs|mfg|mich|minn|mlle|mme|mo|mon|mont|mr|mrs|ms|mt|natl|neb|nev|nov|oct|okla|penn|ph|plc|pres|prof|pty|"
    "pvt|rd|rep|rev|sen|sep|sept|sgt|sq|sr|st|ste|supt|tel|tenn|thu|thurs|tue|tues|univ|va|vs|vt|wed|wis|wyo"
)
OPENERS = (  # after one of these a sentence ends at `b.`, which else keeps its dot
    "a|about|according|additionally|after|an|as|at|but|earlier|he|her|here|however|if|in|it|last|many|more|mr\\.|ms\\.|"
    "now|once|one|other|our|she|since|so|some|such|that|the|their|then|there|these|they|this|we|what|when|while|yet|you"
)
OPENED = rf"\s+(?:(?=[A-Z])(?i:{OPENERS})|</?[A-Za-z][\w-]*/?>)(?=\s|$)"
PARTED = {"cannot": 3, "gonna": 3, "gotta": 3, "wanna": 3, "lemme": 3, "gimme": 3, "'tis": 2, "'twas": 2}  # and where
NEGATED = re.compile(rf"(?:{L}+?|{A}t(?:is|was))(?=n{A}t(?!{W}))", re.IGNORECASE)
CLITIC = rf"{A}(?:[sSmMdD]|(?i:re|ve|ll))(?!{W})"  # 's, 're
STATES = "Ark|Del|Ill|La|Mass|Miss|Ore|Pa|Tex|Wash"  # words otherwise
HOST = r"[^\s\"<>|(){}.]+"
FOLLOWED = re.compile(CLITIC)
RULES = tuple(
    re.compile(pattern)
    for pattern in (
        rf"{W}+(?:[-_]{W}+)*",  # t-shirt, 5-year-old, snake_case
        rf"{W}+(?:-{L}+){{0,2}}(?:/{W}+(?:-{L}+){{0,2}}){{1,2}}",  # and/or, 1/2
        r"\d{1,4}[ \u00a0]+\d{1,4}/\d{1,4}(?!\d)|\([2-9]\d\d\)[ \u00a0]?\d{3}-\d{4}",  # 1 1/2 and a telephone are one
        r"[-+]?(?:\d+(?:[.,:]\d+)*|(?:\.\d+)+)",  # 3:30, 1,000.50, -5
        rf"\d+(?:[.,]\d+)+(?:-{W}+)+",  # 5.5-inch
        rf"(?![A-Za-z]\.{OPENED})[A-Za-z](?:\.[A-Za-z])*\.(?!{L})(?:-{W}+)*",  # p.m., u.s.-based, and b.
        rf"(?!(?:{STATES}|(?i:{ABBREVIATED}))\.-{W}(?![\w-]))"  # of oct.-5 the dot stays, and of
        r"[A-Za-z0-9]+(?:\.[A-Za-z0-9]*)+(?:-[A-Za-z0-9]+)+",  # mon.-fri. the last one goes
        rf"(?i:ph\.d|a\.k\.a|w\.r\.t|{ABBREVIATED})\.",
        rf"{L}+(?:[.?!]{L}+)+",  # mat.the: a blank was forgotten
        rf"(?:{STATES})\.",
        r"(?i:art|ca|fig|nos?|op|pp)\.(?=\s*\d)",
        rf"{W}+(?:[-/]{W}+)*\.(?=[,;:])",  # such a mark ends no sentence
        r"[A-Z]+(?:&[A-Z]+)+",  # AT&T
        CLITIC,
        rf"(?i:n{A}t)(?!{W})",
        rf"{A}[nN]{A}|{A}(?:\d0[sS]|(?i:em|till?|cause|tis|twas|n))(?!{W})",  # '90s, rock 'n' roll
        rf"[dlnoDLNO]{A}{L}{{2,}}|[dljyDLJY]{A}(?={L})|{L}*[aeiouyAEIOUY]{A}[aeiouAEIOU]{L}*",  # o'clock, ma'am
        rf"(?i:ol{A}|ev{A}ry|c{A}est)(?!{W})",
        r"(?i:c'mon|s'mores|nat'l|nor'easter|somethin')",
        rf"[A-HJ-XZ]'(?!(?i:re|ve|ll)(?!{W})){L}{{2,}}",  # G'day, but no g'day
        r"(?:https?://|www\.)[^\s\"<>()]*[\w/]|[\w-]+(?:\.[\w-]+)*\.(?:com|org|net|edu)\b",
        rf"<?[A-Za-z0-9][^\s\"<>|(){{}}]*@(?:{HOST}\.)*{HOST}>?",  # user@mail.com, and 5@3
        rf"[@#]{L}\w*",
        r"</?[A-Za-z][\w-]*/?>",
        r"[<>]?[:;=][-*']?(?:[]()\[{@|]|[DPdp](?!\w))",  # smileys
        r"[A-Z]+\$|[cC](?:\+\+|#)|&(?:amp|lt|gt|quot|nbsp|#\d+);",
        r"''|``|[?!]+|\*+|_+|-+|\S",
    )
)
WRITTEN = {
    "(": "-lrb-", ")": "-rrb-", "[": "-lsb-", "]": "-rsb-", "{": "-lcb-", "}": "-rcb-", "£": "#", "€": "$",
    "¢": "cents", "½": "1/2", "¼": "1/4", "¾": "3/4", "⅓": "1/3", "⅔": "2/3", "&amp;": "&", "&lt;": "<", "&gt;": ">",
}  # fmt: skip
DROPPED = set(".,:;?!'\"`\u2018\u2019\u201c\u201d\xab\xbb\u2039\u203a\u2013\u2014\u2026") | {
    "''",
    "``",
    "&quot;",
    "&nbsp;",
}
ASTRAL = re.compile("[\ufe0f\U00010000-\U0010ffff]")  # emoji: untokenizable there


def cut(caption: str) -> str:
    """A caption by `ptb-lite`: its tokens, a blank between them. What `str.split` makes of it are the words."""
    text = ASTRAL.sub(" ", caption)
    place, found = 0, list[str]()
    while place < len(text):
        if text[place].isspace():
            place += 1
            continue
        negated = NEGATED.match(text, place)
        token = negated[0] if negated else max((m[0] for rule in RULES if (m := rule.match(text, place))), key=len)
        place += len(token)
        whole = token[0].isalpha() and token.lower() in PARTED and FOLLOWED.match(text, place)  # gonna's
        found += [token.lower()] if whole else written(token)
    return " ".join(found)


def words(text: str) -> list[str]:
    """The words of an answer by `ptb-lite`, between which `?`, `!` and `@` part even without a blank, as for NLTK."""
    return cut(re.sub("[?!@]", " ", text)).split()


def written(token: str) -> list[str]:
    """How a token is written: parted, respelt, or not at all."""
    lower = token.lower()
    plain = lower.replace("\u2019", "'")
    if plain in PARTED:
        return [plain[: PARTED[plain]], plain[PARTED[plain] :]]
    if token in DROPPED or not token.strip("-"):
        return []
    if token in WRITTEN:
        return [WRITTEN[token]]
    if re.match(r"[<>]?[:;=]|\(", token) or " " in token:  # smileys; what is one token in spite of a blank
        return [lower.replace(" ", "\xa0").replace("(", "-lrb-").replace(")", "-rrb-")]
    return [lower if re.fullmatch(r"\u2019\d0s", lower) else plain]


def java(captions: Sequence[str]) -> list[list[str]]:
    """The words of many captions by `ptb-java`; a ValueError where pycocoevalcap or Java is missing."""
    if shutil.which("java") is None:
        raise ValueError("tokenizer=ptb-java needs Java on the path; tokenizer=ptb-lite needs nothing")
    try:
        from pycocoevalcap.tokenizer.ptbtokenizer import PTBTokenizer
    except ImportError:
        raise ValueError("tokenizer=ptb-java needs `pip install anyx[captions]`; ptb-lite needs nothing") from None
    cut = PTBTokenizer().tokenize({place: [{"caption": text}] for place, text in enumerate(captions)})
    return [cut[place][0].split() for place in range(len(captions))]


def tokenize(captions: Sequence[str], tokenizer: str = "ptb-lite") -> list[list[str]]:
    """The words of captions by `ptb-lite`, `ptb-java`, or `none`, which cuts at blanks what has been tokenized."""
    if tokenizer == "ptb-java":
        return java(captions)
    if tokenizer not in ("ptb-lite", "none"):
        raise ValueError(f"tokenizer: {tokenizer!r} given; ptb-lite, ptb-java or none")
    return [cut(text).split() if tokenizer == "ptb-lite" else text.split() for text in captions]
