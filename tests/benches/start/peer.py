"""A driver, as driver.rs describes it, for CPython's multiprocessing.

Run as `python3 -c 'import peer; peer.main()' METHOD` with this folder in PYTHONPATH: so the main
module is none that children would have to import, and the forkserver can preload this one.
"""

import multiprocessing
import os
import sys
import time

NEEDED = "START_BENCH_BYTES"
LOADED = "START_BENCH_PEER_BYTES"


def load(count):
    state = bytearray(count)
    state[::4096] = b"\1" * len(range(0, count, 4096))
    return state


# Imported by the forkserver or by a spawned process: it is the one that holds the state.
STATE = load(int(os.environ.get(LOADED, "0")))


def first_instruction(connection):
    connection.send_bytes(time.monotonic_ns().to_bytes(8, "little"))


def start_and_join(context):
    ours, theirs = context.Pipe(False)
    before = time.monotonic_ns()
    process = context.Process(target=first_instruction, args=(theirs,))
    process.start()
    theirs.close()
    first = int.from_bytes(ours.recv_bytes(), "little") - before
    process.join()
    total = time.monotonic_ns() - before
    ours.close()
    process.close()
    return first, total


def obey(context, command, number):
    if command == "steady":
        start_and_join(context)
        return "".join("%d %d\n" % start_and_join(context) for _ in range(number))
    if command == "rate":
        start_and_join(context)
        begun, count = time.monotonic_ns(), 0
        while time.monotonic_ns() - begun < number * 1_000_000:
            start_and_join(context)
            count += 1
        return "%d %d\n" % (count, time.monotonic_ns() - begun)
    raise ValueError(command)


def main():
    global STATE
    method = sys.argv[1]
    context = multiprocessing.get_context(method)
    if method == "fork":
        STATE = load(int(os.environ.get(NEEDED, "0")))
    else:
        os.environ[LOADED] = os.environ.get(NEEDED, "0")
    if method == "forkserver":
        context.set_forkserver_preload(["peer"])
    for line in sys.stdin:
        command, number = line.split()
        try:
            text = obey(context, command, int(number))
        except Exception as error:
            text = "error: %r\n" % error
        sys.stdout.write(text + "end\n")
        sys.stdout.flush()
