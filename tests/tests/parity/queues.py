"""What CPython's queues do, a line for each thing that is tried; queues.rs tries the same."""

import multiprocessing
import os
import queue
import signal
import sys
import time

context = multiprocessing.get_context("fork")
SOON = 0.1


def say(name, outcome):
    print(f"{name}: {outcome}", flush=True)


def outcome(call):
    try:
        return repr(call())
    except Exception as error:
        return type(error).__name__


class Fussy:
    def __reduce__(self):
        raise ValueError("not this one")


def produce(channel, count):
    for number in range(count):
        channel.put(number)


def die(channel):
    channel.put(1)
    channel.close()
    channel.join_thread()
    os.kill(os.getpid(), signal.SIGKILL)


def put_and_exit(channel):
    channel.put(b"x" * 1000000)


def test_put():
    channel = context.Queue(6)
    for number in range(6):
        channel.put(number)
    say("put_nowait_full", outcome(lambda: channel.put_nowait(7)))
    say("put_timeout_full", outcome(lambda: channel.put(7, True, SOON)))
    say("put_timeout_without_block_full", outcome(lambda: channel.put(7, False, 100)))
    say("full", channel.full())


def test_get():
    channel = context.Queue()
    produce(channel, 5)
    got = [channel.get(True, None), channel.get(), channel.get(timeout=60)]
    for get in (lambda: channel.get(False), channel.get_nowait):
        # What was put is there a while later.
        while channel.empty():
            time.sleep(0.01)
        got.append(get())
    say("get_in_order", got)
    say("get_nowait_empty", outcome(channel.get_nowait))
    say("get_timeout_empty", outcome(lambda: channel.get(True, SOON)))
    say("empty", channel.empty())


def test_visible():
    channel = context.Queue()
    misses = 0
    for number in range(2000):
        channel.put(number)
        if channel.empty():
            misses += 1
        channel.get()
    say("empty_right_after_put", "sometimes true" if misses else "never true")


def test_qsize():
    channel = context.Queue()
    sizes = [channel.qsize()]
    channel.put(1)
    sizes.append(channel.qsize())
    channel.put(5)
    sizes.append(channel.qsize())
    channel.get()
    sizes.append(channel.qsize())
    channel.get()
    sizes.append(channel.qsize())
    say("qsize", sizes)


def test_task_done():
    channel = context.JoinableQueue()
    say("task_done_too_often", outcome(channel.task_done))
    channel.put(1)
    channel.get()
    channel.task_done()
    say("join_when_done", outcome(channel.join))
    say("task_done_again", outcome(channel.task_done))


def test_queue_feeder_donot_stop_onexc():
    channel = context.Queue(1)
    stderr, sys.stderr = sys.stderr, open(os.devnull, "w")
    say("put_of_what_cannot_be_serialised", outcome(lambda: channel.put(Fussy())))
    channel.put(True)
    say("item_after_it", outcome(lambda: channel.get(timeout=10)))
    sys.stderr = stderr


def test_closed():
    channel = context.Queue()
    channel.close()
    say("put_closed", outcome(lambda: channel.put(1)))
    say("get_closed", outcome(channel.get))
    say("close_twice", outcome(channel.close))
    simple = context.SimpleQueue()
    simple.close()
    say("simple_empty_closed", outcome(simple.empty))
    say("simple_close_twice", outcome(simple.close))


def test_empty():
    simple = context.SimpleQueue()
    states = [simple.empty()]
    simple.put(True)
    states += [simple.empty(), simple.get(), simple.empty()]
    say("simple_empty", states)


def test_processes():
    channel = context.Queue()
    children = [context.Process(target=produce, args=(channel, 50)) for _ in range(3)]
    for child in children:
        child.start()
    total = sum(channel.get(timeout=30) for _ in range(150))
    for child in children:
        child.join()
    say("sum_of_three_producers", total)


def test_join_before_get():
    channel = context.Queue()
    child = context.Process(target=put_and_exit, args=(channel,))
    child.start()
    child.join(1)
    say("exit_before_anybody_gets", child.exitcode)
    channel.get()
    child.join()


def test_producer_died():
    channel = context.Queue()
    child = context.Process(target=die, args=(channel,))
    child.start()
    child.join()
    say("item_of_a_dead_producer", outcome(lambda: channel.get(timeout=10)))
    say("get_after_the_only_producer_died", outcome(lambda: channel.get(timeout=0.5)))


for test in [value for name, value in list(globals().items()) if name.startswith("test_")]:
    test()
