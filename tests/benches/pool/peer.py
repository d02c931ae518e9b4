"""CPython's pools and manager, measured as turns.rs measures the others.

Run as `python3 -c 'import peer; peer.main()' '[WHO, CASE]'` with this folder in PYTHONPATH, so that
a forkserver's children find it. It says `ready`, and answers each line, how often it is to do its
case, with a line of numbers: how long that took, and the figures of the case; see case.rs.
"""

import json
import math
import multiprocessing
import os
import select
import shutil
import signal
import struct
import sys
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool

CONTEXT = multiprocessing.get_context("fork")
# Of these, case.rs has the same.
WORKERS = 2
LARGE = 1 << 20
TASKS_A_WORKER = 10
WEIGHED = 4
PATIENCE = 20

now = time.monotonic_ns


def work(nanos):
    if nanos:
        worked = time.thread_time_ns
        end = worked() + nanos
        while worked() < end:
            pass
    return nanos


def give(fill):
    return bytes([fill]) * LARGE


def attend(arrivals, dismissals):
    with open(dismissals, "rb", buffering=0) as waiting:
        with open(arrivals, "wb", buffering=0) as arriving:
            arriving.write(struct.pack("<I", os.getpid()))
        waiting.read(1)


class Meeting:
    """A place where workers arrive, and stay until they are dismissed."""

    def __init__(self):
        self.directory = tempfile.mkdtemp(prefix="pool-bench-")
        self.place = [os.path.join(self.directory, name) for name in ("arrivals", "dismissals")]
        for path in self.place:
            os.mkfifo(path, 0o600)
        self.arrivals, self.dismissals = [os.open(path, os.O_RDWR) for path in self.place]

    def arrived(self, count):
        pids = []
        while len(pids) < count:
            if not select.select([self.arrivals], [], [], PATIENCE)[0]:
                raise TimeoutError("%d of %d workers are at work" % (len(pids), count))
            pids += struct.unpack("<I", os.read(self.arrivals, 4))
        return pids

    def dismiss(self, count):
        os.write(self.dismissals, b"\1" * count)

    def close(self):
        shutil.rmtree(self.directory, ignore_errors=True)


class Pool:
    """multiprocessing.Pool"""

    def __init__(self, workers, tasks=None):
        self.pool = CONTEXT.Pool(workers, maxtasksperchild=tasks)

    def apply(self):
        self.pool.apply(work, (0,))

    def map(self, function, items, chunk):
        return self.pool.map(function, items, chunk)

    def attend(self, meeting):
        return self.pool.apply_async(attend, meeting.place)

    def wait(self, pending):
        pending.get(PATIENCE)

    def lose(self, pending):
        """It never learns of it."""
        return math.inf

    def end(self):
        self.pool.close()
        self.pool.join()


class Executor:
    """concurrent.futures.ProcessPoolExecutor"""

    def __init__(self, workers, tasks=None):
        self.workers = workers
        if tasks is None:
            self.pool = ProcessPoolExecutor(workers, mp_context=CONTEXT)
        else:
            context = multiprocessing.get_context("forkserver")
            context.set_forkserver_preload(["peer"])
            self.pool = ProcessPoolExecutor(
                workers, mp_context=context, max_tasks_per_child=tasks
            )

    def apply(self):
        self.pool.submit(work, 0).result(PATIENCE)

    def map(self, function, items, chunk):
        return list(self.pool.map(function, items, chunksize=chunk or 1, timeout=PATIENCE))

    def attend(self, meeting):
        return self.pool.submit(attend, *meeting.place)

    def wait(self, pending):
        pending.result(PATIENCE)

    def lose(self, pending):
        """It is broken by it: there must be a new one."""
        try:
            pending.result(PATIENCE)
        except BrokenProcessPool:
            told = now()
            self.pool.shutdown()
            self.__init__(self.workers)
            return told
        raise RuntimeError("a task survived its worker")

    def end(self):
        self.pool.shutdown()


def latencies(once, count):
    times = []
    begin = before = now()
    for _ in range(count):
        once()
        after = now()
        times.append(after - before)
        before = after
    times.sort()
    return before - begin, times[(count + 1) // 2 - 1], times[-(-count * 99 // 100) - 1]


def each(count, run):
    begin = now()
    result = run()
    took = now() - begin
    if result is not None and len(result) != count:
        raise RuntimeError("results are missing")
    return took, took / count


def meet(crew, meeting, count, then):
    pending = [crew.attend(meeting) for _ in range(count)]
    result = then(meeting.arrived(count))
    meeting.dismiss(count)
    for one in pending:
        crew.wait(one)
    return result


def mapping(kind, nanos, chunk):
    crew = kind(WORKERS)
    return lambda count: each(count, lambda: crew.map(work, [nanos] * count, chunk))


def inputs(kind):
    crew, item = kind(WORKERS), b"\7" * LARGE
    return lambda count: each(count, lambda: crew.map(len, [item] * count, 1))


def outputs(kind):
    crew = kind(WORKERS)
    return lambda count: each(count, lambda: crew.map(give, [7] * count, 1))


def create(kind, workers, meeting):
    def run(_):
        begin = now()
        crew = kind(workers)
        crew.apply()
        first = now() - begin
        whole = meet(crew, meeting, workers, lambda _: now() - begin)
        ending = now()
        crew.end()
        return now() - begin, first, whole, now() - ending

    return run


def recycle(kind):
    plain, recycling = kind(WORKERS), kind(WORKERS, TASKS_A_WORKER)

    def run(count):
        kept, _ = each(count, lambda: plain.map(work, [0] * count, 1))
        took, task = each(count, lambda: recycling.map(work, [0] * count, 1))
        return kept + took, task, max(0, took - kept) / (count / TASKS_A_WORKER)

    return run


def recover(kind, meeting):
    crew = kind(WORKERS)

    def run(_):
        meet(crew, meeting, WORKERS, lambda _: None)
        pending = crew.attend(meeting)
        victim = meeting.arrived(1)[0]
        begin = now()
        os.kill(victim, signal.SIGKILL)
        told = crew.lose(pending)
        whole = meet(crew, meeting, WORKERS, lambda _: now() - begin)
        return whole, told - begin, whole

    return run


def scale(kind, nanos, chunk):
    one, more = kind(1), kind(WORKERS)

    def run(count):
        items = [nanos] * count
        alone, a_task = each(count, lambda: one.map(work, items, chunk))
        together, of_many = each(count, lambda: more.map(work, items, chunk))
        return alone + together, a_task, of_many, alone / together

    return run


def private(pid):
    with open("/proc/%d/smaps_rollup" % pid) as rollup:
        lines = [line.split() for line in rollup]
    return sum(int(line[1]) for line in lines if line[0] in ("Private_Clean:", "Private_Dirty:"))


def memory(kind, meeting):
    crew = kind(WEIGHED)

    def run(_):
        begin = now()
        all_of_them = meet(crew, meeting, WEIGHED, lambda pids: sorted(map(private, pids)))
        return now() - begin, all_of_them[WEIGHED // 2]

    return run


def call(name):
    manager = CONTEXT.Manager()
    numbers, by_name = manager.list([7]), manager.dict(one=7)

    def list_get():
        numbers[0]

    def list_set():
        numbers[0] = 7

    def list_append():
        numbers.append(7)

    def dict_get():
        by_name["one"]

    def dict_set():
        by_name["one"] = 7

    once = {
        "ListGet": list_get,
        "ListSet": list_set,
        "ListAppend": list_append,
        "DictGet": dict_get,
        "DictSet": dict_set,
    }[name]

    def many(count):
        for _ in range(count):
            once()

    def run(count, manager=manager):
        took = each(count, lambda: many(count))
        del numbers[1:]
        return took

    return run


def prepare(who, case, meeting):
    name, of = (case, None) if isinstance(case, str) else next(iter(case.items()))
    if name == "Call":
        return call(of)
    kind = {"Pool": Pool, "Executor": Executor}[who["Python"]]
    if name == "Apply":
        crew = kind(WORKERS)
        return lambda count: latencies(crew.apply, count)
    if name in ("Map", "Scale"):
        return (mapping if name == "Map" else scale)(kind, of["nanos"], of["chunk"])
    return {
        "Inputs": lambda: inputs(kind),
        "Outputs": lambda: outputs(kind),
        "Create": lambda: create(kind, of, meeting),
        "Recycle": lambda: recycle(kind),
        "Recover": lambda: recover(kind, meeting),
        "Memory": lambda: memory(kind, meeting),
    }[name]()


def main():
    who, case = json.loads(sys.argv[1])
    meeting = Meeting()
    try:
        run = prepare(who, case, meeting)
        print("ready", flush=True)
        # Not by sys.stdin: a child that is forked while it is read from waits for ever to close it.
        for line in open(0, "rb", buffering=0, closefd=False):
            print(*run(int(line)), flush=True)
    except Exception as error:
        print("error: %s: %s" % (type(error).__name__, error), flush=True)
    finally:
        meeting.close()
    # Pools that have lost a task would never end; whoever started this ends its group.
    os._exit(0)
