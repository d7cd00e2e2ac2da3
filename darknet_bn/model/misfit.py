"""Why a ``.weights`` file may not fit its ``.cfg``: what would have to change for it to fit."""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator, Mapping
from typing import NamedTuple

import numpy as np

from darknet_bn.dialect import DIALECTS, Dialect
from darknet_bn.errors import DarknetError, WeightsError
from darknet_bn.formats.cfg import Cfg
from darknet_bn.layers.shared.per_class import per_class
from darknet_bn.model.network import Network, build_network
from darknet_bn.model.weights import Header
from darknet_bn.model.which import published_fit
from darknet_bn.work import measured
from darknet_bn.work.cuts import pieces

_LEAST_CUT = 1 << 20  # bytes; a shorter file may lack CR LF by chance
_USUAL = (1e-8, 1e5)  # magnitudes of nearly all weights of a trained net
_SAMPLES, _SAMPLE = 8, 256  # number of places sampled in a file, and floats at each
_LEAST_SAMPLE = 32  # floats


class Content(NamedTuple):
    """The bytes of a file.

    Attributes
    ----------
    size : int
    read : function
        ``read(start, stop)`` returns the bytes between.
    """

    size: int
    read: Callable[[int, int], bytes]

    def parts(self) -> Iterator[bytes]:
        """Yield all bytes in parts; each part begins with the last byte of the part before it."""
        for part in pieces(self.size, measured.FILE_PART):
            yield self.read(max(0, part.start - 1), part.stop)


def likely_cause(cfg: Cfg, dialect: Dialect, content: Content, header: Header) -> str | None:
    """Say what may have happened to a file that does not fit a given cfg.

    Returns
    -------
    cause : str or None
        The first explanation that fits the size to the byte; None if no explanation does.
    """
    network = build_network(cfg, dialect)
    cause = next(_damages(content, header, network.stored_floats), None)
    if cause is None:
        floats, rest = divmod(content.size - header.size, 4)
        if rest:
            cause = "the size is not a multiple of 4: the file was truncated or changed in transfer"
        else:
            cause = next(_causes(cfg, dialect, network, floats), None)
            cause = cause or published_fit(content.size, header)
            cause = cause or "is this the cfg that the weights were trained with?"
    if header.plausible:
        return cause
    return f"{cause}; {header.major}.{header.minor}.{header.revision} is not a version of Darknet's"


def refuse_other_order(content: Content) -> None:
    """Refuse a file whose numbers have reversed byte order.

    Raises
    ------
    WeightsError
        The byte order is reversed, in the header or in the floats alone.
    """
    start = content.read(0, 20)
    if len(start) == 20:
        major, minor, revision = struct.unpack(">iii", start[:12])
        if major == 0 and minor in (1, 2) and 0 <= revision <= 255:
            raise WeightsError(
                "the bytes of every number are in reverse order (big-endian)",
                expected=f"version 0.{minor}.{revision} in little-endian order",
                hint="numpy.fromfile(FILE, '>u4').astype('<u4').tofile(OUT) swaps them",
            )
    step = max(1, (content.size - 20) // (4 * _SAMPLES)) * 4
    sample = b"".join(
        content.read(at, min(at + 4 * _SAMPLE, content.size))
        for at in range(20, content.size, step)
    )
    sample = sample[: len(sample) // 4 * 4]
    if _usual(sample, "<f4") < 0.5 and _usual(sample, ">f4") > 0.95:
        raise WeightsError(
            "the bytes of the floats after the header are in reverse order (big-endian)",
            hint="data = numpy.fromfile(FILE, '<u4'); data[5:].byteswap(True); data.tofile(OUT)",
        )


def _usual(sample: bytes, kind: str) -> float:
    """Return the share of values with magnitudes usual in trained nets."""
    values = np.frombuffer(sample, kind)
    values = np.abs(values[values != 0])
    if len(values) < _LEAST_SAMPLE:
        return 1.0
    return float(((values > _USUAL[0]) & (values < _USUAL[1])).mean())


def _damages(content: Content, header: Header, floats: int) -> Iterator[str]:
    """Yield what may have happened to a file that has the arrays of the cfg."""
    size, expected = content.size, 20 + 4 * floats
    if size == 4 * floats:
        yield (
            "these are exactly the parameters of this cfg, but the header (20 bytes) is missing; "
            "darknet_bn.Header().to_bytes() makes one"
        )
    if size == 12 + 4 * floats:
        yield "the header has 12 bytes: the counter of images (8 bytes) is missing after it"
    for width in (20, 16):
        twice = size - header.size - width == 4 * floats
        if twice and content.read(header.size, header.size + 12) == content.read(0, 12):
            yield f"the header is there twice; without the first {header.size} bytes the file fits"
    for width, kind, code in ((2, "float16", "<f2"), (8, "float64", "<f8")):
        for start in (20, 16, 0):
            if size == start + width * floats:
                where = f"after a header of {start} bytes" if start else "without a header"
                yield (
                    f"these are {floats} {kind} numbers {where}; "
                    f"numpy.frombuffer(data, '{code}', offset={start}).astype('<f4') converts them"
                )
    for whole in (expected, expected - 4):
        if 0 < size - whole <= 4 and not content.read(whole, size).strip(b"\r\n"):
            yield f"there is a line end after the last number; truncate -s {whole} FILE removes it"
    yield from _as_text(content, expected)


def _as_text(content: Content, expected: int) -> Iterator[str]:
    """Yield how a file was changed because it was taken for text in transfer."""
    feeds = pairs = replaced = 0
    for number, part in enumerate(content.parts()):
        pairs += part.count(b"\r\n")
        feeds += part.count(b"\n", 1 if number else 0)
        replaced += part.count(b"\xef\xbf\xbd")
    if replaced > max(2, content.size >> 8):
        yield ("the file was decoded as UTF-8 text, which lost data; download it again as binary")
    elif content.size > 64 and _is_utf8(content.read(0, _LEAST_CUT)):
        yield "the file was encoded as UTF-8 text; download it again as binary"
    if feeds and pairs == feeds and content.size - feeds in (expected, expected - 4):
        yield (
            "every LF byte has become CR LF: the file was transferred as text; "
            "download it again in binary mode"
        )
    missing = expected - content.size
    if not pairs and content.size >= _LEAST_CUT and 0 < missing <= expected >> 13:
        yield (
            "the file contains no CR LF: it was probably transferred as text, and each became "
            "LF; download it again in binary mode"
        )


def _is_utf8(start: bytes) -> bool:
    """Return whether bytes are UTF-8 text that is not all ASCII, except for a cut at the end."""
    for cut in range(4):
        try:
            return not start[: len(start) - cut].decode("utf-8").isascii()
        except UnicodeDecodeError:
            continue
    return False


def _causes(cfg: Cfg, dialect: Dialect, network: Network, floats: int) -> Iterator[str]:
    layers = _layers_held(network, floats)
    if layers is not None:
        yield (
            f"the file holds the layers 0 to {layers - 1} exactly: a backbone file such as "
            f".conv.{layers}, which loads with the option 'partial'"
        )
    classes = _fitting_classes(cfg, dialect, network, floats)
    if classes is not None:
        count, filters = classes
        yield f"it would match classes={count} (filters={filters} before the heads)"
    for value, meaning in ((0, "folded into the weights already"), (1, "not folded yet")):
        if _floats(cfg, dialect, _batch_norm_edits(network, value)) == floats:
            yield f"it would match batch_normalize={value}: its batch norm is {meaning}"
    for other in DIALECTS.values():
        if _floats(cfg, other, {}) == floats:
            yield f"it would match the dialect {other.name}"


def _layers_held(network: Network, floats: int) -> int | None:
    """Return how many layers that many floats fill exactly; None if a layer is cut."""
    held = 0
    for index, node in enumerate(network.nodes):
        if node.owner == index:
            held += sum(param.stored_size for param in node.params)
        if held == floats and held:
            return index + 1
        if held > floats:
            break
    return None


def _fitting_classes(
    cfg: Cfg, dialect: Dialect, network: Network, floats: int
) -> tuple[int, int] | None:
    """Return the class count that fits, and the filters needed before the last head.

    The size of a file is a linear function of the class count: two points give the line.
    """
    layers = ((index, per_class(node.layer)) for index, node in enumerate(network.nodes))
    heads = {index: each for index, each in layers if each and each.filters_per_class()}
    counts = {each.classes for each in heads.values()}
    if len(counts) != 1:
        return None
    (now,) = counts

    def edits(classes: int) -> dict[tuple[int, str], str | None]:
        changes: dict[tuple[int, str], str | None] = {}
        for index, head in heads.items():
            (source,) = network.nodes[index].sources
            filters = network.nodes[index].y.c + head.filters_per_class() * (classes - now)
            changes[source + 1, "filters"] = str(filters)
            changes[index + 1, "classes"] = str(classes)
        return changes

    one_more = _floats(cfg, dialect, edits(now + 1))
    if one_more is None or one_more == network.stored_floats:
        return None
    steps, rest = divmod(floats - network.stored_floats, one_more - network.stored_floats)
    if rest or now + steps < 1 or _floats(cfg, dialect, edits(now + steps)) != floats:
        return None
    last = max(heads)
    return now + steps, network.nodes[last].y.c + heads[last].filters_per_class() * steps


def _batch_norm_edits(network: Network, value: int) -> dict[tuple[int, str], str | None]:
    """Set batch norm on or off everywhere; never on before a head, which never has it."""
    heads = {
        source
        for node in network.nodes
        if (head := per_class(node.layer)) and head.filters_per_class()
        for source in node.sources
    }
    return {
        (index + 1, "batch_normalize"): str(value)
        for index, node in enumerate(network.nodes)
        if "batch_normalize" in node.layer.declared() and not (value and index in heads)
    }


def _floats(cfg: Cfg, dialect: Dialect, edits: Mapping[tuple[int, str], str | None]) -> int | None:
    """Return how many floats the edited cfg needs; None if it is no longer a valid network."""
    try:
        return build_network(cfg.edited(edits), dialect).stored_floats
    except DarknetError:
        return None
