"""A pickle reader that can build dictionaries and tensor references and nothing else.

A pickle is a program for a small stack machine, and Python's own reader runs it with the
power to import and call anything. This one knows only the instructions that a saved state
dict needs, never imports, never calls what the file names, and bounds the work a file can ask
for. Tensors come out as :class:`TensorRef`; ``checkpoint.py`` finds their bytes.

What comes out is a tree with shared branches, at most :data:`MAX_DEPTH` deep: a container is never
filled again once it is part of another one, so none can hold itself. Sharing still lets a file of
a few bytes describe 2^60 leaves. So nobody may walk, compare, hash or print a container that came
out of a pickle as a whole; what is a dictionary key, or is named in a message, is a scalar.
"""

from __future__ import annotations

import pickletools
from collections import OrderedDict
from collections.abc import Iterable
from dataclasses import dataclass
from enum import Enum
from typing import Any, BinaryIO, NoReturn

from faceflow.errors import UnsafeCheckpointError, WeightsError

# A state dict takes about 50 instructions a tensor; the largest known have some 10,000 tensors.
MAX_INSTRUCTIONS = 2_000_000
MAX_DEPTH = 100  # of containers in containers; a state dict has 3, with optimizers about 8
MAX_KEY = 2**60  # below it no two whole numbers have one hash, and a dictionary stays quick
MAX_DIMENSIONS = 32  # NumPy before 2.0 takes no more
MAX_SIZE = 2**48  # elements; beyond any file, and products of such sizes stay cheap

# Storage class -> (element type as NumPy spells it, bytes per element). bfloat16 has no NumPy
# type and is widened by the caller.
STORAGES = {
    "DoubleStorage": ("<f8", 8),
    "FloatStorage": ("<f4", 4),
    "HalfStorage": ("<f2", 2),
    "BFloat16Storage": ("bfloat16", 2),
    "LongStorage": ("<i8", 8),
    "IntStorage": ("<i4", 4),
    "ShortStorage": ("<i2", 2),
    "CharStorage": ("|i1", 1),
    "ByteStorage": ("|u1", 1),
    "BoolStorage": ("|b1", 1),
}


@dataclass(frozen=True, slots=True)
class StorageType:
    """The element type a storage class of the file stands for."""

    dtype: str
    itemsize: int


@dataclass(frozen=True, slots=True)
class StorageRef:
    """``count`` elements of the flat run named ``key``, from element ``start`` on."""

    key: str
    type: StorageType
    count: int
    start: int = 0


@dataclass(frozen=True, slots=True)
class TensorRef:
    """A tensor as the file describes it: offset, shape and strides in elements."""

    storage: StorageRef
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]


class _Call(Enum):
    """The only three things a checkpoint may name and call; we do their work ourselves."""

    ORDERED_DICT = ("collections", "OrderedDict")
    TENSOR = ("torch._utils", "_rebuild_tensor_v2")
    PARAMETER = ("torch._utils", "_rebuild_parameter")


_GLOBALS: dict[tuple[str, str], _Call | StorageType] = {
    **{call.value: call for call in _Call},
    **{("torch", name): StorageType(*kind) for name, kind in STORAGES.items()},
}
_CONSTANTS = {
    "NONE": None,
    "NEWTRUE": True,
    "NEWFALSE": False,
}
_NUMBERS = frozenset({"BININT", "BININT1", "BININT2", "LONG1", "BINFLOAT"})
_TEXTS = frozenset(
    {"BINUNICODE", "SHORT_BINUNICODE", "BINUNICODE8", "BINSTRING", "SHORT_BINSTRING"}
)
_BYTES = frozenset({"BINBYTES", "SHORT_BINBYTES"})
_PLAIN = _NUMBERS | _TEXTS | _BYTES
_INSTRUCTIONS = {entry.code.encode("latin-1"): entry for entry in pickletools.opcodes}
_IGNORED = frozenset({"PROTO", "FRAME"})
_TUPLES = {"EMPTY_TUPLE": 0, "TUPLE1": 1, "TUPLE2": 2, "TUPLE3": 3}
_MEMO = frozenset({"BINPUT", "LONG_BINPUT", "MEMOIZE", "BINGET", "LONG_BINGET"})
_GROUPS = frozenset(
    {"MARK", "TUPLE", "EMPTY_LIST", "APPEND", "APPENDS", "EMPTY_DICT", "SETITEM", "SETITEMS"}
)
_CALLS = frozenset({"GLOBAL", "STACK_GLOBAL", "INST", "REDUCE", "BUILD", "BINPERSID"})
_ALLOWED = _PLAIN | _IGNORED | _MEMO | _GROUPS | _CALLS | _TUPLES.keys() | _CONSTANTS.keys()


def read_pickle(
    stream: BinaryIO, name: str, *, instructions: int | None = None
) -> tuple[Any, dict[str, StorageRef]]:
    """Read one pickle from ``stream`` and leave the position just behind it.

    Args:
        stream: binary, seekable.
        name: what to call the file in errors.
        instructions: most that are followed; default: what a state dict may need.

    Returns:
        The value: None, bool, int, float, str, bytes, or lists, tuples and dictionaries of
        those and of :class:`TensorRef`; and every storage it mentions, by key.

    Raises:
        UnsafeCheckpointError: the pickle names or does something outside the list above.
        WeightsError: the pickle is damaged, or asks for an unreasonable amount of work.
    """
    most = MAX_INSTRUCTIONS if instructions is None else instructions
    machine = _Machine(name)
    try:
        for _ in range(most):
            code = stream.read(1)
            instruction = _INSTRUCTIONS.get(code)
            if instruction is None:
                raise damaged(name, "its pickle ends early" if not code else "not a pickle")
            if instruction.name == "STOP":
                return machine.result(), machine.storages
            machine.step(instruction, stream)
    except ValueError as error:  # pickletools could not read an instruction's argument
        raise damaged(name, str(error)) from error
    raise WeightsError(
        f"{name} holds more than {most:,} pickle instructions",
        why="nothing that is read here needs that many",
    )


def _argument(instruction: pickletools.OpcodeInfo, stream: BinaryIO) -> Any:
    if instruction.name in ("GLOBAL", "INST"):
        # Two lines. pickletools would join them and expand backslashes, with a warning.
        lines = [stream.readline(), stream.readline()]
        if not all(line.endswith(b"\n") for line in lines):
            raise ValueError("its pickle ends within a name")
        return [line[:-1].decode("utf-8") for line in lines]
    return instruction.arg.reader(stream) if instruction.arg else None


def damaged(name: str, why: str) -> WeightsError:
    """The error about a file that does not hold what it should; ``why`` may quote from it."""
    return WeightsError(f"{name} is damaged", why=shown(why, 300), todo="fetch the file again")


def shown(value: Any, length: int = 80) -> str:
    """A key or name out of a file as messages may hold it: short, one line, no control codes."""
    if not isinstance(value, (str, bytes, int, float, type(None))):
        return f"a {type(value).__name__}"  # never as a whole, see the top of this module
    text = value[:length] if isinstance(value, (str, bytes)) else value
    return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in str(text)[:length])


@dataclass(slots=True, eq=False)
class _Item:
    """A value on the stack.

    Attributes:
        value: itself.
        depth: containers below and including it; 0 of a scalar.
        inside: whether it is part of another container by now.
    """

    value: Any
    depth: int = 0
    inside: bool = False


_MARK = _Item("MARK")  # compared by identity


class _Machine:
    """The stack machine; one instance reads one pickle."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._stack: list[_Item] = []
        self._memo: dict[int, _Item] = {}
        self._work = 0
        self.storages: dict[str, StorageRef] = {}

    def result(self) -> Any:
        if len(self._stack) != 1:
            self._fail("its pickle does not end with exactly one value")
        return self._stack[0].value

    def step(self, instruction: pickletools.OpcodeInfo, stream: BinaryIO) -> None:
        """Run one instruction; its argument is parsed only when it is allowed."""
        stack, opcode = self._stack, instruction.name
        if opcode not in _ALLOWED:
            self._refuse(f"the pickle instruction {opcode}")
        argument = _argument(instruction, stream)
        if opcode in _IGNORED:
            return
        if opcode in _PLAIN:
            stack.append(_Item(argument))
        elif opcode in _CONSTANTS:
            stack.append(_Item(_CONSTANTS[opcode]))
        elif opcode in ("BINPUT", "LONG_BINPUT"):
            self._memo[argument] = self._top()
        elif opcode == "MEMOIZE":
            self._memo[len(self._memo)] = self._top()
        elif opcode in ("BINGET", "LONG_BINGET"):
            if argument not in self._memo:
                self._fail(f"its pickle recalls value {argument}, which was never stored")
            stack.append(self._memo[argument])
        elif opcode == "MARK":
            stack.append(_MARK)
        elif opcode == "TUPLE":
            self._push_tuple(self._pop_to_mark())
        elif opcode in _TUPLES:
            items = [self._pop() for _ in range(_TUPLES[opcode])]
            self._push_tuple(items[::-1])
        elif opcode == "EMPTY_LIST":
            stack.append(_Item([], 1))
        elif opcode == "EMPTY_DICT":
            stack.append(_Item({}, 1))
        elif opcode in ("APPEND", "APPENDS"):
            new = [self._pop()] if opcode == "APPEND" else self._pop_to_mark()
            target = self._open(list)
            target.value.extend(self._enclosed(new, target))
        elif opcode == "SETITEM":
            value, key = self._pop(), self._pop()
            self._set(self._open(dict), [key, value])
        elif opcode == "SETITEMS":
            flat = self._pop_to_mark()
            self._set(self._open(dict), flat)
        elif opcode == "BINPERSID":
            stack.append(_Item(self._storage(self._pop().value)))
        elif opcode == "GLOBAL":
            stack.append(_Item(self._global(*argument)))
        elif opcode == "STACK_GLOBAL":
            attribute, module = self._pop().value, self._pop().value
            stack.append(_Item(self._global(module, attribute)))
        elif opcode == "REDUCE":
            arguments, call = self._pop(), self._pop()
            stack.append(self._call(call.value, arguments))
        elif opcode == "INST":  # a call in one instruction; read on only to say of what
            self._refuse(".".join(argument))
        else:
            self._build()

    def _fail(self, why: str) -> NoReturn:
        raise damaged(self._name, why)

    def _refuse(self, what: str) -> NoReturn:
        raise UnsafeCheckpointError(
            f"{self._name} was refused and nothing in it was run",
            why=f"it asks for {shown(what, 200)}, and a state dict needs only tensors and "
            "dictionaries",
            todo="use a file that holds a plain state dict, from a source you trust",
        )

    def _top(self) -> _Item:
        if not self._stack or self._stack[-1] is _MARK:
            self._fail("its pickle uses a value that is not there")
        return self._stack[-1]

    def _pop(self) -> _Item:
        value = self._top()
        self._stack.pop()
        return value

    def _open(self, kind: type[Any]) -> _Item:
        """The top of the stack, a container of this kind that can still be filled."""
        top = self._top()
        if not isinstance(top.value, kind):
            self._fail(f"its pickle fills a {kind.__name__} that is not one")
        if top.inside:
            self._fail(f"its pickle changes a {kind.__name__} that is in use already")
        return top

    def _pop_to_mark(self) -> list[_Item]:
        items: list[_Item] = []
        while self._stack and self._stack[-1] is not _MARK:
            items.append(self._stack.pop())
        if not self._stack:
            self._fail("its pickle ends a group that never began")
        self._stack.pop()
        items.reverse()
        return items

    def _enclosed(self, items: Iterable[_Item], container: _Item) -> list[Any]:
        """The values of items that become part of a container."""
        values = []
        for item in items:
            if item is container:
                self._fail("its pickle puts a container into itself")
            if item.depth:
                item.inside = True
                container.depth = max(container.depth, 1 + item.depth)
            values.append(item.value)
        if container.depth > MAX_DEPTH:
            self._fail(f"its pickle nests more than {MAX_DEPTH} containers")
        return values

    def _push_tuple(self, items: list[_Item]) -> None:
        made = _Item((), 1)
        made.value = tuple(self._enclosed(items, made))
        self._stack.append(made)

    def _set(self, target: _Item, flat: list[_Item]) -> None:
        if len(flat) % 2:
            self._fail("its pickle has a dictionary key without a value")
        values = self._enclosed(flat[1::2], target)
        for key, value in zip(flat[::2], values, strict=True):
            self._fill(target.value, key.value, value)

    def _fill(self, target: dict[Any, Any], key: Any, value: Any) -> None:
        # Hashing a tuple of tuples of ... takes time exponential in its depth, and numbers can
        # be chosen that all have one hash.
        if not isinstance(key, (str, int, bytes, type(None))):
            self._fail(f"its pickle uses a {type(key).__name__} as a dictionary key")
        if isinstance(key, int) and abs(key) >= MAX_KEY:
            self._fail("its pickle uses a number of more than 60 bits as a dictionary key")
        target[key] = value

    def _global(self, module: Any, attribute: Any) -> _Call | StorageType:
        if not isinstance(module, str) or not isinstance(attribute, str):
            self._fail("its pickle names something by a value that is not text")
        found = _GLOBALS.get((module, attribute))
        if found is None:
            self._refuse(f"{module[:200]}.{attribute[:200]}")
        return found

    def _call(self, call: Any, given: _Item) -> _Item:
        arguments = given.value
        if not isinstance(arguments, tuple):
            self._fail("its pickle calls with arguments that are not a tuple")
        if call is _Call.ORDERED_DICT:
            return _Item(self._ordered_dict(arguments), max(1, given.depth))
        if call is _Call.TENSOR:
            return _Item(self._tensor(arguments))
        if call is _Call.PARAMETER:
            if not arguments or not isinstance(arguments[0], TensorRef):
                self._fail("a parameter in it holds no tensor")
            return _Item(arguments[0])
        self._refuse(f"a call of a {type(call).__name__}")

    def _ordered_dict(self, arguments: tuple[Any, ...]) -> OrderedDict[Any, Any]:
        made: OrderedDict[Any, Any] = OrderedDict()
        if not arguments:
            return made
        pairs = arguments[0]  # written by Python 2: one list of [key, value]
        if len(arguments) != 1 or not isinstance(pairs, list):
            self._fail("an ordered dictionary in it is made from something else than pairs")
        self._work += len(pairs)  # one list may be used again and again
        if self._work > MAX_INSTRUCTIONS:
            self._fail("it makes ordered dictionaries without end")
        for pair in pairs:
            if not isinstance(pair, (list, tuple)) or len(pair) != 2:
                self._fail("an ordered dictionary in it is made from something else than pairs")
            self._fill(made, *pair)
        return made

    def _build(self) -> None:
        state = self._pop().value
        # PyTorch hangs ``_metadata`` (module versions) on the state dict; it holds no weights.
        if not isinstance(self._top().value, OrderedDict) or not isinstance(state, dict):
            self._refuse("BUILD, which sets attributes, on something else than a state dict")

    def _storage(self, description: Any) -> StorageRef:
        # The length first: matching "the rest" copies it, again and again when a long one is
        # recalled.
        if not isinstance(description, tuple) or not 5 <= len(description) <= 6:
            self._fail("it describes a storage in a way that makes no sense")
        match description:
            case ("storage", StorageType() as kind, str(key), _, int(count), *view):
                pass
            case _:
                self._fail("it describes a storage in a way that makes no sense")
        ref = self.storages.setdefault(key, StorageRef(key, kind, count))
        if ref != StorageRef(key, kind, count) or not 0 <= count < MAX_SIZE:
            self._fail(f"it describes storage {shown(key)} in two ways, or of no size")
        match view:
            case [] | [None]:
                return ref
            case [(str(), int(start), int(length))] if 0 <= start <= start + length <= count:
                return StorageRef(key, kind, length, start)
        self._fail(f"it describes a view of storage {shown(key)} that makes no sense")

    def _tensor(self, arguments: tuple[Any, ...]) -> TensorRef:
        if not 4 <= len(arguments) <= 8:
            self._fail("it describes a tensor in a way that makes no sense")
        match arguments:
            case (StorageRef() as storage, int(offset), tuple(shape), tuple(strides), *_):
                pass
            case _:
                self._fail("it describes a tensor in a way that makes no sense")
        if len(shape) > MAX_DIMENSIONS or len(shape) != len(strides):
            self._fail("a tensor in it has a shape or strides that make no sense")
        if not all(type(n) is int and 0 <= n < MAX_SIZE for n in (offset, *shape, *strides)):
            self._fail("a tensor in it has a shape or strides that make no sense")
        return TensorRef(storage, offset, shape, strides)
