"""Having Numba compile kernels: only where no code of them is kept."""

from collections.abc import Callable, Iterator
from types import CellType, FunctionType
from typing import Any

import numba
import numpy as np
from llvmlite import ir
from numba import njit, types
from numba.extending import intrinsic

from batchstack.compiled.kernels import Kinds, Routine
from batchstack.compiled.machine import Code

_OPTIONS = {"error_model": "numpy", "_nrt": False}
_WORD = ir.IntType(64)
# Of an array object, where its data, sides and strides are (NumPy's PyArrayObject_fields).
_DATA = object.__basicsize__
_SIDES, _STRIDES = _DATA + 16, _DATA + 24


def routine(function: Callable[..., Any]) -> Any:
    """See `compiled.routine`."""
    return njit(**_OPTIONS)(_linked(function))


def inlined(function: Callable[..., Any]) -> Any:
    """See `compiled.inlined`."""
    return njit(inline="always", **_OPTIONS)(_linked(function))


def fused(function: Callable[..., Any]) -> Any:
    """See `compiled.fused`."""

    @intrinsic  # type: ignore[untyped-decorator]
    def multiply_and_add(context: Any, a: Any, b: Any, c: Any) -> Any:
        def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
            return builder.fma(*values)

        return types.float32(types.float32, types.float32, types.float32), generate

    return multiply_and_add


def _linked(function: Any) -> Any:
    """A function that finds Numba's routines where it would find ours."""
    names = dict(function.__globals__)
    names |= {name: _made(names[name]) for name in function.__code__.co_names if name in names}
    cells = tuple(CellType(_made(cell.cell_contents)) for cell in function.__closure__ or ())
    return FunctionType(
        function.__code__, names, function.__name__, function.__defaults__, cells or None
    )


def _made(value: Any) -> Any:
    return value.compiled if isinstance(value, Routine) else value


def machine_code(function: Callable[..., None], kinds: Kinds) -> Code:
    """Compile a kernel, with a function round it that takes its arguments from words.

    Parameters
    ----------
    function : callable
    kinds : tuple
        Of a call's arguments, as of `kernels.describe`.
    """
    rest = iter(kinds)
    arguments = types.BaseTuple.from_types([_type(kind, rest) for kind in rest])
    called, taken = routine(function), _taking(arguments)

    def entry(words: int) -> None:
        called(*taken(words))

    entry.__qualname__ = function.__name__
    compiled = njit(no_cpython_wrapper=True, no_cfunc_wrapper=True, **_OPTIONS)(entry)
    compiled.compile((types.uintp,))
    (made,) = compiled.overloads.values()
    _, _, (content, _) = made.library.serialize_using_object_code()
    return Code(made.fndesc.llvm_func_name, content)


def _type(kind: Any, rest: Iterator[Any]) -> Any:
    """Numba's type of an argument; what else belongs to it is taken from the `rest`."""
    if isinstance(kind, np.dtype):
        dimensions, order = next(rest), next(rest)
        return types.Array(numba.from_dtype(kind), dimensions, order, aligned=order == "C")
    if issubclass(kind, tuple):
        members = [_type(next(rest), rest) for _ in range(next(rest))]
        return types.BaseTuple.from_types(members, None if kind is tuple else kind)
    return numba.typeof(kind())


def _taking(arguments: Any) -> Any:
    """What makes a tuple of arguments of the words that lie from an address on."""

    @intrinsic  # type: ignore[untyped-decorator]
    def taken(context: Any, words: Any) -> Any:
        def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
            return _Words(context, builder, *values).value(arguments)

        return arguments(types.uintp), generate

    return taken


class _Words:
    """Instructions that make values of words."""

    def __init__(self, context: Any, builder: Any, address: Any) -> None:
        self._context, self._builder, self._address, self._place = context, builder, address, 0

    def value(self, kind: Any) -> Any:
        """The next value, of a type."""
        if isinstance(kind, types.BaseTuple):
            members = [self.value(member) for member in kind]
            return self._context.make_tuple(self._builder, kind, members)
        if isinstance(kind, types.Array):
            return self._array(kind, self._next(_WORD))
        made = self._context.get_value_type(kind)
        if isinstance(kind, types.Float):
            number = self._next(ir.DoubleType())
            return number if number.type == made else self._builder.fptrunc(number, made)
        number = self._next(_WORD)
        return number if number.type == made else self._builder.trunc(number, made)

    def _array(self, kind: Any, address: Any) -> Any:
        """An array of Numba's, whose memory is looked after by that of NumPy at an address."""
        from numba.np.arrayobj import populate_array

        array = self._context.make_array(kind)(self._context, self._builder)
        sides, strides = (
            [self._load(start, 8 * axis, _WORD) for axis in range(kind.ndim)]
            for start in (self._load(address, place, _WORD) for place in (_SIDES, _STRIDES))
        )
        size = self._context.get_abi_sizeof(self._context.get_data_type(kind.dtype))
        populate_array(
            array,
            data=self._load(address, _DATA, array.data.type),
            shape=sides,
            strides=strides,
            itemsize=self._context.get_constant(types.intp, size),
            meminfo=None,
        )
        return array._getvalue()

    def _next(self, kind: Any) -> Any:
        self._place += 8
        return self._load(self._address, self._place - 8, kind)

    def _load(self, address: Any, offset: int, kind: Any) -> Any:
        place = self._builder.add(address, _WORD(offset))
        return self._builder.load(self._builder.inttoptr(place, kind.as_pointer()))
