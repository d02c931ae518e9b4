"""The public names of CPython's multiprocessing: a line `NAME: public` or `CLASS.MEMBER: public`."""

import inspect
import multiprocessing as mp
from multiprocessing import (
    connection,
    context,
    managers,
    pool,
    process,
    queues,
    reduction,
    shared_memory,
    sharedctypes,
    synchronize,
)


def say(name):
    print(f"{name}: public")


def public(of):
    return [name for name in dir(of) if not name.startswith("_")]


def members(of, name, base=object):
    """A class with what it has, and its base has not."""
    say(name)
    for member in public(of):
        if member not in public(base):
            say(f"{name}.{member}")


def defined(name, *places):
    """A class of which only some members are meant for users."""
    say(name)
    for place in places:
        for member in vars(place):
            if not member.startswith("_"):
                say(f"{name}.{member}")


def test_functions():
    # What is a module by itself is not a name of the package.
    for name in public(mp):
        if name == "reducer" or not inspect.ismodule(getattr(mp, name)):
            say(name)
    for name in public(mp.get_context("spawn")):
        say(name)
    for name in ("assert_spawning", "get_spawning_popen", "set_spawning_popen"):
        assert hasattr(context, name)
        say(name)
    for module in (connection, managers, pool, reduction, shared_memory, sharedctypes):
        for name in module.__all__:
            say(name)
    for of in (context.ForkContext, context.SpawnContext, context.ForkServerContext):
        say(of.__name__)
    say(context.DefaultContext.__name__)


def test_processes():
    members(process.BaseProcess, "Process")
    # What `parent_process()` gives; what it inherits fails.
    defined("ParentProcess", process._ParentProcess)
    say("ParentProcess.name")


def test_connections():
    members(connection.Connection, "Connection")
    members(connection.Listener, "Listener")


def test_shared_objects():
    ctx = mp.get_context("spawn")
    # Some of their methods are set on each instance.
    for name in ("Lock", "RLock", "Semaphore", "BoundedSemaphore", "Condition", "Event"):
        members(getattr(ctx, name)(), name)
    members(synchronize.Barrier, "Barrier")
    members(queues.Queue, "Queue")
    members(queues.JoinableQueue, "JoinableQueue", queues.Queue)
    members(queues.SimpleQueue, "SimpleQueue")
    members(ctx.Value("i"), "Value")
    members(ctx.Array("i", 1), "Array")
    members(ctx.Array("c", 1), "Array")
    members(shared_memory.SharedMemory, "SharedMemory")
    members(shared_memory.ShareableList, "ShareableList")


def test_pools():
    members(pool.Pool, "Pool")
    members(pool.AsyncResult, "AsyncResult")
    members(pool.IMapIterator, "IMapIterator")
    say(pool.MaybeEncodingError.__name__)


def test_managers():
    members(managers.BaseManager, "BaseManager")
    # An attribute from the start on.
    say("BaseManager.shutdown")
    members(managers.SyncManager, "SyncManager", managers.BaseManager)
    members(managers.SharedMemoryManager, "SharedMemoryManager", managers.BaseManager)
    say(f"{managers.Server.__name__}.{managers.Server.serve_forever.__name__}")
    say(managers.RemoteError.__name__)
    for name, value in vars(managers).items():
        is_base = name.startswith("_") or name.startswith("Base")
        if name.endswith("Proxy") and inspect.isclass(value) and not is_base:
            members(value, name)


def test_reduction():
    defined("ForkingPickler", reduction.ForkingPickler)
    say(reduction.AbstractReducer.__name__)


for test in [value for name, value in list(globals().items()) if name.startswith("test_")]:
    test()
