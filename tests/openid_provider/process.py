"""Starts the provider for tests, says who is who there, and acts as its people's browsers."""

import re
import socket
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

import httpx

from hitl_project.provider import Provider
from tests.openid_provider import CLIENT_ID, CLIENT_SECRET
from tests.sandbox_process import PLAIN_HTTP
from tests.waiting import eventually

ROOT = Path(__file__).resolve().parents[2]


@dataclass
class OpenIdProvider:
    """One process. It ends with `stop`, which tests must call."""

    process: "subprocess.Popen[bytes]"
    url: str
    control: httpx.Client = field(repr=False)
    people: dict[str, dict[str, Any]] = field(default_factory=dict)

    @classmethod
    def start(cls, log: Path) -> Self:
        """Start it on a free port, and wait until it answers."""
        with socket.create_server(("127.0.0.1", 0)) as free:
            port = free.getsockname()[1]
        death = [str(ROOT / "hitl_project" / "parent_death.py"), "--signal", "SIGKILL"]
        program = [sys.executable, "-m", "tests.openid_provider", str(port)]
        with log.open("ab") as output:
            process = subprocess.Popen(  # noqa: S603 - our own program
                [sys.executable, "-I", "-S", *death, *program],
                cwd=ROOT,
                env={"PYTHONPATH": str(ROOT)},
                stdout=output,
                stderr=subprocess.STDOUT,
            )
        url = f"http://127.0.0.1:{port}"
        provider = cls(process, url, httpx.Client(base_url=url, verify=PLAIN_HTTP))

        def answers() -> bool:
            if process.poll() is not None:
                raise RuntimeError(f"The provider ended:\n{log.read_text()[-2000:]}")
            try:
                return provider.control.get("/o/.well-known/openid-configuration").is_success
            except httpx.TransportError:
                return False

        eventually(answers, "the provider answers", 30)
        return provider

    @property
    def issuer(self) -> str:
        """What it calls itself."""
        return f"{self.url}/o"

    def settings(self, **changes: Any) -> Provider:
        """What the gateway has to know of it."""
        known = {
            "issuer": self.issuer,
            "client_id": CLIENT_ID,
            "client_secret": CLIENT_SECRET,
            "name": "Example Login",
            "scopes": "openid profile email",
            "algorithm": "RS256",
            "groups_claim": "groups",
            "groups": (("sre", "platform"), ("releases", "release-managers")),
        }
        return Provider(**{**known, **changes})

    def tell(
        self,
        callback: str,
        people: dict[str, dict[str, Any]],
        *,
        lies: dict[str, Any] | None = None,
        algorithm: str = "RS256",
        consents: bool = True,
    ) -> None:
        """Say who is who, where the gateway hears of logins, and what is wrong with them."""
        told = {
            "people": people,
            "lies": lies or {},
            "redirect_uris": [callback],
            "algorithm": algorithm,
            "consents": consents,
        }
        self.control.post("/people/", json=told).raise_for_status()

    def answer(self, name: str, address: str, *, denies: bool = False) -> str:
        """Where the provider leads the browser of somebody who comes with this address."""
        with httpx.Client(base_url=self.url, verify=PLAIN_HTTP) as browser:
            browser.get("/login/", params={"as": name}).raise_for_status()
            led = browser.get(address)
            if denies:
                fields = re.findall(r'<input type="hidden" name="(\w+)" value="([^"]*)"', led.text)
                led = browser.post(address, data=dict(fields))
        assert led.status_code == 302, led.text
        return led.headers["Location"]

    def stop(self) -> None:
        """End the process."""
        self.control.close()
        self.process.kill()
        self.process.wait()
