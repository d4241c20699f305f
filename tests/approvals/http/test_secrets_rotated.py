"""A webhook's secret is replaced while everything goes on, and no webhook is lost."""

import threading
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from uuid import UUID, uuid4

import httpx

from approvals import services
from approvals.models import ApprovalRequest, InboundWebhook, Tally, Vote
from tests.approvals.http.gateway import DEPLOY, People
from tests.integrations.linear_world import ADA, dumped, move_event, signed
from tests.waiting import eventually
from tests.web_server import WebServer

OLD, NEW = "the-old-secret-" + "o" * 25, "the-new-secret-" + "n" * 25


class Linear:
    """Sends webhooks, by a proxy that asks the next web server where one is just stopping."""

    def __init__(self, *servers: WebServer) -> None:
        self.secrets = [OLD]
        # Each request connects anew, as to a server that may be gone.
        self._client = httpx.Client(trust_env=False, headers={"Connection": "close"})
        self.answers: Counter[int] = Counter()
        self.sent: list[str] = []
        self.sent_by_old = 0
        self._urls = [server.url for server in servers]
        self._at_work = threading.Lock()

    def replace(self, gone: WebServer, come: WebServer) -> None:
        """Let the proxy know another server instead of one that is then stopped."""
        with self._at_work:
            self._urls = [come.url if url == gone.url else url for url in self._urls]
        gone.stop()

    def send(self, issue: UUID) -> None:
        """Tell of a move to Done by every webhook there is: while rotating, by two."""
        with self._at_work:
            for secret in self.secrets:
                body = dumped(move_event(issue))
                headers = signed(body, secret)
                self.answers[self._passed_on(body, headers)] += 1
                self.sent.append(headers["Linear-Delivery"])
                self.sent_by_old += secret == OLD

    def _passed_on(self, body: bytes, headers: dict[str, str]) -> int:
        self._urls = [*self._urls[1:], self._urls[0]]
        for url in self._urls:
            try:
                return self._client.post(f"{url}/resume", content=body, headers=headers).status_code
            except httpx.TransportError:
                continue
        return 503

    @contextmanager
    def sending(self) -> Iterator[None]:
        """Send all the while, of issues that belong to no request."""
        over = threading.Event()

        def send_on() -> None:
            while not over.wait(0.02):
                self.send(uuid4())

        thread = threading.Thread(target=send_on)
        thread.start()
        try:
            yield
        finally:
            over.set()
            thread.join()
            self._client.close()


def opened() -> UUID:
    """A request that one vote decides."""
    request_id = services.open_request(
        task=DEPLOY, workflow_id="wf-1", thread_id=str(uuid4()), agent_name="cicd"
    ).request_id
    assert request_id is not None
    return request_id


def test_no_webhook_is_lost_while_its_secret_is_rotated(
    committed_people: People, launch_web_server: Callable[..., WebServer]
) -> None:
    services.create_approver(
        "ada", email="ada@example.org", groups=["release-managers"], linear_user_id=ADA
    )
    with ThreadPoolExecutor() as pool:
        old_1, old_2, both_1, both_2, new = pool.map(
            lambda value: launch_web_server(LINEAR_WEBHOOK_SECRET=value),
            [OLD, OLD, f"{NEW},{OLD}", f"{NEW},{OLD}", NEW],
        )
    linear = Linear(old_1, old_2)
    requests = []

    def decide() -> None:
        requests.append(opened())
        linear.send(requests[-1])
        enough = len(linear.sent) + 5
        eventually(lambda: len(linear.sent) >= enough, "more webhooks are sent meanwhile", 30)

    with linear.sending():
        decide()
        linear.replace(old_1, both_1)
        decide()
        linear.replace(old_2, both_2)
        # Now Linear has a second webhook, and a moment later no longer the first.
        linear.secrets = [OLD, NEW]
        decide()
        linear.secrets = [NEW]
        decide()
        linear.replace(both_1, new)
        decide()
    assert set(linear.answers) == {200}
    heard = InboundWebhook.objects.values_list("delivery_id", flat=True)
    assert set(linear.sent) == set(heard)
    statuses = ApprovalRequest.objects.filter(pk__in=requests).values_list("status", flat=True)
    assert list(statuses) == ["approved"] * 5
    assert Vote.objects.count() == 5
    # Nothing that the old one signed came while only the old one was known.
    previous = Tally.objects.filter(metric="hitl_inbound_webhooks_previous_secret_total")
    assert 0 < sum(previous.values_list("count", flat=True)) < linear.sent_by_old
