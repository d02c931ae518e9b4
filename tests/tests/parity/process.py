"""What CPython's processes do, a line for each thing that is tried; process.rs tries the same."""

import multiprocessing as mp
import os
import sys
import threading
import time
from multiprocessing.connection import wait

ctx = mp.get_context("spawn")


def say(name, outcome):
    print(f"{name}: {outcome}", flush=True)


def outcome(call):
    try:
        return call()
    except BaseException as error:
        return type(error).__name__


def nothing():
    pass


def fail():
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
    raise ValueError("as asked")


def sleep():
    time.sleep(600)


def started(target, *args, **options):
    process = ctx.Process(target=target, args=args, **options)
    process.start()
    return process


def asked(target, *args, **options):
    """What a child says."""
    reader, writer = ctx.Pipe(False)
    process = started(target, writer, *args, **options)
    writer.close()
    said = reader.recv()
    process.join()
    return said


def test_main():
    me = mp.current_process()
    say("main.name", me.name)
    say("main.daemon", me.daemon)
    say("main.pid", me.pid == os.getpid())
    say("main.authkey", len(me.authkey))
    say("main.parent", mp.parent_process())


def test_exit_codes():
    for name, target, args in (
        ("return", nothing, ()),
        ("an_exception", fail, ()),
        ("exit_8", sys.exit, (8,)),
        ("exit_300", os._exit, (300,)),
        ("exit_minus_5", sys.exit, (-5,)),
    ):
        process = started(target, *args)
        process.join()
        say(f"exitcode.{name}", process.exitcode)
    for name in ("terminate", "kill"):
        process = started(sleep)
        getattr(process, name)()
        process.join()
        say(f"exitcode.{name}", process.exitcode)
        say(f"{name}_again", outcome(getattr(process, name)))


def test_life():
    process = started(sleep, name="sleeper", daemon=True)
    say("name", process.name)
    process.name = "renamed"
    say("renamed", process.name)
    say("daemon", process.daemon)
    say("running.is_alive", process.is_alive())
    say("running.exitcode", process.exitcode)
    say("running.join_0", process.join(0))
    say("running.join_negative", process.join(-1))
    say("running.sentinel", len(wait([process.sentinel], 0)))
    say("running.active", process in mp.active_children())
    say("running.close", outcome(process.close))
    process.kill()
    say("ended.sentinel", len(wait([process.sentinel], 60)))
    process.join()
    say("ended.sentinel_again", len(wait([process.sentinel], 0)))
    say("ended.is_alive", process.is_alive())
    say("ended.join", process.join())
    say("ended.active", process in mp.active_children())
    say("ended.close", outcome(process.close))


def tell_identity(writer):
    me, parent = mp.current_process(), mp.parent_process()
    alive = parent.is_alive()
    writer.send(f"{me.name} {me.daemon} {parent.name} {parent.pid == os.getppid()} {alive}")


def tell_key(writer):
    writer.send(bytes(mp.current_process().authkey))


def read_input(writer):
    writer.send(repr(sys.stdin.read()))


def start_a_child(writer):
    try:
        writer.send(str(asked(tell_key) == mp.current_process().authkey))
    except BaseException as error:
        writer.send(type(error).__name__)


def test_child():
    say("child.identity", asked(tell_identity, name="child"))
    say("child.authkey", asked(tell_key) == mp.current_process().authkey)
    say("child.stdin", asked(read_input))
    say("grandchild", asked(start_a_child))
    say("grandchild_of_a_daemonic", asked(start_a_child, daemon=True))


def linger(writer):
    def later():
        time.sleep(0.5)
        writer.send("the thread has ended")

    threading.Thread(target=later).start()


def test_threads():
    reader, writer = ctx.Pipe(False)
    process = started(linger, writer)
    writer.close()
    say("a_thread_that_is_left", outcome(reader.recv))
    process.join()


if __name__ == "__main__":
    for test in [value for name, value in list(globals().items()) if name.startswith("test_")]:
        test()
