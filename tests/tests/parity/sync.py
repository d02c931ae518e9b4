"""What CPython's objects of synchronisation do: one line for each thing that is tried."""

import multiprocessing as mp
import os
import signal
import threading
import time

ctx = mp.get_context("fork")


def said(name, outcome):
    print(f"{name}: {outcome}", flush=True)


def attempt(name, action):
    try:
        said(name, action())
    except BaseException as error:
        said(name, type(error).__name__)


def elsewhere(target, *args):
    """What a function returns in another process."""
    reader, writer = ctx.Pipe(False)

    def run():
        try:
            writer.send(str(target(*args)))
        except BaseException as error:
            writer.send(type(error).__name__)

    process = ctx.Process(target=run)
    process.start()
    result = reader.recv()
    process.join()
    return result


def in_thread(target):
    result = []

    def run():
        try:
            result.append(str(target()))
        except BaseException as error:
            result.append(type(error).__name__)

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    return result[0]


def waited(action, least):
    begun = time.monotonic()
    result = action()
    return f"{result} {time.monotonic() - begun >= least}"


def test_lock():
    lock = ctx.Lock()
    attempt("lock.acquire", lock.acquire)
    attempt("lock.acquire held", lambda: lock.acquire(False))
    attempt("lock.acquire held, no block, timeout", lambda: lock.acquire(False, 1000))
    attempt("lock.acquire held, zero", lambda: lock.acquire(True, 0))
    attempt("lock.acquire held, time", lambda: waited(lambda: lock.acquire(True, 0.05), 0.05))
    attempt("lock.acquire held elsewhere", lambda: elsewhere(lock.acquire, False))
    attempt("lock.release elsewhere", lambda: elsewhere(lock.release))
    attempt("lock.acquire after that", lambda: lock.acquire(False))
    attempt("lock.release in a thread", lambda: in_thread(lock.release))
    attempt("lock.release free", lock.release)
    attempt("lock.release free elsewhere", lambda: elsewhere(lock.release))


def test_rlock():
    lock = ctx.RLock()
    attempt("rlock.release free", lock.release)
    for depth in (1, 2, 3):
        attempt(f"rlock.acquire {depth}", lock.acquire)
    attempt("rlock.acquire elsewhere", lambda: elsewhere(lock.acquire, False))
    attempt("rlock.acquire in a thread", lambda: in_thread(lambda: lock.acquire(False)))
    attempt("rlock.release in a thread", lambda: in_thread(lock.release))
    for depth in (3, 2, 1):
        attempt(f"rlock.release {depth}", lock.release)
    attempt("rlock.release once more", lock.release)
    attempt("rlock.acquire in a thread then", lambda: in_thread(lambda: lock.acquire(False)))


def test_semaphore():
    semaphore = ctx.Semaphore(2)
    attempt("semaphore.value", semaphore.get_value)
    attempt("semaphore.acquire", semaphore.acquire)
    attempt("semaphore.acquire again", semaphore.acquire)
    attempt("semaphore.value taken", semaphore.get_value)
    attempt("semaphore.acquire none", lambda: semaphore.acquire(False))
    attempt("semaphore.acquire zero", lambda: semaphore.acquire(True, 0))
    for count in (1, 2, 3, 4):
        attempt(f"semaphore.release {count}", semaphore.release)
    attempt("semaphore.value over", semaphore.get_value)
    attempt("semaphore.release elsewhere", lambda: elsewhere(semaphore.release))
    attempt("semaphore.value then", semaphore.get_value)
    attempt("semaphore.new too large", lambda: ctx.Semaphore(2**31))


def test_bounded_semaphore():
    semaphore = ctx.BoundedSemaphore(2)
    attempt("bounded.release over", semaphore.release)
    attempt("bounded.acquire", semaphore.acquire)
    attempt("bounded.release elsewhere", lambda: elsewhere(semaphore.release))
    attempt("bounded.release over elsewhere", lambda: elsewhere(semaphore.release))
    attempt("bounded.value", semaphore.get_value)


def test_timeout():
    semaphore = ctx.Semaphore(0)
    for name, block, timeout, least in (
        ("no block", False, None, 0),
        ("no block, timeout", False, 1000, 0),
        ("negative", True, -1, 0),
        ("zero", True, 0, 0),
        ("time", True, 0.08, 0.08),
    ):
        acquire = lambda: semaphore.acquire(block, timeout)
        attempt(f"timeout.{name}", lambda: waited(acquire, least))


def test_condition():
    condition = ctx.Condition()
    attempt("condition.wait unheld", lambda: condition.wait(0))
    attempt("condition.notify unheld", condition.notify)
    attempt("condition.notify_all unheld", condition.notify_all)
    attempt("condition.release unheld", condition.release)
    with condition:
        attempt("condition.notify nobody", lambda: condition.notify(3))
        attempt("condition.wait zero", lambda: condition.wait(0))
        attempt("condition.wait time", lambda: waited(lambda: condition.wait(0.05), 0.05))
        attempt("condition.wait_for true", lambda: condition.wait_for(lambda: True, 0))
        attempt("condition.wait_for false", lambda: condition.wait_for(lambda: False, 0.05))
        with condition:
            attempt("condition.wait deep", lambda: condition.wait(0.01))
        attempt("condition.notify in a thread", lambda: in_thread(condition.notify))
    with_lock = ctx.Condition(ctx.Lock())
    attempt("condition.lock wait unheld", lambda: with_lock.wait(0))
    with with_lock:
        attempt("condition.lock wait", lambda: with_lock.wait(0.01))


def woken(count, expected, notify):
    """How many of so many waiters a notification wakes, and how many were there. It waits for those
    that are expected, and then for more."""
    condition = ctx.Condition()
    ready, through = ctx.Semaphore(0), ctx.Semaphore(0)

    def wait():
        with condition:
            ready.release()
            if condition.wait(60):
                through.release()

    processes = [ctx.Process(target=wait) for _ in range(count)]
    for process in processes:
        process.start()
    for _ in processes:
        ready.acquire()
    with condition:
        notify(condition)
    until = time.monotonic() + 60
    while through.get_value() < expected and time.monotonic() < until:
        time.sleep(0.01)
    time.sleep(0.3)
    result = through.get_value()
    with condition:
        condition.notify_all()
    for process in processes:
        process.join()
    return f"{result} of {through.get_value()}"


def test_notify():
    attempt("notify.one", lambda: woken(3, 1, lambda condition: condition.notify()))
    attempt("notify.two", lambda: woken(3, 2, lambda condition: condition.notify(2)))
    attempt("notify.all", lambda: woken(3, 3, lambda condition: condition.notify_all()))
    many = lambda: woken(2, 2, lambda condition: condition.notify(9))
    attempt("notify.more than there are", many)


def test_event():
    event = ctx.Event()
    attempt("event.is_set", event.is_set)
    attempt("event.wait zero", lambda: event.wait(0))
    attempt("event.wait time", lambda: waited(lambda: event.wait(0.05), 0.05))
    attempt("event.set elsewhere", lambda: elsewhere(event.set))
    attempt("event.wait set", event.wait)
    attempt("event.is_set then", event.is_set)
    attempt("event.set twice", event.set)
    attempt("event.clear", event.clear)
    attempt("event.wait cleared", lambda: event.wait(0))


def test_barrier():
    attempt("barrier.new none", lambda: bool(ctx.Barrier(0)))
    barrier = ctx.Barrier(1)
    attempt("barrier.wait alone", barrier.wait)
    attempt("barrier.wait alone again", barrier.wait)
    barrier = ctx.Barrier(2)
    attempt("barrier.parties", lambda: barrier.parties)
    attempt("barrier.n_waiting", lambda: barrier.n_waiting)
    attempt("barrier.broken", lambda: barrier.broken)
    attempt("barrier.wait time", lambda: barrier.wait(0.05))
    attempt("barrier.broken then", lambda: barrier.broken)
    attempt("barrier.wait broken", barrier.wait)
    attempt("barrier.wait broken elsewhere", lambda: elsewhere(barrier.wait))
    barrier.reset()
    attempt("barrier.broken reset", lambda: barrier.broken)
    barrier.abort()
    attempt("barrier.wait aborted", barrier.wait)

    barrier = ctx.Barrier(2)
    process = ctx.Process(target=lambda: barrier.wait())
    process.start()
    index = barrier.wait()
    process.join()
    said("barrier.wait two", f"{index in (0, 1)} {process.exitcode}")

    def fail():
        raise KeyError

    barrier = ctx.Barrier(1, fail)
    attempt("barrier.action fails", barrier.wait)
    attempt("barrier.broken by action", lambda: barrier.broken)
    attempt("barrier.default timeout", ctx.Barrier(2, timeout=0.05).wait)


def die(process):
    process.start()
    process.join()


def test_deaths():
    lock = ctx.Lock()

    def take_and_die():
        lock.acquire()
        os.kill(os.getpid(), signal.SIGKILL)

    die(ctx.Process(target=take_and_die))
    attempt("death.lock", lambda: lock.acquire(True, 0.3))

    semaphore = ctx.Semaphore(1)

    def hold_and_die():
        semaphore.acquire()
        os.kill(os.getpid(), signal.SIGKILL)

    die(ctx.Process(target=hold_and_die))
    attempt("death.semaphore", lambda: semaphore.acquire(True, 0.3))

    barrier = ctx.Barrier(3)
    process = ctx.Process(target=lambda: barrier.wait())
    process.start()
    while barrier.n_waiting < 1:
        time.sleep(0.01)
    process.kill()
    process.join()
    time.sleep(0.3)
    # It would wait for a third one that never comes.
    said("death.barrier", f"{barrier.n_waiting} {barrier.broken}")

    condition, ready = ctx.Condition(), ctx.Semaphore(0)

    def wait():
        with condition:
            ready.release()
            condition.wait()

    process = ctx.Process(target=wait)
    process.start()
    ready.acquire()
    # It waits once it has let go of the lock.
    with condition:
        pass
    process.kill()
    process.join()

    def notify():
        with condition:
            condition.notify_all()

    notifier = ctx.Process(target=notify)
    notifier.start()
    notifier.join(1)
    said("death.condition", "hangs" if notifier.is_alive() else "goes on")
    notifier.kill()
    notifier.join()


if __name__ == "__main__":
    for test in (
        test_lock,
        test_rlock,
        test_semaphore,
        test_bounded_semaphore,
        test_timeout,
        test_condition,
        test_notify,
        test_event,
        test_barrier,
        test_deaths,
    ):
        test()
