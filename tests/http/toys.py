"""A small API in a process of its own, to be attacked: `python -m tests.http.toys PORT SECRET LIMITS`."""

import asyncio
import json
import sys
from typing import cast

import uvloop

from shared.http import server
from shared.http.app import new_app
from shared.http.auth import Authenticator, JwtSettings
from shared.http.limits import Limits
from shared.postgres.pool import Pool
from tests.http.conftest import StubPool, router


async def main(port: int, secret: str, limits: Limits) -> None:
    authenticator = Authenticator(None, JwtSettings(key=secret))
    app = new_app("toys", "Toys", pool=cast("Pool", StubPool()), authenticator=authenticator)
    app.include_router(router())

    @app.get("/large")
    async def large() -> str:
        await asyncio.sleep(0)
        return "x" * 300_000

    await server.serve(app, "127.0.0.1", port, limits)


if __name__ == "__main__":
    uvloop.run(main(int(sys.argv[1]), sys.argv[2], Limits(**json.loads(sys.argv[3]))))
