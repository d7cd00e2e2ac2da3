"""Giving OpenCV 5 back what it dropped: the reader of Darknet's files, under its old names."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from types import ModuleType
from typing import Any, ClassVar

from darknet_bn.errors import DarknetError
from darknet_bn.opencv import models
from darknet_bn.opencv.net import Net
from darknet_bn.opencv.read import darknet_sources, readNet, readNetFromDarknet
from darknet_bn.optional import load_extra

_MODELS = ("Model", "DetectionModel", "ClassificationModel")
_HALIDE = 1  # the number of a backend that OpenCV 5 dropped along with its constant
_ERROR = -2  # OpenCV's code for an unspecific error


def patch() -> None:
    """Give an installed OpenCV 5 its reader of Darknet's files back, for the whole process.

    Afterwards ``cv2.dnn.readNetFromDarknet`` is available again.  ``cv2.dnn.readNet``,
    ``DetectionModel``, ``ClassificationModel`` and ``Model``, and their other names,
    ``cv2.dnn_DetectionModel`` and so on, accept Darknet's files and nets read from them, and pass
    everything else to OpenCV as before.  For ``isinstance``, the results count as a ``cv2.dnn.Net``
    and so on; errors count as a ``cv2.error``.  Constants that OpenCV 5 dropped or moved are back
    too.  On OpenCV 4, and the second time, nothing happens.

    Raises
    ------
    DarknetError
        OpenCV is not installed.
    """
    cv2 = load_extra("cv2")
    dnn = cv2.dnn
    if hasattr(dnn, "readNetFromDarknet"):
        return
    net = _net_class(cv2)
    dnn.readNetFromDarknet = _reader(readNetFromDarknet, net, cv2)
    dnn.readNet = _read_net(dnn.readNet, net, cv2)
    for name in _MODELS:
        replacement = _model_class(getattr(dnn, name), getattr(models, name), cv2)
        setattr(dnn, name, replacement)
        setattr(cv2, f"dnn_{name}", replacement)
    _restore_constants(cv2)


def _restore_constants(cv2: ModuleType) -> None:
    """Put constants where OpenCV 4 has them."""
    dnn = cv2.dnn
    if not hasattr(dnn, "DNN_BACKEND_HALIDE"):
        dnn.DNN_BACKEND_HALIDE = _HALIDE
    for name in dir(cv2):
        if name.startswith("DNN_") and not hasattr(dnn, name):
            setattr(dnn, name, getattr(cv2, name))


def _net_class(cv2: Any) -> type[Net]:
    """Return a class of nets that count as OpenCV's and raise OpenCV's errors."""
    theirs = cv2.dnn.Net

    class DarknetNet(Net):
        __doc__ = Net.__doc__
        __class__ = _counts_as(theirs)

    for name in _public(Net) | _public(theirs):
        setattr(DarknetNet, name, _raising(getattr(Net, name, None) or _missing(name), cv2))
    DarknetNet.__name__ = DarknetNet.__qualname__ = Net.__name__
    return DarknetNet


def _model_class(theirs: Any, ours: Any, cv2: Any) -> Any:
    """Return a class that makes our object for a Darknet net or its files, else OpenCV's."""

    class DarknetModel(ours, metaclass=_Either):  # type: ignore[misc]
        __doc__ = ours.__doc__
        __class__ = _counts_as(theirs)
        opencv_class: ClassVar[Any] = theirs

        def __new__(cls, *args: Any, **kwargs: Any) -> Any:
            if cls is DarknetModel and not _is_darknet(args, kwargs):
                return theirs(*args, **kwargs)
            return object.__new__(cls)

    for name in (*_public(ours), "__init__"):
        setattr(DarknetModel, name, _raising(getattr(ours, name), cv2))
    DarknetModel.__name__ = DarknetModel.__qualname__ = ours.__name__
    return DarknetModel


class _Either(type):
    """The type of a class whose objects are ours or OpenCV's."""

    def __instancecheck__(cls, instance: Any) -> bool:
        """Whether it is one of ours, or OpenCV's."""
        if type.__instancecheck__(cls, instance):
            return True
        return "opencv_class" in vars(cls) and isinstance(instance, vars(cls)["opencv_class"])

    def __subclasscheck__(cls, other: type) -> bool:
        """Whether its objects are."""
        if type.__subclasscheck__(cls, other):
            return True
        own = getattr(other, "opencv_class", other)
        return "opencv_class" in vars(cls) and issubclass(own, vars(cls)["opencv_class"])


def _is_darknet(args: Sequence[Any], kwargs: Mapping[str, Any]) -> bool:
    """Return whether to make a model from a Darknet net or its files."""
    first = kwargs.get("network", args[0] if args else None)
    return issubclass(type(first), Net) or darknet_sources(args, kwargs) is not None


def _read_net(theirs: Callable[..., Any], net: type[Net], cv2: Any) -> Callable[..., Any]:
    """Return a ``readNet`` that also reads Darknet's files."""
    ours = _reader(readNet, net, cv2)

    @functools.wraps(theirs)
    def read(*args: Any, **kwargs: Any) -> Any:
        own = {name: value for name, value in kwargs.items() if name != "engine"}
        is_ours = darknet_sources(args[:3], own) is not None
        return ours(*args[:3], **own) if is_ours else theirs(*args, **kwargs)

    return read


def _reader(read: Callable[..., Net], net: type[Net], cv2: Any) -> Callable[..., Net]:
    """Return a reading function that makes nets of a class and raises OpenCV's errors."""

    @functools.wraps(read)
    def patched(*args: Any, **kwargs: Any) -> Net:
        found = read(*args, **kwargs)
        return net(found._model, found._engine)

    return _raising(patched, cv2)


def _raising(function: Callable[..., Any], cv2: Any) -> Callable[..., Any]:
    """Return the function with its errors turned into OpenCV's, which programs catch."""

    @functools.wraps(function)
    def call(*args: Any, **kwargs: Any) -> Any:
        try:
            return function(*args, **kwargs)
        except cv2.error:
            raise
        except DarknetError as error:
            raise _as_theirs(error, cv2).with_traceback(error.__traceback__) from None

    return call


def _as_theirs(error: DarknetError, cv2: Any) -> DarknetError:
    """Return an error that is also an OpenCV error, with the attributes of one."""
    kind = type(error)
    text = str(error)
    attributes = {"code": _ERROR, "err": text, "msg": text, "file": "", "func": "", "line": 0}
    both: Any = type(kind.__name__, (kind, cv2.error), attributes)
    told: DarknetError = both.__new__(both, *error.args)
    vars(told).update(vars(error))
    return told


def _counts_as(theirs: type) -> Any:
    """Return a property that makes ``isinstance`` accept objects as instances of OpenCV's class.

    They do not inherit from it: they would be empty in C++, and its memory layout does not allow
    subclasses with more.
    """
    return property(lambda self: theirs)


def _missing(name: str) -> Callable[..., Any]:
    """Return a method that says that it does not exist."""

    def missing(self: Any, *args: Any, **kwargs: Any) -> Any:
        raise DarknetError(f"{name} is not supported for Darknet networks")

    missing.__name__ = name
    return missing


def _public(kind: type) -> set[str]:
    return {name for name in dir(kind) if not name.startswith("_")}
