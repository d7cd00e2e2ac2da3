"""The pickle inside a ``.pt``: followed as far as tensors need, refused beyond, never executed."""

from __future__ import annotations

import io
import os
import pickle
import random
import time
from collections import OrderedDict
from pathlib import Path
from typing import Any

import pytest

import darknet_bn as dn
from darknet_bn.convert.pickle_stream import StateDict, Storage, Tensor, read_pickle
from darknet_bn.convert.state_dict import _pickle
from tests.convert.cases import small_model

STORAGE = b"(X\x07\0\0\0storagectorch\nFloatStorage\nX\1\0\0\x000X\3\0\0\0cpuK\x06tQ"
NINE = b"(" + b"K\1" * 9 + b"t"
HOOKS = b"ccollections\nOrderedDict\n)R"


def tensor(
    storage: bytes = STORAGE,
    offset: bytes = b"K\0",
    shape: bytes = b"K\2K\3\x86",
    strides: bytes = b"K\3K\1\x86",
    rest: bytes = b"\x89" + HOOKS,
) -> bytes:
    return (
        b"ctorch._utils\n_rebuild_tensor_v2\n(" + storage + offset + shape + strides + rest + b"tR"
    )


def test_plain_values_are_read() -> None:
    value = {
        "a": [1, -5, 300, 70000, 1 << 40, 1.5, None, True, False],
        3: ("x", (), ("y",), ("z", 1), ("é", 1, 2), (1, 2, 3, 4)),
        "d": {},
        "l": [],
        "m": ["one"],
    }
    assert read_pickle(pickle.dumps(value, 2)) == value


def test_an_ordered_dict_keeps_its_metadata() -> None:
    value = OrderedDict(a=1, b=2)
    value._metadata = {"": {"version": 1}}  # type: ignore[attr-defined]
    found = read_pickle(pickle.dumps(value, 2))
    assert isinstance(found, StateDict)
    assert (list(found.items()), found.metadata) == ([("a", 1), ("b", 2)], {"": {"version": 1}})


def test_a_tensor_is_described() -> None:
    expected = Tensor(Storage("0", "float32", 6), 0, (2, 3), (3, 1))
    assert read_pickle(tensor() + b".") == expected
    parameter = b"ctorch._utils\n_rebuild_parameter\n" + tensor() + b"\x88" + HOOKS + b"\x87R."
    assert read_pickle(parameter) == expected


def execute(name: str) -> bytes:
    return b"c" + name.replace(" ", "\n").encode() + b"\n(X\1\0\0\0xtR."


REFUSED = {
    "os.system": (execute("posix system"), "at byte 0: the name 'posix.system' is not needed"),
    "eval": (execute("builtins eval"), "the name 'builtins.eval' is not needed for tensors"),
    "a module": (execute("models Darknet"), "the name 'models.Darknet' is not needed"),
    "torch.load": (execute("torch.serialization load"), "'torch.serialization.load' is not needed"),
    "numpy": (
        execute("numpy.core.multiarray scalar"),
        "'numpy.core.multiarray.scalar' is not needed",
    ),
    "INST": (b"(iposix\nsystem\n.", "the instruction INST is not needed for tensors"),
    "OBJ": (b"(ccollections\nOrderedDict\no.", "the instruction OBJ is not needed"),
    "NEWOBJ": (b"ccollections\nOrderedDict\n)\x81.", "the instruction NEWOBJ is not needed"),
    "STACK_GLOBAL": (
        b"\x8c\5posix\x8c\6system\x93.",
        "the instruction SHORT_BINUNICODE is not needed",
    ),
    "EXT1": (b"\x82\1.", "the instruction EXT1 is not needed"),
    "BINBYTES": (b"B\1\0\0\0x.", "the instruction BINBYTES is not needed"),
    "PERSID": (b"Pkey\n.", "the instruction PERSID is not needed"),
    "a call of nothing": (b"K\1)R.", "it calls a value that is not a function"),
    "a storage called": (
        b"ctorch\nFloatStorage\n)R.",
        "'torch.FloatStorage' has unexpected arguments",
    ),
    "a dict of pairs": (
        b"ccollections\nOrderedDict\n](K\1K\2\x86e\x85R.",
        "has unexpected arguments",
    ),
    "attributes": (HOOKS + b"}X\1\0\0\0xK\1sb.", "has attributes besides _metadata"),
    "built on a dict": (b"}}b.", "it changes a value that is not a dict or list"),
    "built on a tuple": (b")}b.", "it changes a value that is not a dict or list"),
    "another id": (b"X\1\0\0\0xQ.", "a persistent id does not name a storage"),
    "a storage of nothing": (STORAGE.replace(b"FloatStorage", b"CharTensor  "), "is not needed"),
    "negative count": (STORAGE.replace(b"K\x06tQ", b"J\xff\xff\xff\xfftQ."), "a size or an offset"),
    "hooks": (
        tensor(rest=b"\x89" + HOOKS + b"K\1K\1s"),
        "unexpected arguments",
    ),
    "conjugate": (tensor(rest=b"\x89" + HOOKS + b"}"), "unexpected arguments"),
    "axes": (tensor(shape=b"K\6\x85"), "a tensor has 1 axes and 2 strides"),
    "many axes": (
        tensor(shape=b"(" + b"K\1" * 9 + b"t", strides=b"(" + b"K\1" * 9 + b"t"),
        "9 axes",
    ),
    "outside": (
        tensor(offset=b"K\1"),
        "a tensor (2, 3) at 1 is outside its storage of 6 values",
    ),
    "negative offset": (
        tensor(offset=b"J\xff\xff\xff\xff"),
        "a size or an offset is not a valid number",
    ),
    "negative stride": (tensor(strides=b"J\xff\xff\xff\xffK\1\x86"), "a size or an offset"),
    "true as a size": (tensor(shape=b"\x88K\3\x86"), "a size or an offset is not a valid number"),
    "text as a size": (
        tensor(shape=b"X\1\0\0\0xK\3\x86"),
        "a size or an offset is not a valid number",
    ),
    "huge offset": (tensor(offset=b"\x8a\x09" + b"\xff" * 8 + b"\0"), "a size or an offset"),
    "huge shape": (tensor(shape=b"M\xff\xffJ\0\0\0\x7f\x86"), "is outside its storage"),
    "strides of 0": (
        tensor(shape=b"J\0\0\0\x7fJ\0\0\0\x7f\x86", strides=b"K\0K\0\x86"),
        "(2130706432, 2130706432) at 0 is outside its storage",
    ),
    "nothing to give": (b"", "it does not end with exactly one value"),
    "two values": (b"K\1K\2.", "it does not end with exactly one value"),
    "an open mark": (b"(K\1.", "it does not end with exactly one value"),
    "no mark": (b"t.", "it uses a mark that is not there"),
    "no value": (b"\x85.", "it takes a value that is not there"),
    "nothing to remember": (b"q\0.", "it takes a value that is not there"),
    "no such value": (b"h\7.", "it refers to value 7, which is not there"),
    "a list for a dict": (b"](K\1K\2u.", "it changes a value that is not a dict or list"),
    "a key alone": (b"}(K\1u.", "a key has no value"),
    "a key twice": (b"}(K\1K\2K\1K\3u.", "the key '1' occurs twice"),
    "a tuple as key": (b"}(K\1\x85K\2u.", "a key is of the type tuple"),
    "text cut off": (b"X\xff\xff\xff\x7fabc", "it is damaged: expected 2147483647 bytes"),
    "no text": (b"X\1\0\0\0\xff.", "it is damaged: 'utf-8' codec"),
    "no instruction": (b"\xff.", "it is damaged: at position 0, opcode b'\\xff' unknown"),
    "without end": (b"N0" * (1 << 20), "the instruction POP is not needed"),
    "very long": (b"N" * (1 << 20), "it has more than 200000 instructions"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_is_refused(case: str) -> None:
    data, message = REFUSED[case]
    with pytest.raises(dn.WeightsError) as caught:
        read_pickle(data + b".")
    assert message in str(caught.value)
    assert "only state dicts of plain tensors are read" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_texts_of_protocol_0_are_refused_without_a_warning() -> None:
    with pytest.raises(dn.WeightsError, match="the instruction STRING is not needed for tensors"):
        read_pickle(b"S'\\('\n.")


def test_the_place_is_told() -> None:
    with pytest.raises(dn.WeightsError, match="not be read safely, at byte 7: the instruction POP"):
        read_pickle(b"X\2\0\0\0ab0.")


def test_the_most_instructions() -> None:
    assert read_pickle(b"(" + b"N" * 199_997 + b"t.") == (None,) * 199_997
    with pytest.raises(dn.WeightsError, match="it has more than 200000 instructions"):
        read_pickle(b"(" + b"N" * 199_998 + b"t.")


def test_the_most_axes() -> None:
    for axes in (8, 9):
        shape, strides = (b"(" + b"K\1" * axes + b"t" for _ in range(2))
        if axes == 8:
            found = read_pickle(tensor(shape=shape, strides=strides) + b".")
            assert isinstance(found, Tensor)
            assert found.shape == (1,) * 8
        else:
            with pytest.raises(dn.WeightsError, match="a tensor has 9 axes and 9 strides"):
                read_pickle(tensor(shape=shape, strides=strides) + b".")


def test_the_largest_storage() -> None:
    count = STORAGE.replace(b"K\x06tQ", b"\x8a\x08" + b"\xff" * 7 + b"\x7ftQ")
    assert read_pickle(count + b".") == Storage("0", "float32", (1 << 63) - 1)
    count = STORAGE.replace(b"K\x06tQ", b"\x8a\x09" + b"\0" * 7 + b"\x80\0tQ")
    with pytest.raises(dn.WeightsError, match="a size or an offset is not a valid number"):
        read_pickle(count + b".")


def test_what_is_referred_to_is_the_top_of_the_stack() -> None:
    assert read_pickle(b"K\1K\2q\0h\0\x87.") == (1, 2, 2)


@pytest.mark.parametrize("data", [b"", b"K\1", tensor()], ids=range(3))
def test_a_stream_without_end(data: bytes) -> None:
    with pytest.raises(dn.WeightsError, match="pickle exhausted before seeing STOP"):
        read_pickle(data)


@pytest.mark.parametrize("protocol", range(6))
def test_what_would_be_executed_is_not(protocol: int, tmp_path: Path) -> None:
    class Trap:
        def __reduce__(self) -> tuple[object, ...]:
            return (os.mkdir, (str(tmp_path / "sprung"),))

    data = pickle.dumps({"a": Trap()}, protocol)
    with pytest.raises(dn.WeightsError, match="not needed for tensors"):
        read_pickle(data)
    assert not (tmp_path / "sprung").exists()
    pickle.loads(data)  # it would have been
    assert (tmp_path / "sprung").exists()


def test_values_that_refer_to_themselves_take_no_time() -> None:
    begin = time.thread_time()  # of the processor: how busy the machine is does not count
    doubled = b")" + b"".join(b"q%ch%c\x86" % (n, n) for n in range(100))
    with pytest.raises(dn.WeightsError, match="a key is of the type tuple"):
        read_pickle(b"}(" + doubled + b"K\1u.")
    for of in (b"Q", b"R", b")R", b"b", b"}b"):
        with pytest.raises(dn.WeightsError):
            read_pickle(doubled + of + b".")
    inside = read_pickle(b"}q\0X\1\0\0\0ah\0s.")
    assert isinstance(inside, dict)
    assert inside["a"] is inside
    assert time.thread_time() - begin < 1


def test_values_that_are_nested_deeply() -> None:
    value: Any = read_pickle(b")" + b"\x85" * 100_000 + b".")
    assert isinstance(value, tuple)
    del value


@pytest.mark.parametrize("seed", range(4))
def test_any_damage_gives_an_error_or_plain_values(seed: int) -> None:
    rng = random.Random(seed)
    params = small_model().params[0]
    whole = _pickle({f"a.{name}": each for name, each in params.items()}, {"cfg": "x"})
    broken = 0
    for _ in range(1500):
        data = bytearray(whole)
        for _ in range(rng.choice((1, 1, 2, 5))):
            data[rng.randrange(len(data))] = rng.choice((rng.randrange(256), *b"(tuRbsQqh.}]X"))
        try:
            read_pickle(bytes(data))
        except dn.WeightsError as error:
            assert "\n" not in str(error)
            broken += 1
    assert broken > 700


def test_ours_is_a_pickle_that_python_takes_too() -> None:
    class Reader(pickle.Unpickler):
        def persistent_load(self, pid: Any) -> Any:
            return pid[1:]

        def find_class(self, module: str, name: str) -> Any:
            return OrderedDict if name == "OrderedDict" else (lambda *words: (name, *words))

    params = small_model().params[0]
    data = _pickle(params, {"header": "00"})
    found = Reader(io.BytesIO(data)).load()
    assert list(found) == list(params)
    assert found._metadata["darknet"] == {"header": "00"}
