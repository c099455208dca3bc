"""The front page of the stack, which lists all routes."""

import html
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final

from starlette.requests import Request
from starlette.responses import HTMLResponse, Response

A_CUSTOMER: Final = "1371"
"""A household that every sample contains, for the examples."""

METHODS: Final = ("get", "post", "put", "patch", "delete")

_PAGE: Final = """\
<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<title>Wafa</title>
<style>
  body {{ font: 16px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem; }}
  td {{ padding: .2rem .8rem .2rem 0; vertical-align: top; }}
  pre {{ background: #8882; padding: .8rem; overflow-x: auto; }}
</style>
<h1>Wafa</h1>
<p>Points, tiers, referrals and messages. Try the routes at <a href="/docs">/docs</a>; the document is
<a href="/openapi.json">/openapi.json</a>. Every route under /v1 needs a key or a token:</p>
<pre>. .local/wafa.env
curl -H "Authorization: Bearer $WAFA_ADMIN_TOKEN" "$WAFA_URL/v1/customers/{customer}/points"</pre>
<table>{rows}</table>
</html>
"""


def front(document: Mapping[str, Any]) -> Callable[[Request], Awaitable[Response]]:
    """The endpoint of the front page: a list of the routes of an OpenAPI document."""
    rows = [
        f"<tr><td>{method.upper()}</td><td><code>{html.escape(path)}</code></td>"
        f"<td>{html.escape(operation.get('summary', ''))}</td></tr>"
        for path, operations in document["paths"].items()
        for method, operation in operations.items()
        if method in METHODS
    ]
    page = _PAGE.format(customer=A_CUSTOMER, rows="\n".join(rows))

    async def endpoint(_request: Request) -> Response:
        return HTMLResponse(page)

    return endpoint
