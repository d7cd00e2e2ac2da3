"""The pickle stream inside a ``.pt`` file, read as data: nothing is imported, called or built.

A pickle is a program for a machine with a stack.  ``torch.save`` writes it in protocol 2, and a
state dict of tensors needs some thirty of the machine's instructions and a handful of names.  Those
are followed here with plain values: a name of a function is only a word to compare, a tensor is
only its description, and any other instruction or name ends the reading.
"""

from __future__ import annotations

import pickletools
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from darknet_bn.errors import WeightsError, shown

_MOST_STEPS = 200_000  # a state dict of a thousand arrays takes some fifty thousand
_MOST_AXES = 8

STORAGES: Mapping[str, str] = {
    "torch FloatStorage": "float32",
    "torch DoubleStorage": "float64",
    "torch HalfStorage": "float16",
    "torch BFloat16Storage": "bfloat16",
    "torch LongStorage": "int64",
    "torch IntStorage": "int32",
    "torch ShortStorage": "int16",
    "torch CharStorage": "int8",
    "torch ByteStorage": "uint8",
    "torch BoolStorage": "bool",
}
"""The names of storages, and the type of their values."""

_DICT = "collections OrderedDict"
_TENSOR = "torch._utils _rebuild_tensor_v2"
_PARAMETER = "torch._utils _rebuild_parameter"
_NAMES = frozenset((*STORAGES, _DICT, _TENSOR, _PARAMETER))


@dataclass(frozen=True)
class Storage:
    """Consecutive values of one type, which tensors are views of.

    Attributes
    ----------
    key : str
        The name of the record that holds them.
    kind : str
        Their type.
    count : int
        How many there are.
    """

    key: str
    kind: str
    count: int


@dataclass(frozen=True)
class Tensor:
    """A view of a storage.

    Attributes
    ----------
    storage : Storage
    offset : int
        The index of its first value in the storage.
    shape, strides : tuples of int
        Strides count values, not bytes.
    """

    storage: Storage
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]


class StateDict(dict[Any, Any]):
    """An ``OrderedDict`` of the stream: a dict, and the attributes that torch adds to it."""

    metadata: object = None


@dataclass(frozen=True)
class _Name:
    """A name that is allowed in the stream."""

    name: str


def read_pickle(data: bytes) -> object:
    """Read a pickle of tensors.

    Parameters
    ----------
    data : bytes

    Returns
    -------
    value : dict, StateDict, Tensor, list, tuple, str, int, float, bool or None
        What the stream describes.

    Raises
    ------
    WeightsError
        It is damaged, or has an instruction or a name that a state dict does not need.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of `genops`, about texts in a form that is refused
        return _read(data)


def _read(data: bytes) -> object:
    machine = _Machine()
    at = 0
    instructions = enumerate(pickletools.genops(data))  # raises a ValueError if there is no end
    try:
        while True:
            step, (code, argument, position) = next(instructions)
            at = position or 0
            if step >= _MOST_STEPS:
                raise _Refused(f"it has more than {_MOST_STEPS} instructions")
            if code.name == "STOP":
                return machine.stop()
            follow = _STEPS.get(code.name)
            if follow is None:
                raise _Refused(f"the instruction {code.name} is not needed for tensors")
            follow(machine, argument)
    except _Refused as error:
        reason = str(error)
    except (ValueError, IndexError, OverflowError, MemoryError) as error:  # of `genops`
        reason = f"it is damaged: {shown(str(error)) or type(error).__name__}"
    raise WeightsError(
        f"the pickle cannot be read safely, at byte {at}: {reason}",
        hint="only state dicts of plain tensors are read; in PyTorch, "
        "torch.save(model.state_dict(), path) writes one",
    )


class _Refused(Exception):
    """The stream has something that a state dict of tensors does not need."""


class _Machine:
    """The stack, its marks, and the values that the stream refers back to."""

    def __init__(self) -> None:
        self.stack: list[Any] = []
        self.below: list[list[Any]] = []  # the stack below each mark
        self.memo: dict[int, Any] = {}

    def stop(self) -> object:
        if len(self.stack) != 1 or self.below:
            raise _Refused("it does not end with exactly one value")
        return self.stack[0]

    def push(self, value: Any) -> None:
        self.stack.append(value)

    def pop(self) -> Any:
        if not self.stack:
            raise _Refused("it takes a value that is not there")
        return self.stack.pop()

    def top(self, *kinds: type) -> Any:
        """Return the value on top of the stack, which must have one of these types."""
        if not self.stack or type(self.stack[-1]) not in kinds:
            raise _Refused("it changes a value that is not a dict or list")
        return self.stack[-1]

    def mark(self) -> None:
        self.below.append(self.stack)
        self.stack = []

    def to_mark(self) -> list[Any]:
        """Return the values above the last mark, and remove them and the mark."""
        if not self.below:
            raise _Refused("it uses a mark that is not there")
        above, self.stack = self.stack, self.below.pop()
        return above

    def put(self, index: int) -> None:
        if not self.stack:
            raise _Refused("it takes a value that is not there")
        self.memo[index] = self.stack[-1]

    def get(self, index: int) -> None:
        if index not in self.memo:
            raise _Refused(f"it refers to value {index}, which is not there")
        self.push(self.memo[index])

    def name(self, name: str) -> None:
        if name not in _NAMES:
            raise _Refused(f"the name '{shown(name.replace(' ', '.'))}' is not needed for tensors")
        self.push(_Name(name))

    def tuple_of(self, count: int) -> None:
        self.push(tuple(reversed([self.pop() for _ in range(count)])))

    def set_items(self, items: list[Any]) -> None:
        target = self.top(dict, StateDict)
        if len(items) % 2:
            raise _Refused("a key has no value")
        for key, value in zip(items[::2], items[1::2], strict=True):
            # For other types, hashing may take as long as the author of the file likes.
            if type(key) not in (str, int):
                raise _Refused(f"a key is of the type {type(key).__name__}")
            if key in target:
                raise _Refused(f"the key '{shown(str(key))}' occurs twice")
            target[key] = value

    def set_item(self) -> None:
        value, key = self.pop(), self.pop()
        self.set_items([key, value])

    def extend(self, items: list[Any]) -> None:
        self.top(list).extend(items)

    def storage(self) -> None:
        match self.pop():
            case ("storage", _Name(name), str() as key, str(), count) if name in STORAGES:
                self.push(Storage(key, STORAGES[name], _count(count)))
            case _:
                raise _Refused("a persistent id does not name a storage")

    def reduce(self) -> None:
        arguments, function = self.pop(), self.pop()
        match function, arguments:
            case _Name(name), () if name == _DICT:
                self.push(StateDict())
            case _Name(name), (Storage(), _, tuple(), tuple(), bool(), StateDict() as hooks, *rest):
                if name != _TENSOR or hooks or rest not in ([], [None]):
                    raise _Refused(f"'{name.replace(' ', '.')}' has unexpected arguments")
                self.push(_tensor(*arguments[:4]))
            case _Name(name), (Tensor() as tensor, bool(), StateDict()) if name == _PARAMETER:
                self.push(tensor)
            case _Name(name), _:
                raise _Refused(f"'{name.replace(' ', '.')}' has unexpected arguments")
            case _:
                raise _Refused("it calls a value that is not a function")

    def build(self) -> None:
        state, target = self.pop(), self.top(StateDict)
        if type(state) is not dict or set(state) != {"_metadata"}:
            raise _Refused("an OrderedDict has attributes besides _metadata")
        target.metadata = state["_metadata"]


def _count(value: object) -> int:
    if type(value) is not int or not 0 <= value < 1 << 63:
        raise _Refused("a size or an offset is not a valid number")
    return value


def _tensor(
    storage: Storage, offset: object, shape: tuple[object, ...], strides: tuple[object, ...]
) -> Tensor:
    if len(shape) != len(strides) or len(shape) > _MOST_AXES:
        raise _Refused(f"a tensor has {len(shape)} axes and {len(strides)} strides")
    sizes, steps = (tuple(_count(each) for each in numbers) for numbers in (shape, strides))
    first, count = _count(offset), 1
    for size in sizes:
        count *= size
    last = first + sum((size - 1) * step for size, step in zip(sizes, steps, strict=True))
    # A tensor that repeats values by strides of 0 would need more memory than its file has.
    if count and (last >= storage.count or count > storage.count):
        raise _Refused(
            f"a tensor {shown(str(sizes))} at {first} is outside its storage of {storage.count} "
            "values"
        )
    return Tensor(storage, first, sizes, steps)


_STEPS: Mapping[str, Callable[[_Machine, Any], object]] = {
    "PROTO": lambda machine, argument: None,
    "NONE": lambda machine, argument: machine.push(None),
    "NEWTRUE": lambda machine, argument: machine.push(True),
    "NEWFALSE": lambda machine, argument: machine.push(False),
    **dict.fromkeys(
        ("BININT", "BININT1", "BININT2", "LONG1", "BINFLOAT", "BINUNICODE"),
        lambda machine, argument: machine.push(argument),
    ),
    "EMPTY_DICT": lambda machine, argument: machine.push({}),
    "EMPTY_LIST": lambda machine, argument: machine.push([]),
    "EMPTY_TUPLE": lambda machine, argument: machine.push(()),
    "MARK": lambda machine, argument: machine.mark(),
    "TUPLE": lambda machine, argument: machine.push(tuple(machine.to_mark())),
    "TUPLE1": lambda machine, argument: machine.tuple_of(1),
    "TUPLE2": lambda machine, argument: machine.tuple_of(2),
    "TUPLE3": lambda machine, argument: machine.tuple_of(3),
    "BINPUT": lambda machine, argument: machine.put(argument),
    "LONG_BINPUT": lambda machine, argument: machine.put(argument),
    "BINGET": lambda machine, argument: machine.get(argument),
    "LONG_BINGET": lambda machine, argument: machine.get(argument),
    "GLOBAL": lambda machine, argument: machine.name(argument),
    "BINPERSID": lambda machine, argument: machine.storage(),
    "REDUCE": lambda machine, argument: machine.reduce(),
    "BUILD": lambda machine, argument: machine.build(),
    "SETITEM": lambda machine, argument: machine.set_item(),
    "SETITEMS": lambda machine, argument: machine.set_items(machine.to_mark()),
    "APPEND": lambda machine, argument: machine.extend([machine.pop()]),
    "APPENDS": lambda machine, argument: machine.extend(machine.to_mark()),
}
