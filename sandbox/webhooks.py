"""The queue of signed webhooks: delivered in the background, kept over restarts."""

import asyncio
import hashlib
import hmac
import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any
from uuid import uuid4

import httpx

from sandbox.faults import Fault, Faults
from sandbox.store import Row, Store, dump_json, utc_now

ANSWER_WITHIN_SECONDS = 5.0
MOST_AT_ONCE = 16
ANSWER_KEPT = 2_000


@dataclass(frozen=True)
class Answer:
    """What the receiver said; without a status it said nothing in time."""

    status: int | None
    text: str


class WebhookQueue:
    """Sends each webhook until it is answered with exactly 200, as Linear does.

    After the n-th failed attempt the next follows `retry_delays[n]` seconds later, with the same
    Linear-Delivery and the same body; after the last one the webhook has failed.
    """

    def __init__(
        self,
        store: Store,
        faults: Faults,
        url: str | None,
        secret: str,
        retry_delays: Sequence[float],
    ) -> None:
        self.url = url
        self._store = store
        self._faults = faults
        self._secret = secret
        self._retry_delays = tuple(retry_delays)
        self._wake = asyncio.Event()
        self._sending: dict[int, asyncio.Task[None]] = {}
        self._client = httpx.AsyncClient(
            timeout=ANSWER_WITHIN_SECONDS, follow_redirects=False, trust_env=False
        )

    def add(self, payload: dict[str, Any], issue_id: str, *, send: bool) -> int:
        """Queue a webhook inside the caller's transaction; returns its number."""
        body = dump_json(payload)
        number = self._store.insert(
            "webhooks",
            delivery=str(uuid4()),
            event=payload["type"],
            action=payload["action"],
            issue_id=issue_id,
            body=body,
            signature=self.sign(body.encode()),
            timestamp=payload["webhookTimestamp"],
            state="waiting" if send and self.url else "lost",
            due_at=time.time() if send and self.url else None,
            created_at=utc_now(),
        )
        self._wake.set()
        return number

    def sign(self, body: bytes) -> str:
        """The value of Linear-Signature: hex HMAC-SHA256 of the raw body."""
        return hmac.new(self._secret.encode(), body, hashlib.sha256).hexdigest()

    async def run(self) -> None:
        """Send what is due until cancelled."""
        try:
            while True:
                self._wake.clear()
                self._start_due()
                try:
                    await asyncio.wait_for(self._wake.wait(), self._seconds_to_next())
                except TimeoutError:
                    continue
        finally:
            for task in self._sending.values():
                task.cancel()
            await asyncio.gather(*self._sending.values(), return_exceptions=True)
            await self._client.aclose()

    async def resend(self, number: int, times: int, *, at_once: bool) -> list[Answer]:
        """Send a webhook again as it was, now, whatever its state; returns the answers."""
        row = self._row(number)
        if at_once:
            return list(await asyncio.gather(*(self._attempt(row) for _ in range(times))))
        return [await self._attempt(row) for _ in range(times)]

    def _row(self, number: int) -> Row:
        row = self._store.row("SELECT * FROM webhooks WHERE id = ?", number)
        if row is None:
            raise LookupError(f"There is no webhook {number}.")
        return row

    def _start_due(self) -> None:
        free = MOST_AT_ONCE - len(self._sending)
        due = self._store.rows(
            """SELECT id FROM webhooks WHERE state = 'waiting' AND due_at <= ?
               ORDER BY due_at, id LIMIT ?""",
            time.time(), 2 * MOST_AT_ONCE,
        )  # fmt: skip
        for row in [row for row in due if row["id"] not in self._sending][:free]:
            number = row["id"]
            task = asyncio.create_task(self._deliver(number))
            self._sending[number] = task
            task.add_done_callback(partial(self._finished, number))

    def _finished(self, number: int, _task: asyncio.Task[None]) -> None:
        del self._sending[number]
        self._wake.set()

    def _seconds_to_next(self) -> float | None:
        """Until the earliest webhook that nobody is sending; None where a wake-up will come."""
        if len(self._sending) >= MOST_AT_ONCE:
            return None
        for row in self._store.rows(
            "SELECT id, due_at FROM webhooks WHERE state = 'waiting' ORDER BY due_at LIMIT ?",
            MOST_AT_ONCE,
        ):
            if row["id"] not in self._sending:
                return max(0.0, float(row["due_at"]) - time.time())
        return None

    async def _deliver(self, number: int) -> None:
        if not self._is_waiting(number):
            return
        row = self._row(number)
        fault = self._faults.take("webhooks", {row["event"], row["action"]})
        if fault is not None:
            await fault.wait()
            if not self._is_waiting(number):
                return
        answer = await self._attempt(row, fault)
        if answer.status == 200:
            state, due_at = "delivered", None
        elif row["tries"] < len(self._retry_delays):
            state, due_at = "waiting", time.time() + self._retry_delays[row["tries"]]
        else:
            state, due_at = "failed", None
        self._store.run(
            "UPDATE webhooks SET state = ?, due_at = ?, tries = tries + 1 WHERE id = ?",
            state, due_at, number,
        )  # fmt: skip

    def _is_waiting(self, number: int) -> bool:
        """Whether the webhook is still owed; a reset forgets what a fault held back."""
        row = self._store.row("SELECT state FROM webhooks WHERE id = ?", number)
        return row is not None and row["state"] == "waiting"

    async def _attempt(self, row: Row, fault: Fault | None = None) -> Answer:
        began = time.monotonic()
        answer = await self._post(row, fault)
        # A reset of the whole sandbox may have taken the row away meanwhile.
        if self._store.row("SELECT 1 FROM webhooks WHERE id = ?", row["id"]):
            self._store.insert(
                "attempts", webhook_id=row["id"], url=self.url or "", status=answer.status,
                answer=answer.text, seconds=time.monotonic() - began, created_at=utc_now(),
            )  # fmt: skip
        return answer

    async def _post(self, row: Row, fault: Fault | None) -> Answer:
        if self.url is None:
            return Answer(None, "no webhook URL is set")
        if fault is not None and fault.kind == "reset":
            return Answer(None, "not sent: a fault dropped the connection")
        try:
            async with asyncio.timeout(ANSWER_WITHIN_SECONDS):
                response = await self._client.post(
                    self.url, content=row["body"].encode(), headers=headers_of(row)
                )
        except TimeoutError:
            return Answer(None, f"no answer within {ANSWER_WITHIN_SECONDS:g} s")
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            return Answer(None, f"{type(error).__name__}: {error}")
        if fault is not None and fault.kind == "lose_reply":
            return Answer(None, f"sent, but a fault lost the answer {response.status_code}")
        return Answer(response.status_code, response.text[:ANSWER_KEPT])


def headers_of(row: Row) -> dict[str, str]:
    """The headers a webhook is sent with, those that Linear sends."""
    return {
        "Content-Type": "application/json; charset=utf-8",
        "User-Agent": "Linear-Webhook",
        "Linear-Delivery": row["delivery"],
        "Linear-Event": row["event"],
        "Linear-Signature": row["signature"],
        "Linear-Timestamp": str(row["timestamp"]),
    }
