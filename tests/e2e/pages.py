"""A person at the gateway's pages without scripts: logs in, and posts forms with their token."""

import re
from dataclasses import dataclass, field
from typing import Self

import httpx

_TOKEN = re.compile(r'name="csrfmiddlewaretoken" value="([^"]+)"')


@dataclass(frozen=True)
class Browser:
    """A logged-in session."""

    client: httpx.Client = field(repr=False)

    @classmethod
    def log_in(cls, url: str, name: str, password: str) -> Self:
        """Log in by the form."""
        client = httpx.Client(base_url=url, timeout=30.0, trust_env=False)
        browser = cls(client)
        answer = browser.post("/accounts/login/", username=name, password=password, next="/")
        assert answer.status_code == 302, answer.text
        return browser

    def read(self, path: str) -> str:
        """A page that must be there."""
        answer = self.client.get(path)
        assert answer.status_code == 200, f"{path} answered {answer.status_code}"
        return answer.text

    def post(self, path: str, *, page: str = "", **fields: str) -> httpx.Response:
        """Fill in the form on a page, by default at the same path, and send it."""
        token = _TOKEN.search(self.read(page or path))
        assert token is not None, f"{page or path} has no form"
        given = {"csrfmiddlewaretoken": token[1], **fields}
        return self.client.post(path, data=given, headers={"Referer": str(self.client.base_url)})
