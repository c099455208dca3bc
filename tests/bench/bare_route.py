"""The reference of the API: a FastAPI route that only runs `SELECT 1` on the same kind of pool."""

import os

import uvloop
from fastapi import FastAPI

from shared.http.server import serve
from shared.postgres.pool import open_pool


async def main() -> None:
    """Serve until stopped."""
    app = FastAPI(openapi_url=None)
    async with await open_pool(os.environ["WAFA_DATABASE_URL_POINTS"], application="bare") as pool:

        @app.get("/")
        async def one() -> dict[str, int]:
            return {"one": await pool.fetchval("SELECT 1")}

        await serve(app, "127.0.0.1", int(os.environ["WAFA_POINTS_PORT"]))


if __name__ == "__main__":
    uvloop.run(main())
