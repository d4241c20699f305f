"""Exits with 0 where a part of the gateway works: `healthcheck.py [--queue NAME --of URL]`.

Without arguments that is the web server in the same container. With a queue it is that queue's
workers, as the web server at URL has seen them; `sweeps` stands for beat as well. Standard library
only, because it starts every few seconds.
"""

import argparse
import http.client
import json
import os
import sys
from urllib.parse import urlsplit

PATIENCE_SECONDS = 8


def ask(url: str, path: str) -> tuple[int, bytes]:
    """Return the status and body of the web server's answer; OSError where there is none."""
    address = urlsplit(url).netloc
    connection = http.client.HTTPConnection(address, timeout=PATIENCE_SECONDS)
    try:
        connection.request("GET", path)
        response = connection.getresponse()
        return response.status, response.read()
    finally:
        connection.close()


def fault(url: str, queue: str | None) -> str | None:
    """Return what is wrong in words, None where nothing is."""
    status, body = ask(url, "/readyz" if queue else "/healthz")
    if queue is None:
        return None if status == 200 else f"/healthz answered {status}."
    if status not in {200, 503}:
        return f"/readyz answered {status}."
    checks = json.loads(body)["checks"]
    if checks["postgresql"] != "ok":
        return str(checks["postgresql"])
    # A queue that nothing is ever sent to is not asked for.
    seen = str(checks.get(queue, "ok"))
    return None if seen == "ok" else seen


def main() -> None:
    """Exit with 0, or with 1 and a sentence."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--queue", choices=["runs", "channels", "sweeps"])
    parser.add_argument("--of", metavar="URL", default="")
    given = parser.parse_args()
    url = given.of or f"http://127.0.0.1:{os.environ.get('PORT') or '8000'}"
    try:
        sys.exit(fault(url, given.queue))
    except (OSError, http.client.HTTPException) as error:
        sys.exit(f"{url} does not answer: {error}.")


if __name__ == "__main__":
    main()
