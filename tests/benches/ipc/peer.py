"""CPython's multiprocessing, measured as worker.rs measures ours.

Run as `python3 -c 'import peer; peer.main()' NAME ARGUMENT...` with this folder in PYTHONPATH. It
starts the processes of an operation, says `ready`, and answers each line `count N` or `time NS`
with a line `BEGIN END COUNT`, until its standard input ends; `memory` answers once.
"""

import multiprocessing
import os
import resource
import sys
import time

CONTEXT = multiprocessing.get_context("fork")
# So often an operation is repeated before the clock is read, where time is what is ordered.
REPEATS = 64

now = time.monotonic_ns


def span(many, pace, number):
    """Obeys an order; `many(n)` does the operation n times."""
    begin = now()
    if pace == "count":
        many(number)
        return begin, now(), number
    done = 0
    while True:
        many(REPEATS)
        done += REPEATS
        end = now()
        if end - begin >= number:
            return begin, end, done


def member(control, many):
    try:
        while True:
            control.send(span(many, *control.recv()))
    except EOFError:
        pass


class Crew:
    """Processes in roles, each of which does its `many(n)`: see operation.rs."""

    def __init__(self, *members):
        self.members = []
        for role, many in members:
            ours, theirs = CONTEXT.Pipe()
            others = [control for _, control in self.members] + [ours]
            target = Crew.start
            process = CONTEXT.Process(target=target, args=(others, theirs, many), daemon=True)
            process.start()
            theirs.close()
            self.members.append((role, ours))

    @staticmethod
    def start(others, control, many):
        for other in others:
            other.close()
        member(control, many)

    def obey(self, pace, number):
        roles = [role for role, _ in self.members]
        for role, control in self.members:
            shared = role in ("begins", "ends")
            control.send((pace, number // roles.count(role) if shared else number))
        spans = [(role, control.recv()) for role, control in self.members]
        begin = min(span[0] for role, span in spans if role in ("does", "begins"))
        ending = [span for role, span in spans if role in ("does", "ends")]
        return begin, max(span[1] for span in ending), sum(span[2] for span in ending)


def pairs(lock):
    acquire, release = lock.acquire, lock.release

    def many(count):
        for _ in range(count):
            acquire()
            release()

    return many


def all_do(processes, many):
    return Crew(*[("does", many)] * int(processes))


def event():
    call, answer = CONTEXT.Event(), CONTEXT.Event()

    def calls(count):
        for _ in range(count):
            call.set()
            answer.wait()
            answer.clear()

    def answers(count):
        for _ in range(count):
            call.wait()
            call.clear()
            answer.set()

    return Crew(("does", calls), ("answers", answers))


def barrier():
    wait = CONTEXT.Barrier(2).wait

    def many(count):
        for _ in range(count):
            wait()

    return Crew(("does", many), ("answers", many))


def call(size):
    one, other = CONTEXT.Pipe()
    message = b"\7" * int(size)

    def calls(count):
        for _ in range(count):
            one.send_bytes(message)
            one.recv_bytes()

    def answers(count):
        for _ in range(count):
            other.recv_bytes()
            other.send_bytes(message)

    return Crew(("does", calls), ("answers", answers))


def send(size):
    one, other = CONTEXT.Pipe()
    message = b"\7" * int(size)

    def sends(count):
        for _ in range(count):
            one.send_bytes(message)

    def receives(count):
        for _ in range(count):
            other.recv_bytes()

    return Crew(("begins", sends), ("ends", receives))


def queue(made, size, producers, consumers):
    item = 7 if size == "8" else b"\7" * int(size)
    put, get = made.put, made.get

    def puts(count):
        for _ in range(count):
            put(item)

    def gets(count):
        for _ in range(count):
            get()

    return Crew(*[("ends", gets)] * int(consumers), *[("begins", puts)] * int(producers))


def value(processes):
    number = CONTEXT.Value("Q", 0)

    def many(count):
        for _ in range(count):
            with number.get_lock():
                number.value += 1

    return all_do(processes, many)


def array(direction, size):
    size = int(size)
    shared = memoryview(CONTEXT.RawArray("B", size)).cast("B")
    own = memoryview(bytearray(b"\7" * size))
    to, source = (shared, own) if direction == "in" else (own, shared)

    def many(count):
        for _ in range(count):
            to[:] = source

    return all_do(1, many)


def slice_of_array(direction, size):
    shared = CONTEXT.RawArray("c", int(size))
    own = shared[:]

    def copy_in(count):
        for _ in range(count):
            shared[:] = own

    def copy_out(count):
        for _ in range(count):
            shared[:]

    return all_do(1, copy_in if direction == "in" else copy_out)


def use(kind):
    """Makes an object and uses it once."""
    made = {
        "Barrier": lambda: CONTEXT.Barrier(1),
        "Value": lambda: CONTEXT.Value("Q", 0),
    }.get(kind, getattr(CONTEXT, kind))()
    if kind in ("Lock", "RLock", "Semaphore", "Condition"):
        made.acquire()
        made.release()
    elif kind == "Event":
        made.set()
    elif kind == "Barrier":
        made.wait()
    elif kind == "Value":
        with made.get_lock():
            made.value += 1
    elif kind in ("Queue", "SimpleQueue"):
        made.put(7)
        made.get()
    elif kind == "Pipe":
        made[0].send(7)
        made[1].recv()
    return made


def taken():
    with open("/proc/self/smaps_rollup") as rollup:
        resident = next(int(line.split()[1]) for line in rollup if line.startswith("Rss:"))
    with open("/proc/self/maps") as maps:
        mappings = sum(1 for _ in maps)
    return resident, len(os.listdir("/proc/self/fd")), mappings


def memory(kind, count):
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    objects = [use(kind)]
    before = taken()
    objects += [use(kind) for _ in range(int(count))]
    print(*[max(0, after - before) for before, after in zip(before, taken())], flush=True)
    # Threads that serve queues would keep this process, and finalizers take their time.
    os._exit(0)


OPERATIONS = {
    "lock": lambda processes: all_do(processes, pairs(CONTEXT.Lock())),
    "rlock": lambda processes: all_do(processes, pairs(CONTEXT.RLock())),
    "semaphore": lambda: all_do(1, pairs(CONTEXT.Semaphore(1))),
    "event": event,
    "barrier": barrier,
    "call": call,
    "send": send,
    "queue": lambda *shape: queue(CONTEXT.Queue(), *shape),
    "simplequeue": lambda *shape: queue(CONTEXT.SimpleQueue(), *shape),
    "value": value,
    "array": array,
    "slice": slice_of_array,
}


def main():
    name, *arguments = sys.argv[1:]
    if name == "memory":
        print("ready", flush=True)
        memory(*arguments)
    crew = OPERATIONS[name](*arguments)
    print("ready", flush=True)
    for line in sys.stdin:
        pace, number = line.split()
        print(*crew.obey(pace, int(number)), flush=True)
