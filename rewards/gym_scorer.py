"""The process behind the verifier `gym`. Run as a script, never imported.

Serves frames (see rewards/workers.py): seconds (8 bytes) and JSON {generator, seed, index, answer} in; OK and the score out, or
FAILED and why there is none.
"""

import json
import os
import struct
import sys

HEADER = struct.Struct(">BI")
OK, FAILED = 0, 4
SIZE = 10_000  # as eval/problems/gym.py has it


def read_exactly(descriptor: int, size: int) -> bytes:
    data = bytearray()
    while len(data) < size:
        part = os.read(descriptor, size - len(data))
        if not part:
            os._exit(0)
        data += part
    return bytes(data)


def read_frame() -> bytes:
    _, size = HEADER.unpack(read_exactly(0, HEADER.size))
    return read_exactly(0, size)


def write_frame(out: int, status: int, data: bytes) -> None:
    frame = HEADER.pack(status, len(data)) + data
    while frame:
        frame = frame[os.write(out, frame) :]


def main() -> None:
    sys.path[:] = read_frame().decode().split("\0")
    out = os.dup(1)
    os.dup2(2, 1)  # generators print
    import reasoning_gym

    datasets: dict[tuple[str, int], object] = {}
    write_frame(out, OK, b"ready")
    while True:
        asked = json.loads(read_frame()[8:])
        key = (asked["generator"], asked["seed"])
        try:
            if key not in datasets:
                datasets[key] = reasoning_gym.create_dataset(key[0], seed=key[1], size=SIZE)
            dataset = datasets[key]
            score = dataset.score_answer(asked["answer"], dataset[asked["index"]])  # type: ignore[attr-defined, index]
            write_frame(out, OK, repr(float(score)).encode())
        except Exception as error:  # foreign code on foreign text
            write_frame(out, FAILED, f"the scorer failed: {type(error).__name__}: {error}"[:200].encode())


if __name__ == "__main__":
    main()
