"""What is kept, what is not, and that the bound holds."""

import torch

from anyx.data.memory import OBJECT, Memory, size_of
from anyx.media import Image


def test_values_come_back_until_the_bound() -> None:
    memory: Memory[torch.Tensor] = Memory(bound=100)
    memory.keep("a", torch.zeros(15))
    memory.keep("b", torch.ones(15))
    memory.keep("c", torch.ones(10))
    assert "a" in memory
    assert "b" not in memory  # 60 + 60 bytes
    assert torch.equal(memory["c"], torch.ones(10))
    assert memory.bytes == 100
    assert len(memory) == 2


def test_what_is_kept_twice_counts_once() -> None:
    memory: Memory[torch.Tensor] = Memory(bound=100)
    for _ in range(3):
        memory.keep("a", torch.zeros(15))
    assert memory.bytes == 60


def test_sizes_are_of_all_that_a_value_holds() -> None:
    assert size_of(([1, 2, 3], {"x": torch.zeros(2, 2), "y": None}, "word")) == 3 * OBJECT + 16 + 2 * OBJECT


def test_decoded_media_are_not_kept() -> None:
    memory: Memory[object] = Memory(bound=1 << 30)
    memory.keep("a", {"image": Image(torch.zeros(3, 2, 2, dtype=torch.uint8))})
    assert "a" not in memory
