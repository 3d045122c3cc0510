# SPDX-License-Identifier: BSD-2-Clause
"""An asyncio application that ticks."""
import asyncio
import sys

import manhole

manhole.install(verbose=False)


async def main():
    print("READY", flush=True)
    n = 0
    while True:
        await asyncio.sleep(0.01)
        print("tick", n, flush=True)
        n += 1


asyncio.new_event_loop().run_until_complete(main())
