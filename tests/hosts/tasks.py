# SPDX-License-Identifier: BSD-2-Clause
"""An asyncio application whose tasks wait for each other in every way there is."""
import asyncio
import os
import sys

import manhole


async def sleep_long():
    await asyncio.sleep(3600)


async def agenerate():
    await sleep_long()
    yield 1


async def iterate():
    async for _ in agenerate():
        pass


class Awaitable:
    def __await__(self):
        return sleep_long().__await__()


async def await_object():
    await Awaitable()


def task(coroutine, name):
    return asyncio.get_running_loop().create_task(coroutine, name=name)


async def gather():
    await asyncio.gather(task(sleep_long(), "gathered-1"), asyncio.gather(task(iterate(), "gathered-2")))


async def wait():
    await asyncio.wait([task(await_object(), "waited-1"), task(sleep_long(), "waited-2")])


async def wait_for():
    await asyncio.wait_for(asyncio.shield(task(sleep_long(), "shielded")), 3600)


async def group():
    async with asyncio.TaskGroup() as group:
        group.create_task(sleep_long(), name="grouped-1")
        group.create_task(sleep_long(), name="grouped-2")


async def main():
    for function in gather, wait, wait_for:
        task(function(), function.__name__)
    if hasattr(asyncio, "TaskGroup"):
        task(group(), "group")
    extra = [task(sleep_long(), f"extra-{i}") for i in range(int(sys.argv[1]))]
    direct = task(sleep_long(), 'quote" and\nnewline')
    task(finish(), "finish")
    await direct


async def finish():
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    # When it runs, this one waits as well.
    asyncio.get_running_loop().call_soon(os.write, 1, b"READY\n")
    await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)
    os._exit(0)


manhole.install(verbose=False)
asyncio.run(main())
