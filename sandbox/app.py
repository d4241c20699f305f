"""Puts the parts of one sandbox together into an ASGI application."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles

from sandbox.control import Control
from sandbox.faults import Faults
from sandbox.github.api import GithubApi
from sandbox.github.pages import GithubPages
from sandbox.github.repositories import Repositories
from sandbox.home import Home
from sandbox.hooks import Hooks
from sandbox.linear.api import LinearApi
from sandbox.linear.pages import LinearPages
from sandbox.linear.workspace import Workspace
from sandbox.pages import Pages
from sandbox.recorder import Recorder
from sandbox.same_origin import SameOrigin
from sandbox.store import Store
from sandbox.webhooks import WebhookQueue


@dataclass(frozen=True)
class Settings:
    """How one sandbox runs."""

    data: Path
    public_url: str
    webhook_url: str | None
    webhook_secret: str
    retry_delays: Sequence[float]
    with_samples: bool


def build(settings: Settings) -> Starlette:
    """The application; opens the data folder. Raises DataFolderInUse."""
    store = Store(settings.data)
    faults = Faults()
    recorder = Recorder(store, faults)
    webhooks = WebhookQueue(
        store, faults, settings.webhook_url, settings.webhook_secret, settings.retry_delays
    )
    workspace = Workspace(store, webhooks, settings.public_url)
    linear = LinearApi(workspace)
    repositories = Repositories(store)
    github = GithubApi(repositories, settings.public_url)
    hooks = Hooks(store)

    def reset() -> None:
        faults.clear()
        store.clear()
        if settings.with_samples:
            repositories.add_samples()

    if settings.with_samples:
        repositories.add_samples()
    control = Control(store, workspace, repositories, webhooks, recorder, faults, reset)

    pages = Pages(settings.public_url)

    @asynccontextmanager
    async def lifespan(_app: Starlette) -> AsyncIterator[None]:
        sender = asyncio.create_task(webhooks.run())
        try:
            yield
        finally:
            sender.cancel()
            await asyncio.gather(sender, return_exceptions=True)
            store.close()

    app = Starlette(
        routes=[
            Route(
                "/linear/graphql",
                recorder.endpoint("linear", linear.operations, linear.answer, linear.refuse),
                methods=["POST"],
            ),
            Mount("/github/api", routes=github.routes(recorder)),
            Route(
                "/hooks/{name}",
                recorder.endpoint("hooks", hooks.operations, hooks.answer, hooks.refuse),
                methods=["POST"],
            ),
            Mount("/_control", routes=control.routes()),
            Mount("/static", StaticFiles(directory=Path(__file__).parent / "static")),
            *Home(pages, store, webhooks).routes(),
            *LinearPages(pages, workspace, webhooks).routes(),
            *GithubPages(pages, repositories).routes(),
        ],
        middleware=[Middleware(SameOrigin, public_url=settings.public_url)],
        lifespan=lifespan,
    )
    # A server that stops waits for the calls in progress, so it must let go of those held back.
    app.state.let_go = faults.clear
    return app
