"""A training step without numbers: every operation is called, so that what it costs can be read off.

`pretended` gives a model that lies on `meta` fake tensors for weights, which know shapes, types and a device but hold
nothing: autocast, fused attention and autograd go their real ways, whatever the model's size. `Rehearsal` watches the
operations. Of each it notes the multiply-adds (two operations each), the bytes it reads and writes, and what it is
(`Work`); and it follows every storage from the call that makes it to where the last tensor lets go of it, so that
`peak` is what is held at once: saved for the way back, copied by autocast, gradients, the optimiser's moments.

Views move nothing, look-ups move what they find. Weights are not made here, so they are not in `live`.

Letters: b rows, h heads, n queries, m keys, d features of a head.
"""

from __future__ import annotations

import weakref
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensor, FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry

aten = torch.ops.aten
Kind = Literal["products", "attention", "random", "traffic"]
CHOSEN = (aten.index, aten.index_put, aten.index_put_)  # they take masks too
DRAWN = (aten.bernoulli, aten.bernoulli_, aten.native_dropout, aten.randn, aten.rand_like, aten.randn_like)
FOUND = (aten.embedding, aten.index, aten.index_select, aten.gather)  # they read what they find, not the table


class Memory(NamedTuple):
    """Bytes of one stage at its peak while it trains; activations are all that is neither of the others."""

    weights: int
    gradients: int
    optimizer: int
    activations: int


class Work(NamedTuple):
    """One call: what it is, in which type, its operations and the bytes that it reads and writes."""

    kind: Kind
    dtype: torch.dtype
    operations: int
    moved: int


def attended(query: Tensor, key: Tensor, products: int) -> int:
    """Operations of so many products between all queries and keys."""
    *outer, queries, width = query.shape
    rows = 1
    for size in outer:
        rows *= size
    return 2 * products * rows * queries * width * key.shape[-2]


def attention(query: Tensor, key: Tensor, *others: Any, **keywords: Any) -> int:
    """Scores and values: two products."""
    return attended(query, key, 2)


def attention_backward(gradient: Tensor, query: Tensor, key: Tensor, *others: Any, **keywords: Any) -> int:
    """Scores anew, and four products of gradients."""
    return attended(query, key, 5)


ATTENTION: Mapping[Any, Callable[..., int]] = {
    aten._scaled_dot_product_flash_attention_for_cpu: attention,
    aten._scaled_dot_product_flash_attention_for_cpu_backward: attention_backward,
}


@dataclass
class Section:
    """What is called between two marks: its works and calls, and the bytes held at its begin, peak and end."""

    begun: int
    repeated: bool = False
    works: Counter[Work] = field(default_factory=Counter)
    calls: int = 0  # views too: they take the host's time
    peak: int = 0
    ended: int = 0


class Rehearsal(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Watches what is called in it: `works` counts calls, `live` and `peak` are bytes of what was made in it.

    `mark` begins a section. What a repeated one does is done `more` times more, each time on top of what it left.
    """

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.live = 0
        self.more = 0
        self.sections = [Section(0)]
        self._held: dict[int, weakref.ref[torch.UntypedStorage]] = {}

    def again(self) -> None:
        """Forget what was called and the peak, not what is held."""
        self.sections = [Section(self.live, peak=self.live, ended=self.live)]

    def mark(self, *, repeated: bool = False) -> int:
        """What is called from here on is another section; which one."""
        self.sections.append(Section(self.live, repeated, peak=self.live, ended=self.live))
        return len(self.sections) - 1

    @property
    def works(self) -> Counter[Work]:
        """How often each was called."""
        found: Counter[Work] = Counter()
        for section in self.sections:
            times = 1 + self.more * section.repeated
            found.update({work: times * count for work, count in section.works.items()})
        return found

    @property
    def calls(self) -> int:
        """All of them."""
        return sum((1 + self.more * section.repeated) * section.calls for section in self.sections)

    @property
    def peak(self) -> int:
        """The most that was held."""
        return self.most()

    def most(self, since: int = 0, until: int | None = None) -> int:
        """The most that was held from a section on and before another; each repetition leaves as much."""
        above, found = 0, 0
        for index, section in enumerate(self.sections):
            left = self.more * (section.ended - section.begun) * section.repeated
            if since <= index < (len(self.sections) if until is None else until):
                found = max(found, section.peak + above + max(left, 0))
            above += left
        return found

    @property
    def operations(self) -> int:
        """Of everything called."""
        return sum(work.operations * count for work, count in self.works.items())

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        """Call it, and note what it was."""
        given = dict(kwargs or {})
        made = func(*args, **given)
        if func.namespace != "prim":
            section = self.sections[-1]
            section.calls += 1
            results = list(tensors(made))
            read = list(tensors((args, given)))
            if not func.is_view:
                self._note(func, args, given, made, read, results)
            for tensor in results:
                self._follow(tensor.untyped_storage())
        return made

    def _note(
        self, func: Any, args: Any, given: Any, made: Any, read: Sequence[Tensor], results: Sequence[Tensor]
    ) -> None:
        packet = func.overloadpacket
        written = sum(map(size, results)) if results else sum(map(size, read[:1]))  # foreach: what it reads, it writes
        if packet in (aten.empty, aten.new_empty, aten.empty_like, aten.empty_strided, aten.detach, aten._unsafe_view):
            return
        moved = 2 * written if packet in FOUND else written + sum(map(size, read))
        kind: Kind = "random" if packet in DRAWN else "traffic"
        operations = 0
        if packet in ATTENTION:
            kind, operations = "attention", ATTENTION[packet](*args, **given)
        elif packet in flop_registry:
            kind, operations = "products", int(flop_registry[packet](*args, **given, out_val=made))
        dtype = next((x.dtype for x in (*results, *read) if x.is_floating_point()), torch.float32)
        self.sections[-1].works[Work(kind, dtype, operations, moved)] += 1

    def _follow(self, storage: torch.UntypedStorage) -> None:
        name, count = id(storage), storage.nbytes()
        if name in self._held or not count:
            return

        def gone(_: Any) -> None:
            self.live -= count
            self.sections[-1].ended = self.live
            del self._held[name]

        self._held[name] = weakref.ref(storage, gone)
        self.live += count
        section = self.sections[-1]
        section.ended = self.live
        section.peak = max(section.peak, self.live)

    def know(self, tensors: Iterable[Tensor]) -> None:
        """Do not count these when they come back from a call."""
        for tensor in tensors:
            storage = tensor.untyped_storage()
            self._held.setdefault(id(storage), weakref.ref(storage))


def tensors(given: Any) -> Iterator[Tensor]:
    """Those in what a call is given or gives; torch's own walk over trees takes longer than the call."""
    if isinstance(given, Tensor):
        yield given
    elif isinstance(given, (list, tuple)):
        for one in given:
            yield from tensors(one)
    elif isinstance(given, dict):
        yield from tensors(tuple(given.values()))


def size(tensor: Tensor) -> int:
    """Bytes that a reader of a tensor reads."""
    return tensor.numel() * tensor.element_size()


class Facts(FakeTensorMode):  # type: ignore[no-untyped-call]
    """Floating-point numbers are fake; whole numbers and truths that follow from no fake tensor are what they are.

    So code that asks a mask how many tokens are real, or a grid how large it is, is answered.
    """

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        """Call it for real where it reads and gives facts alone."""
        given = dict(kwargs or {})
        read = list(tensors((args, given)))
        if read and all(map(fact, read)):
            made = func(*args, **given)
            if all(map(fact, tensors(made))):
                return made
        if func.overloadpacket in CHOSEN:
            args = (args[0], [place for index in args[1] for place in places(index)], *args[2:])
        made = super().__torch_dispatch__(func, types, args, given)
        if not read and func.namespace == "aten":
            results = list(tensors(made))
            if results and not any(map(floats, results)):
                return func(*args, **given)
        return made


def places(index: Tensor | None) -> Sequence[Tensor | None]:
    """An index as numbers, where it is a mask of facts; how many they are cannot be asked of a fake."""
    masks = index is not None and fact(index) and index.dtype in (torch.bool, torch.uint8)
    return index.nonzero().unbind(1) if masks and index is not None else [index]


def fact(tensor: Tensor) -> bool:
    """Whether it is no fake and holds whole numbers or truths."""
    return not isinstance(tensor, FakeTensor) and not tensor.is_meta and not floats(tensor)


def floats(tensor: Tensor) -> bool:
    """Whether it holds what is computed with."""
    return tensor.is_floating_point() or tensor.is_complex()


@contextmanager
def pretended(model: nn.Module) -> Iterator[FakeTensorMode]:
    """A model on `meta` as if on a processor, inside; parameters are others then, shared ones still shared."""
    mode = Facts(allow_non_fake_inputs=True)
    made: dict[int, Tensor] = {}

    def fake(tensor: Tensor) -> Tensor:
        if id(tensor) not in made:
            copy = FakeTensor(mode, tensor.detach().to("meta"), torch.device("cpu"))
            learns = tensor.requires_grad
            made[id(tensor)] = nn.Parameter(copy, requires_grad=learns) if isinstance(tensor, nn.Parameter) else copy
        return made[id(tensor)]

    before: list[tuple[dict[str, Any], dict[str, Any]]] = []
    for module in model.modules():
        tables: tuple[dict[str, Any], ...] = (module._parameters, module._buffers)
        for table in tables:
            before.append((table, dict(table)))
            table.update({name: fake(tensor) for name, tensor in table.items() if tensor is not None})
    try:
        with mode:
            yield mode
    finally:
        for table, held in before:
            table.update(held)
