"""HEIC: one coded picture, or a grid of tiles as cameras write them (ISO/IEC 23008-12). FFmpeg decodes the tiles, each
as a stream of its own; how they lie side by side, and how the whole is turned, stands in the file's `meta` box."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from PIL import Image

from gateway.canonical.content import Media
from gateway.canonical.media.boxes import inner_boxes, top_box
from gateway.canonical.media.octets import Octets
from gateway.worker.media.demux import opened
from gateway.worker.media.refused import Refused

MOST_TILES = 1024
_BROKEN = "this picture can't be read: it is broken, or coded in another way than usual; send it as JPEG or PNG"
_FLIPS = (Image.Transpose.FLIP_TOP_BOTTOM, Image.Transpose.FLIP_LEFT_RIGHT)


@dataclass(slots=True)
class Plan:
    """`tiles`: the items that are decoded, row by row, `columns` a row. `width` x `height` of the whole, before
    `changes`: the properties that crop, turn and mirror it, in their order."""

    tiles: list[int]
    columns: int
    width: int
    height: int
    changes: list[tuple[bytes, bytes]] = field(default_factory=list)


def read_plan(data: bytes) -> Plan:
    """Raises Refused."""
    meta = top_box(Octets(Media(octets=data)), b"meta")
    try:
        if meta is None:
            raise ValueError("there is no meta box")
        return _plan(data, meta[4:])
    except (ValueError, IndexError, KeyError, struct.error, StopIteration) as e:
        raise Refused(_BROKEN) from e


def _plan(data: bytes, meta: bytes) -> Plan:
    boxes = {
        name: next(inner_boxes(meta, name), b"") for name in (b"pitm", b"iinf", b"iref", b"iprp", b"iloc", b"idat")
    }
    primary = int.from_bytes(boxes[b"pitm"][4 : 8 if boxes[b"pitm"][0] else 6], "big")
    kind = dict(_items(boxes[b"iinf"]))[primary]
    properties = list(_properties(boxes[b"iprp"], primary))
    width, height = struct.unpack(">2I", next(body for name, body in properties if name == b"ispe")[4:12])
    changes = [(name, body) for name, body in properties if name in (b"clap", b"irot", b"imir")]
    if kind != b"grid":
        return Plan([primary], 1, width, height, changes)
    grid = _payload(data, boxes[b"iloc"], boxes[b"idat"], primary)
    rows, columns = grid[2] + 1, grid[3] + 1
    width, height = struct.unpack(">2I" if grid[1] & 1 else ">2H", grid[4 : 12 if grid[1] & 1 else 8])
    tiles = _tiles(boxes[b"iref"], primary)
    if len(tiles) != rows * columns or len(tiles) > MOST_TILES:
        raise ValueError("the tiles are not those of the grid")
    return Plan(tiles, columns, width, height, changes)


def _items(iinf: bytes) -> Iterator[tuple[int, bytes]]:
    """(id, type) of all items."""
    for infe in inner_boxes(iinf[8 if iinf[0] else 6 :], b"infe"):
        wide = 4 if infe[0] >= 3 else 2
        yield int.from_bytes(infe[4 : 4 + wide], "big"), infe[6 + wide : 10 + wide]


def _properties(iprp: bytes, item: int) -> Iterator[tuple[bytes, bytes]]:
    """(name, body) of what is said of an item, in its order."""
    ipco = next(inner_boxes(iprp, b"ipco"), b"")
    known: list[tuple[bytes, bytes]] = []
    at = 0
    while at + 8 <= len(ipco):
        length = int.from_bytes(ipco[at : at + 4], "big")
        if length < 8:
            raise ValueError("a property is too short")
        known.append((ipco[at + 4 : at + 8], ipco[at + 8 : at + length]))
        at += length
    for ipma in inner_boxes(iprp, b"ipma"):
        wide, large = (4 if ipma[0] else 2), ipma[3] & 1
        at = 8
        for _ in range(int.from_bytes(ipma[4:8], "big")):
            owner, count = int.from_bytes(ipma[at : at + wide], "big"), ipma[at + wide]
            at += wide + 1
            step = 2 if large else 1
            for i in range(count):
                number = int.from_bytes(ipma[at + i * step : at + (i + 1) * step], "big") & (0x7FFF if large else 0x7F)
                if owner == item and number:
                    yield known[number - 1]
            at += count * step


def _tiles(iref: bytes, item: int) -> list[int]:
    """The items that one is made of."""
    wide = 4 if iref[0] else 2
    for dimg in inner_boxes(iref[4:], b"dimg"):
        if int.from_bytes(dimg[:wide], "big") == item:
            rest = dimg[wide + 2 :]
            return [int.from_bytes(rest[at : at + wide], "big") for at in range(0, len(rest) - wide + 1, wide)]
    raise ValueError("a grid without tiles")


def _payload(data: bytes, iloc: bytes, idat: bytes, item: int) -> bytes:
    """The octets of a small item: in `idat`, or elsewhere in the file."""
    version, sizes = iloc[0], int.from_bytes(iloc[4:6], "big")
    offset, length, base, index = sizes >> 12 & 15, sizes >> 8 & 15, sizes >> 4 & 15, (sizes & 15) * (version > 0)
    at = 6
    if not offset or not length:
        raise ValueError("the places have no numbers")

    def take(size: int) -> int:
        nonlocal at
        at += size
        if at > len(iloc):
            raise ValueError("the list of places is cut")
        return int.from_bytes(iloc[at - size : at], "big")

    for _ in range(take(4 if version == 2 else 2)):
        found = take(4 if version == 2 else 2)
        method = take(2) & 15 if version else 0
        take(2)
        start = take(base)
        for _ in range(take(2)):
            take(index)
            where, count = start + take(offset), take(length)
            if found == item:
                return (idat if method == 1 else data)[where : where + min(count, 64)]
    raise KeyError(item)


def decode(data: bytes, most: int) -> Any:
    """The picture as it is meant to be looked at, in RGB. `most` = pixels that it may have. Raises Refused."""
    plan = read_plan(data)
    if plan.width * plan.height > most:
        raise Refused(f"this picture has {plan.width} x {plan.height} pixels: at most {most:,} are converted")
    places: dict[int, list[int]] = {}  # one tile may lie in several
    for i, item in enumerate(plan.tiles):
        places.setdefault(item, []).append(i)
    whole: Any = None
    seen = set()
    with opened(data, "image/heic") as container:
        streams = [s for s in container.streams.video if s.id in places]
        for stream in streams:
            if stream.codec_context is None or stream.codec_context.width * stream.codec_context.height > most:
                raise Refused(_BROKEN)
            stream.codec_context.thread_count = 1
        for packet in container.demux(streams):
            if packet.is_corrupt:
                raise Refused(_BROKEN)
            for frame in packet.decode():
                if whole is None:
                    whole = Image.new("RGB", (plan.width, plan.height))
                tile = frame.to_image()
                for place in places[packet.stream.id]:
                    row, column = divmod(place, plan.columns)
                    whole.paste(tile, (column * frame.width, row * frame.height))
                seen.add(packet.stream.id)
    if len(seen) != len(places):
        raise Refused(_BROKEN)
    for name, body in plan.changes:
        whole = _changed(whole, name, body)
    return whole


def _changed(image: Any, name: bytes, body: bytes) -> Any:
    if name == b"irot":
        return image.rotate(90 * (body[0] & 3), expand=True)
    if name == b"imir":
        return image.transpose(_FLIPS[body[0] & 1])
    if len(body) < 32:
        raise Refused(_BROKEN)
    numbers = struct.unpack(">4IiIiI", body[:32])
    w, h, x, y = (n / d if d else 0.0 for n, d in zip(numbers[::2], numbers[1::2], strict=True))
    left, top = (image.width - w) / 2 + x, (image.height - h) / 2 + y
    box = tuple(round(v) for v in (left, top, left + w, top + h))
    if not (0 <= box[0] < box[2] <= image.width and 0 <= box[1] < box[3] <= image.height):
        raise Refused(_BROKEN)
    return image.crop(box)
