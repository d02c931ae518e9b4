"""A driver, as driver.rs describes it, for CPython's forkserver, with two commands more:

| `dies MS` | as `starts`, but the server is killed in the middle |
| `gaps N` | kills the server so often; for each, nanoseconds until a start had succeeded |

Run as `python3 -c 'import peer; peer.main()'` with this folder in PYTHONPATH.
"""

import multiprocessing
import os
import signal
import sys
import time
from multiprocessing import forkserver


def nothing(connection):
    connection.send_bytes(b"7")


def start(context):
    ours, theirs = context.Pipe(False)
    process = context.Process(target=nothing, args=(theirs,))
    process.start()
    theirs.close()
    ours.recv_bytes()
    process.join()
    ours.close()
    process.close()


def starts(context, span, dies):
    begun = last = time.monotonic_ns()
    times, failed, pause = [], 0, 0
    while time.monotonic_ns() - begun < span:
        if dies and time.monotonic_ns() - begun > span // 2:
            dies = False
            os.kill(forkserver._forkserver._forkserver_pid, signal.SIGKILL)
        before = time.monotonic_ns()
        try:
            start(context)
        except (OSError, EOFError):
            failed += 1
            continue
        now = time.monotonic_ns()
        times.append(now - before)
        pause, last = max(pause, now - last), now
    times.sort()
    at = lambda percent: times[min(len(times) * percent // 100, len(times) - 1)] if times else 0
    return "%d %d %d %d %d" % (len(times), failed, at(50), at(99), pause)


def gaps(context, count):
    found = []
    for _ in range(count):
        time.sleep(0.1)
        start(context)
        killed = time.monotonic_ns()
        os.kill(forkserver._forkserver._forkserver_pid, signal.SIGKILL)
        while True:
            try:
                start(context)
                break
            except (OSError, EOFError):
                pass
        found.append(time.monotonic_ns() - killed)
    return " ".join(map(str, found))


def main():
    context = multiprocessing.get_context("forkserver")
    start(context)
    print("ready", flush=True)
    for line in sys.stdin:
        command, span = line.split()
        if command == "gaps":
            print(gaps(context, int(span)), flush=True)
            continue
        print(starts(context, int(span) * 1_000_000, command == "dies"), flush=True)
