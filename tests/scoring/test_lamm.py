"""The metrics of the LAMM benchmark, one hand-made example a rule."""

from typing import Any

import pytest

from anyx.scoring.lamm import TASKS, lamm
from anyx.scoring.lamm_answers import chosen, mentions, number, quoted, says, smiling
from anyx.scoring.lamm_places import boxes, overlap_in_space, places
from anyx.scoring.parsers import named


@pytest.mark.parametrize(
    ("label", "text", "wanted"),
    [
        ("ship", "Two ships.", True),
        ("ship", "a boat", False),  # no word of the first meaning of `ship`
        ("automobile", "It is a motorcar", True),
        ("truck", "a lorry", False),
        ("cat", "It is located here", False),
        ("cat", "a cat!Yes", True),  # though a caption's word would be `cat!yes`
        ("zebra", "zebras", True),  # in no table: its own only word
    ],
)
def test_labels(label: str, text: str, wanted: bool) -> None:
    assert says(label, text) is wanted


def test_synonyms_may_be_handed_in() -> None:
    assert says("truck", "a lorry", {"truck": {"truck": [], "lorry": ["lorries"]}})


def test_a_class_is_mentioned_as_a_whole_word_in_any_of_its_forms() -> None:
    assert not mentions("cat", "It is located here")
    assert not mentions("bus", "a busy street")
    assert mentions("cat", "Cat: [0, 0, 1, 1]")
    assert mentions("cat", "two cats")
    assert mentions("aeroplane", "an airplane, high up")
    assert mentions("hot dog", "one hot dog.", {"hot dog": {"hot dog": ["hot dogs"]}})
    assert not mentions("hot dog", "one hot doge", {"hot dog": {"hot dog": ["hot dogs"]}})


@pytest.mark.parametrize(("text", "wanted"), [("No.", "-1"), ("It is NOT so", "-1"), ("nothing", "1"), ("isn't", "1")])
def test_smiles(text: str, wanted: str) -> None:
    assert smiling(text) == wanted


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("There are 57 or 8", 57),
        ("Twelve of them", 12),
        ("no objects", 0),
        ("about 5, maybe", None),
        ("130.", None),
        ("\u00b2 cats", None),
    ],
)
def test_numbers(text: str, wanted: int | None) -> None:
    assert number(text) == wanted


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("The answer is (B). ANSWER: A", True),  # the first spelling goes before the others
        ("The answer is B", False),  # nothing after it
        ("the answer is (B)", True),  # a letter in brackets, wherever
        ("(A), not (B)", False),
        ("It is steam", True),
        ("It is steam, not ice", False),
        ("B", False),
    ],
)
def test_choices(text: str, wanted: bool) -> None:
    assert chosen(text, ["ice", "steam"], 1) is wanted


def test_quotes() -> None:
    assert quoted('It says "a b" and "c"') == "a b c"
    assert quoted("It says 'a'") == "It says 'a'"


def test_places() -> None:
    """Square brackets first, then round ones; bare numbers only without them, and without signs; no box inside out."""
    assert places("(0.1, 0.2) and [0.3, -0.4], 0.5 0.6, [1, 2, 3]", 2) == [[0.3, -0.4], [0.1, 0.2]]
    assert places("-0.1 0.2 0.3 0.4 0.5", 2) == [[0.1, 0.2], [0.3, 0.4]]
    assert boxes("[0.5, 0.1, 0.2, 0.9] [0.1, 0.1, 0.2, 0.9]") == [[0.1, 0.1, 0.2, 0.9]]
    assert places("none", 2) == []


def test_overlap_in_space() -> None:
    """Unit cubes half a side apart share 1/2 of 3/2. Apart along one axis the product is negative, and counts as 0;
    along two by 1 each it is 1 * 1 * 1 once more, and the cubes are taken for one.
    """
    cube = [0, 0, 0, 1, 1, 1]
    assert overlap_in_space(cube, [0.5, 0, 0, 1, 1, 1]) == pytest.approx(1 / 3)
    assert overlap_in_space(cube, [2, 0, 0, 1, 1, 1]) == 0
    assert overlap_in_space(cube, [2, 2, 0, 1, 1, 1]) == 1


ROWS: dict[str, tuple[list[dict[str, Any]], dict[str, float]]] = {
    "cifar10_classification": (  # a form of a word of the first meaning; a word of another one; and part of a word
        [
            {"label": "airplane", "prediction": "Two aeroplanes."},
            {"label": "ship", "prediction": "a boat"},
            {"label": "cat", "prediction": "It is located here"},
        ],
        {"acc": 1 / 3},
    ),
    "celeba_smile": (  # three of four: `nothing` is no word of denial
        [
            {"attr": "1", "prediction": "Yes, she smiles."},
            {"attr": "-1", "prediction": "No."},
            {"attr": "-1", "prediction": "She is not smiling"},
            {"attr": "-1", "prediction": "nothing"},
        ],
        {"acc": 3 / 4},
    ),
    "celeba_hair": (
        [{"attr": "black", "prediction": "Black hair"}, {"attr": "blond", "prediction": "grey, I think"}],
        {"acc": 1 / 2},
    ),
    "vqa_choice": (  # a letter, an option's text alone, and a letter with nothing after it
        [
            {"choices": ["ice", "steam"], "gt_choice": 1, "prediction": "The answer is (B)."},
            {"choices": ["ice", "steam"], "gt_choice": 0, "prediction": "It is ice"},
            {"choices": ["ice", "steam"], "gt_choice": 0, "prediction": "A"},
        ],
        {"acc": 2 / 3},
    ),
    "scannet_detection3d": (  # the chair's box shares 0.8 of 1 with it; 1/3 with the bed's; no table is mentioned
        [
            {
                "objects": [
                    {"label": "chair", "bbox": [0, 0, 0, 1, 1, 1]},
                    {"label": "bed", "bbox": [0.5, 0, 0, 1, 1, 1]},
                    {"label": "table", "bbox": [0, 0, 0, 1, 1, 1]},
                ],
                "prediction": "a chair [0, 0, 0, 0.8, 1, 1] and a bed",
            },
            {"objects": [{"label": "chair", "bbox": [0, 0, 0, 1, 1, 1]}], "prediction": "a chair, somewhere"},
        ],
        {"score": 1 / 4},
    ),
    "lsp_pck": (  # seven of 14 joints at the middle are answered there
        [
            {
                "joints": [[50, 50, 0]] * 14,
                "image_size": [100, 100],
                "prediction": {f"joint{place}": "[0.5, 0.5]" if place < 7 else "unknown" for place in range(14)},
            }
        ],
        {"pck": 7 / 14},
    ),
    "ucmerced": ([{"label": "beach", "prediction": "A Beach!"}, {"label": "river", "prediction": "sea"}], {"acc": 0.5}),
    "fsc147_counting": (  # errors 2 and 30, of which the second has more than ten
        [{"num": 3, "prediction": "five"}, {"num": 30, "prediction": "many"}],
        {"mae_total": 16, "mae_gt_below_10": 2},
    ),
    "svt_ocr": ([{"word_list": ["Exit", "Main"], "prediction": 'It says "EXIT main."'}], {"word_acc": 0.5}),
    "flickr30k_bleu4": (  # the second sentence is the reference
        [{"references": ["a dog runs fast."], "prediction": "I see. a dog runs fast."}],
        {"bleu4_x100": 100},
    ),
    "voc_detection": (  # IoU 0.8 of a car that is mentioned, of a bus that is not; and 0.4
        [
            {
                "objects": [
                    {"label": "car", "bbox": [0, 0, 1, 1]},
                    {"label": "bus", "bbox": [0, 0, 1, 1]},
                    {"label": "car", "bbox": [0, 0, 1, 0.32]},
                ],
                "prediction": "a car at [0, 0, 1, 0.8]",
            }
        ],
        {"score": 1 / 3},
    ),
    "binary_locating": (  # on the edge of the dog's box is not in it; the second point is near the first of two places
        [
            {"objects": [{"label": "dog", "bbox": [0.1, 0.1, 0.5, 0.5]}], "prediction": "dog [0.1, 0.3]"},
            {"joints": [[10, 10, 0], [90, 190, 0]], "image_size": [100, 200], "prediction": "(0.5, 0.5)"},
            {"points": [[10, 20], [90, 20]], "image_size": [100, 200], "prediction": "(0.9, 0.9) (0.15, 0.15)"},
            {"points": [[50, 50]] * 10, "image_size": [100, 100], "prediction": "(0.5, 0.5)"},
        ],
        {"acc": 2 / 4},
    ),
    "scanrefer_grounding3d": (  # a third, and nothing
        [
            {"bbox": [0, 0, 0, 1, 1, 1], "prediction": "[0.5, 0, 0, 1, 1, 1]"},
            {"bbox": [0, 0, 0, 1, 1, 1], "prediction": "I do not know"},
        ],
        {"acc@0.5": 0, "acc@0.25": 0.5},
    ),
}


def test_each_task_has_a_figure_by_hand() -> None:
    assert set(ROWS) == set(TASKS)
    assert len(TASKS) == 13


@pytest.mark.parametrize("task", list(ROWS))
def test_figures_by_hand(task: str) -> None:
    rows, wanted = ROWS[task]
    found = lamm(task, rows)
    assert found.figures == pytest.approx(wanted)
    first = next(iter(found.figures.values()))
    assert first == pytest.approx(found.scale * sum(found.items) / len(found.items))
    assert len(found.clusters) == len(found.items) == found.n


def test_parts_and_clusters() -> None:
    found = lamm("binary_locating", ROWS["binary_locating"][0])
    assert found.details["fsc"] == {"correct": 1, "total": 2}
    assert found.details["voc"] == {"correct": 0, "total": 1}
    assert found.clusters == ["0", "1", "2", "2"]


def test_key_points_are_added_up() -> None:
    """A half; what was printed is 0."""
    rows, _ = ROWS["lsp_pck"]
    assert lamm("lsp_pck", rows).figures == {"pck": 0.5}
    printed = lamm("lsp_pck", rows, as_published=True)
    assert printed.figures == {"pck": 0}
    assert printed.by != lamm("lsp_pck", rows).by


@pytest.mark.parametrize("task", list(TASKS))
def test_what_is_missing_is_named(task: str) -> None:
    assert set(lamm(task, []).figures.values()) == {None}
    with pytest.raises(ValueError, match=f"lamm/{task}: row 0 has no prediction"):
        lamm(task, [{"nothing": 1}])


@pytest.mark.parametrize("task", list(ROWS))
def test_what_is_of_another_kind_is_named(task: str) -> None:
    """Each key of the second row in turn is None."""
    [row, *_], _ = ROWS[task]
    for key in row:
        with pytest.raises(ValueError, match=rf"lamm/{task}: row 1(, part 0)? has {key} None; it has to be"):
            lamm(task, [row, {**row, key: None}])


@pytest.mark.parametrize(
    ("task", "changed", "message"),
    [
        ("svt_ocr", {"word_list": []}, r"row 0 has word_list \[\]; it has to be a list of one text or more"),
        ("svt_ocr", {"word_list": "Exit"}, "row 0 has word_list 'Exit'"),
        ("flickr30k_bleu4", {"references": "a dog"}, "row 0 has references 'a dog'"),
        ("vqa_choice", {"gt_choice": 2}, "the gt_choice of row 0 is 2, but it has 2 choices; allowed: 0 to 1"),
        ("voc_detection", {"objects": [{"label": "car"}]}, "objects of row 0: object 0 has no bbox"),
        ("voc_detection", {"objects": [{"label": "car", "bbox": [0, 0, 1]}]}, "object 0 has bbox .*to be 4 numbers"),
        ("scannet_detection3d", {"objects": [{"label": 1, "bbox": [0] * 6}]}, "object 0 has label 1"),
        ("lsp_pck", {"joints": [[1, 1]] * 13}, "has joints .*; it has to be a list of 14 points"),
        ("lsp_pck", {"prediction": {"joint0": "x"}}, "has prediction .*; it has to be a mapping of joint0 to joint13"),
        ("fsc147_counting", {"num": "3"}, "row 0 has num '3'; it has to be a number"),
        ("celeba_smile", {"attr": 1}, "row 0 has attr 1; it has to be a text"),
    ],
)
def test_malformed_rows(task: str, changed: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        lamm(task, [{**ROWS[task][0][0], **changed}])


def test_a_place_to_find_needs_something_to_find() -> None:
    with pytest.raises(ValueError, match="row 0 has none of objects, joints, points"):
        lamm("binary_locating", [{"prediction": "(0.5, 0.5)"}])


def test_the_reader_is_found_by_its_name() -> None:
    read = named("lamm@2023", "lamm")
    assert read("a motorcar", "label", "automobile") is True
    assert read("an airplane, high up", "class", "aeroplane") is True
    assert (read("no", "smile"), read("about five", "number"), read('It says "a b"', "quoted")) == ("-1", 5, "a b")
    assert read("ANSWER: B.", "choice", ["ice", "steam"], 1) is True
    assert read("[0.1, 0.2]", "points") == [[0.1, 0.2]]
    assert read("[0.1, 0.2, 0.3, 0.4]", "boxes") == [[0.1, 0.2, 0.3, 0.4]]
    assert read("[1, 2, 3, 4, 5, 6]", "solids") == [[1, 2, 3, 4, 5, 6]]
    with pytest.raises(ValueError, match="lamm@2023: 'mood' given; it reads label, class, smile"):
        read("sad", "mood")


def test_an_unknown_task() -> None:
    with pytest.raises(ValueError, match="task: 'voc' given; one of cifar10_classification"):
        lamm("voc", [])
