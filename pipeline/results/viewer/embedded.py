"""Rollouts as a text that stands inside a page: as many as fit, chosen so that problems can be followed."""

import base64
import gzip
import json
from collections.abc import Iterator

from pipeline.disk.durable import JsonMapping, JsonObject
from pipeline.results.viewer.rows import Index, Rollouts
from pipeline.results.viewer.shape import LIGHT
from pipeline.store.run_folder import RunFolder

TRIES = 8
"""How often a choice is made larger or smaller, to find the one that just fits."""

_FIRST = 4  # bytes of rows for each byte of room that are tried first, since packing gigabytes would take minutes
_FULL = 0.85  # of the room; a choice that takes so much is not tried to be made better


def embedded(run: RunFolder, most_bytes: int) -> str:
    """Rollouts of a run, at most `most_bytes` long, for `embeddedSource` in sources.js: base64 of packed JSON, in which
    nothing can end the element of the page that it stands in. Empty where the run has kept no rollouts.

    Where not all fit, those of one problem in one stage come together or not at all, the latest problem of each stage
    first and then problems evenly spread over its steps; of one that fills the room alone there is an even choice. How
    many were left out is in the text, and the page tells it.
    """
    rollouts = Rollouts(run)
    index = rollouts.index()
    if not index.rows:
        return ""
    everything = sum(rollouts.size(row["id"]) for row in index.rows)
    queue = _queue(index)
    best = _packed(rollouts, index, set())
    fits, fails = 0, everything + 1  # bytes of rows of which one knows that they fit, and that they do not
    room = min(everything, _FIRST * most_bytes)
    for _ in range(TRIES):
        text = _packed(rollouts, index, _chosen(rollouts, queue, room))
        if len(text) > most_bytes:
            fails = room
        else:
            best, fits = text, room
            if len(text) >= _FULL * most_bytes:
                break
        # Bytes are packed about as well as those of the last try; where that leads nowhere, the middle does.
        likely = int(0.95 * room * most_bytes / len(text))
        room = likely if fits < likely < fails else min((fits + fails) // 2, everything)
        if room <= fits:
            break
    return best if len(best) <= most_bytes else ""


def table(rows: list[JsonObject]) -> JsonObject:
    """Light rows without a key for each value: as `rowsOf` in sources.js reads them."""
    return {"keys": list(LIGHT), "rows": [[row[key] for key in LIGHT] for row in rows]}


def _packed(rollouts: Rollouts, index: Index, chosen: set[str]) -> str:
    content: JsonMapping = {
        "index": table([row for row in index.rows if row["id"] in chosen]),
        "rows": {row["id"]: row for row in rollouts.whole(chosen)},
        "not_here": len(index.rows) - len(chosen),
        "left_out": index.left_out,
    }
    # The time of day is left out of the head of the packed bytes, so that a page is the same when it is made again.
    packed = gzip.compress(json.dumps(content, separators=(",", ":")).encode(), compresslevel=6, mtime=0)
    return base64.b64encode(packed).decode()


def _queue(index: Index) -> dict[str, list[list[str]]]:
    """By stage the ids of each problem's rows, the problem that is to be shown first at the front."""
    groups: dict[str, dict[str, list[str]]] = {}
    for row in index.rows:
        stage = groups.setdefault(row["stage"], {})
        group = stage.pop(row["problem"], [])
        group.append(row["id"])
        stage[row["problem"]] = group  # at the end, so that problems stand in the order in which they were last asked
    return {stage: [problems[place] for place in _spread(len(problems))]
            for stage, problems in ((stage, list(found.values())) for stage, found in groups.items())}


def _spread(count: int) -> Iterator[int]:
    """The numbers below `count`, the last one first, so that every beginning of them is evenly spread: halves, then
    quarters, then eighths."""
    seen: set[int] = set()
    parts = 1
    while len(seen) < count:
        for part in range(parts, 0, -1):
            place = count * part // parts - 1
            if place >= 0 and place not in seen:
                seen.add(place)
                yield place
        parts *= 2


def _chosen(rollouts: Rollouts, queue: dict[str, list[list[str]]], room: int) -> set[str]:
    """Ids of rows that are at most `room` bytes in their files together, and as many bytes of each stage as there are
    of the others."""
    waiting = {stage: list(reversed(groups)) for stage, groups in queue.items()}
    spent = dict.fromkeys(queue, 0)
    sizes = {stage: sum(_size(rollouts, group) for group in groups) for stage, groups in queue.items()}
    chosen: set[str] = set()
    while waiting:
        stage = min(waiting, key=spent.__getitem__)
        group = waiting[stage].pop()
        if not waiting[stage]:
            del waiting[stage]
        left = room - sum(spent.values())
        # A stage of which nothing is there yet gets its share of the room, whatever the size of its first problem: as
        # much as every other one, or what these leave.
        share = max(room // len(queue), room - sum(sizes.values()) + sizes[stage])
        while not spent[stage] and group and _size(rollouts, group) > min(left, share):
            group = group[(len(group) - 1) % 2 :: 2] if len(group) > 1 else []
        size = _size(rollouts, group)
        if size <= left:
            spent[stage] += size
            chosen.update(group)
    return chosen


def _size(rollouts: Rollouts, group: list[str]) -> int:
    return sum(map(rollouts.size, group))
