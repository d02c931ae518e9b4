"""What CPython's contexts do, a line for each thing that is tried; context.rs tries the same."""

import atexit
import multiprocessing as mp
import os
import pathlib
import sys


def say(name, outcome):
    print(f"{name}: {outcome}", flush=True)


def outcome(call):
    try:
        return call()
    except Exception as error:
        return type(error).__name__


def undecided():
    mp.set_start_method(None, force=True)


def decided():
    return mp.get_start_method(allow_none=True)


def own_method(writer):
    writer.send(f"{mp.get_start_method()} {decided()}")


def asked(ctx, target, *args):
    """What a child says."""
    reader, writer = ctx.Pipe(False)
    process = ctx.Process(target=target, args=(writer, *args))
    process.start()
    writer.close()
    said = reader.recv()
    process.join()
    return said


def test_default():
    undecided()
    say("at_first", decided())
    say("the_default_is_listed_first", mp.get_all_start_methods()[0] == mp.get_start_method())
    say("fixed_by_being_asked_for", decided() is not None)
    say("all_methods", sorted(mp.get_all_start_methods()))
    undecided()
    say("undecided_by_force", decided())
    say("set", outcome(lambda: mp.set_start_method("spawn")))
    say("set_again", outcome(lambda: mp.set_start_method("fork")))
    say("set_again_the_same", outcome(lambda: mp.set_start_method("spawn")))
    say("forced", outcome(lambda: mp.set_start_method("fork", force=True)))
    say("after_force", decided())
    say("set_after_force", outcome(lambda: mp.set_start_method("spawn")))
    say("unknown_method", outcome(lambda: mp.get_context("thread")))


def test_concrete():
    for method in ("fork", "spawn", "forkserver"):
        undecided()
        ctx = mp.get_context(method)
        say(f"{method}.method", ctx.get_start_method())
        say(f"{method}.decided", ctx.get_start_method(allow_none=True))
        say(f"{method}.set", outcome(lambda: ctx.set_start_method(method)))
        say(f"{method}.force", outcome(lambda: ctx.set_start_method(method, force=True)))
        say(f"{method}.own_context", ctx.get_context().get_start_method())
        say(f"{method}.other_context", ctx.get_context("spawn").get_start_method())
        say(f"{method}.child", asked(ctx, own_method))
        if method == "fork":
            # The others fix it, up to some 3.13.
            say(f"{method}.leaves_the_default", decided())


def test_default_context():
    undecided()
    mp.set_start_method("spawn")
    ctx = mp.get_context()
    say("default.set", outcome(lambda: ctx.set_start_method("fork")))
    mp.set_start_method("fork", force=True)
    say("default.keeps_its_method", ctx.get_start_method())
    say("default.context_now", mp.get_context().get_start_method())
    undecided()
    mp.get_context()
    say("default.fixed_by_get_context", decided() is not None)


def test_process_wide():
    ctx = mp.get_context("spawn")
    say("cpu_count", mp.cpu_count() == os.cpu_count() == ctx.cpu_count())
    say("no_children", ctx.active_children())
    say("allow_connection_pickling", ctx.allow_connection_pickling())
    say("preload", mp.set_forkserver_preload(["json"]))
    say("preload_of_nothing", mp.set_forkserver_preload([]))
    say("preload_of_no_name", outcome(lambda: mp.set_forkserver_preload([""])))
    for name, path in (
        ("text", sys.executable),
        ("bytes", os.fsencode(sys.executable)),
        ("path", pathlib.Path(sys.executable)),
    ):
        mp.set_executable(path)
        say(f"executable.{name}", asked(ctx, own_method))
    mp.set_executable(sys.executable)
    undecided()


def double(writer, queue):
    writer.send(queue.get(timeout=60) * 2)


def mixed(maker, starter):
    queue = mp.get_context(maker).Queue()
    queue.put(21)
    return asked(mp.get_context(starter), double, queue)


def test_mixed():
    say("made_by_spawn_used_by_fork", outcome(lambda: mixed("spawn", "fork")))
    say("made_by_fork_used_by_spawn", outcome(lambda: mixed("fork", "spawn")))


class Capitals(mp.get_context("spawn").Process):
    def __init__(self, text, writer):
        super().__init__(name="capitals")
        self.text = text
        self.writer = writer

    def run(self):
        self.writer.send(f"{mp.current_process().name} {self.text.upper()}")


def test_subclass():
    reader, writer = mp.Pipe(False)
    process = Capitals("hello", writer)
    process.start()
    say("run_of_a_state", reader.recv())
    process.join()
    say("its_exit_code", process.exitcode)


def fail():
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
    raise ValueError("it keeps no other handler from running")


def register(writer):
    for text in ("first", "second"):
        atexit.register(writer.send, text)
    atexit.register(fail)
    atexit.register(writer.send, "third")


def test_atexit():
    ctx = mp.get_context("spawn")
    reader, writer = ctx.Pipe(False)
    process = ctx.Process(target=register, args=(writer,))
    process.start()
    writer.close()
    said = []
    try:
        while True:
            said.append(reader.recv())
    except EOFError:
        pass
    say("handlers_of_a_child", " ".join(said))
    process.join()


if __name__ == "__main__":
    for test in [value for name, value in list(globals().items()) if name.startswith("test_")]:
        test()
