"""What loops of threads that share memory need of the processor, and numba has no words for.

Each function here says in Python what its instruction does; `compiling` puts the instruction in its
place.  All that is read and written goes through them in one order that all threads agree on.
"""

from __future__ import annotations

import itertools
import os
import platform
from collections.abc import Callable
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

from darknet_bn.kernels.compiling import Instruction
from darknet_bn.optional import load_extra

F = TypeVar("F", bound=Callable[..., Any])
I64 = npt.NDArray[np.int64]

_ORDER = "seq_cst"
_X86: tuple[str, tuple[int, ...]] = ("llvm.x86.sse2.pause", ())
_ARM = ("llvm.aarch64.hint", (1,))  # yield
_PAUSES = {"x86_64": _X86, "amd64": _X86, "aarch64": _ARM, "arm64": _ARM}
_NUMBERS = itertools.count()


def _instruction(emit: Callable[..., Any]) -> Callable[[F], F]:
    def named(meaning: F) -> F:
        made: Any = Instruction(meaning, emit)
        return made  # type: ignore[no-any-return] # in loops it is what it stands for

    return named


# -- how numba is told: the types of the result and the arguments, and what writes the code --------


def _emit_read(context: Any, places: Any, at: Any) -> Any:
    types = load_extra("numba.core.types")

    def write(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return builder.load_atomic(_pointer(context, builder, signature, args), _ORDER, 8)

    return types.int64(places, types.intp), write


def _emit_atomic(operation: str) -> Callable[..., Any]:
    def emit(context: Any, places: Any, at: Any, value: Any) -> Any:
        types = load_extra("numba.core.types")

        def write(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            place = _pointer(context, builder, signature, args)
            return builder.atomic_rmw(operation, place, args[2], _ORDER)

        return types.int64(places, types.intp, types.int64), write

    return emit


def _emit_pause(context: Any) -> Any:
    types, ir = load_extra("numba.core.types"), load_extra("llvmlite.ir")
    cgutils = load_extra("numba.core.cgutils")
    name, numbers = _PAUSES.get(platform.machine().lower(), ("", ()))

    def write(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        if name:
            given = [ir.IntType(32)(number) for number in numbers]
            kind = ir.FunctionType(ir.VoidType(), [each.type for each in given])
            builder.call(cgutils.get_or_insert_function(builder.module, kind, name), given)
        return context.get_dummy_value()

    return types.void(), write


def _emit_give_way(context: Any) -> Any:
    types, ir = load_extra("numba.core.types"), load_extra("llvmlite.ir")
    cgutils = load_extra("numba.core.cgutils")

    def write(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        if os.name == "posix":
            kind = ir.FunctionType(ir.IntType(32), [])
            builder.call(cgutils.get_or_insert_function(builder.module, kind, "sched_yield"), [])
        return context.get_dummy_value()

    return types.void(), write


def _emit_task(context: Any, function: Any, given: Any) -> Any:
    """Write a function of an address and a number, which calls numba's function."""
    types, ir = load_extra("numba.core.types"), load_extra("llvmlite.ir")
    cgutils = load_extra("numba.core.cgutils")
    inner = types.void(given, types.int64)
    function.dispatcher.compile(inner.args)

    def write(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        compiled = function.dispatcher.overloads[inner.args]
        context.active_code_library.add_linking_library(compiled.library)
        kept = cgutils.alloca_once_value(builder, args[1])
        word = ir.IntType(64)
        kind = ir.FunctionType(ir.IntType(32), [word, word])
        entry = ir.Function(builder.module, kind, f"darknet_bn_task_{next(_NUMBERS)}")
        entry.linkage = "internal"
        body = ir.IRBuilder(entry.append_basic_block())
        values = body.load(body.inttoptr(entry.args[0], kept.type))
        status, _ = context.call_internal_no_propagate(
            body, compiled.fndesc, inner, [values, entry.args[1]]
        )
        body.ret(status.code)
        addresses = [builder.ptrtoint(each, word) for each in (entry, kept)]
        return context.make_tuple(builder, signature.return_type, addresses)

    return types.UniTuple(types.int64, 2)(function, given), write


def _emit_do(context: Any, task: Any, given: Any, number: Any) -> Any:
    types, ir = load_extra("numba.core.types"), load_extra("llvmlite.ir")

    def write(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        word = ir.IntType(64)
        kind = ir.FunctionType(ir.IntType(32), [word, word])
        code = builder.call(builder.inttoptr(args[0], kind.as_pointer()), args[1:])
        return builder.zext(code, word)

    return types.int64(*[types.int64] * 3), write


def _pointer(context: Any, builder: Any, signature: Any, args: Any) -> Any:
    kind, cgutils = signature.args[0], load_extra("numba.core.cgutils")
    array = context.make_array(kind)(context, builder, args[0])
    return cgutils.get_item_pointer(context, builder, kind, array, [args[1]])


# -- the instructions ------------------------------------------------------------------------------


@_instruction(_emit_read)
def read(places: I64, at: int) -> int:
    """Return a number that other threads may change at any time."""
    return int(places[at])


@_instruction(_emit_atomic("xchg"))
def exchange(places: I64, at: int, value: int) -> int:
    """Write a number, and return the one before it, as one act."""
    before, places[at] = int(places[at]), value
    return before


@_instruction(_emit_atomic("add"))
def add(places: I64, at: int, value: int) -> int:
    """Add to a number, and return the one before it, as one act."""
    before = int(places[at])
    places[at] += value
    return before


@_instruction(_emit_pause)
def pause() -> None:
    """Wait some nanoseconds, in which another thread may have the core to itself."""


@_instruction(_emit_give_way)
def give_way() -> None:
    """Let another thread run that waits for this core, if the system is asked so."""


@_instruction(_emit_task)
def task(function: Callable[..., None], given: tuple[Any, ...]) -> tuple[int, int]:
    """Return the addresses of a compiled function, and of what it is given; see `do`.

    The latter is valid until the function that runs this returns.
    """
    raise NotImplementedError


@_instruction(_emit_do)
def do(task: int, given: int, number: int) -> int:
    """Call the function at an address with what is given at another; return an error, or 0."""
    raise NotImplementedError
