"""The shape of operations.yaml: what each operation takes, and what it does."""

import re
from collections.abc import Mapping
from typing import Annotated, Any, Literal, Self
from urllib.parse import quote, urlsplit

from pydantic import AfterValidator, Field, JsonValue, field_validator, model_validator
from pydantic_core import PydanticCustomError

from agents.placeholders import Value, as_text, fill, fill_json, placeholders
from approvals.configfile import ConfigModel
from approvals.core import intake

# Handed to no operation: whoever holds one of these can decide requests, speak for the gateway, or
# read what it keeps.
GATEWAY_SECRETS = frozenset(
    {
        "DATABASE_OWNER_URL",
        "DATABASE_URL",
        "GITHUB_TOKEN",
        "HITL_METRICS_TOKEN",
        "HITL_OIDC_CLIENT_SECRET",
        "LINEAR_API_KEY",
        "LINEAR_WEBHOOK_SECRET",
        "OTEL_EXPORTER_OTLP_HEADERS",
        "OTEL_EXPORTER_OTLP_TRACES_HEADERS",
        "REDIS_URL",
        "SECRET_KEY",
        "SECRET_KEY_FALLBACK",
    }
)
# What a task says beside its arguments, and the only form in which it may enter an action.
TASK_FIELDS: Mapping[str, re.Pattern[str]] = {
    "environment": re.compile(r"[a-z][a-z0-9-]{0,62}"),
    "github_repo": intake.REPOSITORY,
    "pr_number": re.compile(r"[1-9][0-9]{0,9}"),
}
_VALUE_CHARACTERS = 4096


def _wrong(sentence: str) -> PydanticCustomError:
    return PydanticCustomError("operation", "{sentence}", {"sentence": sentence})


def _whole_placeholders(template: Any) -> Any:
    try:
        list(placeholders(template))
    except ValueError as error:
        raise _wrong(str(error)) from error
    return template


def _compilable(pattern: str) -> str:
    try:
        re.compile(pattern, re.ASCII)
    except re.error as error:
        raise _wrong(f"{pattern!r} is no regular expression: {error}") from error
    return pattern


def _no_secret(name: str) -> str:
    if name in GATEWAY_SECRETS:
        raise _wrong(f"{name} is a secret of the gateway itself and is handed to no operation")
    return name


Name = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]{0,62}$")]
Template = Annotated[str, Field(pattern=r"^[^\x00]*$"), AfterValidator(_whole_placeholders)]
Variable = Annotated[str, Field(pattern=r"^[A-Z][A-Z0-9_]*$"), AfterValidator(_no_secret)]
Header = Annotated[str, Field(pattern=r"^[A-Za-z][A-Za-z0-9-]*$")]


class Argument(ConfigModel):
    """One argument of an operation; without a default it must be given.

    The pattern has to match the whole value, as text. A leading dash could turn a value into an
    option of the program, so it is allowed only where that is said in so many words.
    """

    description: str
    pattern: Annotated[str, AfterValidator(_compilable)]
    default: JsonValue = None
    allow_leading_dash: bool = False

    @model_validator(mode="after")
    def _default_fits(self) -> Self:
        if self.default is not None:
            try:
                self.checked(self.default)
            except ValueError as error:
                raise _wrong(f"the default {error}") from error
        return self

    def checked(self, value: object) -> Value:
        """The value, if it may enter an action; ValueError continues "the argument ..."."""
        if not isinstance(value, (str, int)):
            raise ValueError(  # noqa: TRY004  # one kind of refusal, whatever is wrong
                "must be a text, a whole number, true or false; write other numbers in quotes"
            )
        text = as_text(value)
        if len(text) > _VALUE_CHARACTERS:
            raise ValueError(f"is longer than {_VALUE_CHARACTERS} characters")
        if intake.UNSTORABLE.search(text):
            raise ValueError("holds a NUL or half of a character")
        if text.startswith("-") and not self.allow_leading_dash:
            raise ValueError("begins with a dash, which a program could take for an option")
        if not re.fullmatch(self.pattern, text, re.ASCII):
            raise ValueError(f"does not match {self.pattern}")
        return value


class Command(ConfigModel):
    """A program that is started without a shell.

    The first word is fixed; `python` there means the interpreter that runs the gateway. `cwd` is
    taken from the project's folder; `pass_env` names the environment variables to hand on.
    """

    argv: Annotated[tuple[Template, ...], Field(min_length=1)]
    cwd: str = "."
    pass_env: tuple[Variable, ...] = ()

    @field_validator("argv")
    @classmethod
    def _fixed_program(cls, argv: tuple[str, ...]) -> tuple[str, ...]:
        if not argv[0] or any(placeholders(argv[0])):
            raise _wrong("the program, the first word of argv, is a fixed text")
        return argv

    @property
    def templates(self) -> list[Any]:
        """Everything that may hold placeholders."""
        return [self.argv]

    def resolve(self, values: Mapping[str, Value]) -> dict[str, Any]:
        """The part of the action that says what to start."""
        return {
            "argv": [fill(part, values) for part in self.argv],
            "cwd": self.cwd,
            "pass_env": list(self.pass_env),
        }


class HttpCall(ConfigModel):
    """A POST to a path below the address that an environment variable holds.

    `headers_env` maps header names to the environment variables that hold their whole values, so
    that no credential stands in the file or in a frozen action.
    """

    base_url_env: Variable
    path: Annotated[str, Field(pattern=r"^/"), AfterValidator(_whole_placeholders)]
    body: Annotated[dict[str, JsonValue], AfterValidator(_whole_placeholders)] = Field(
        default_factory=dict
    )
    headers_env: dict[Header, Variable] = Field(default_factory=dict)

    @property
    def templates(self) -> list[Any]:
        """Everything that may hold placeholders."""
        return [self.path, self.body]

    def resolve(self, values: Mapping[str, Value], environ: Mapping[str, str]) -> dict[str, Any]:
        """The part of the action that says what to call; ValueError as a sentence."""
        path = fill(self.path, values, quote=lambda text: quote(text, safe=""))
        if not {".", ".."}.isdisjoint(path.partition("?")[0].split("/")):
            raise ValueError(f"The path {path} leads out of its folder.")
        return {
            "method": "POST",
            "url": base_url(self.base_url_env, environ) + path,
            "base_url_env": self.base_url_env,
            "headers_env": dict(self.headers_env),
            "body": fill_json(self.body, values),
        }


class GitHubWorkflow(ConfigModel):
    """A workflow_dispatch in the task's own repository, which must be allow-listed.

    `idempotency_key_input` names the input that receives the idempotency key, if there is one.
    """

    workflow: Annotated[str, Field(pattern=r"^([A-Za-z0-9._-]+\.ya?ml|[0-9]+)$")]
    ref: Template
    inputs: dict[str, Template] = Field(default_factory=dict, max_length=24)
    idempotency_key_input: str | None = None

    @property
    def templates(self) -> list[Any]:
        """Everything that may hold placeholders."""
        return [self.ref, self.inputs]

    def resolve(self, values: Mapping[str, Value]) -> dict[str, Any]:
        """The part of the action that says what to dispatch."""
        return {
            "repo": values["github_repo"],
            "workflow": self.workflow,
            "ref": fill(self.ref, values),
            "inputs": {name: fill(text, values) for name, text in self.inputs.items()},
            "idempotency_key_input": self.idempotency_key_input,
        }


class Operation(ConfigModel):
    """One operation: what it takes, what it does, and whether doing it twice does no harm.

    Exactly one of `command`, `http` and `github_workflow` is given; that name is its executor's.
    `environments` lists where it may run, if not everywhere.
    """

    description: Annotated[str, Field(min_length=1)]
    timeout_seconds: Annotated[int, Field(ge=1, le=86_400)]
    idempotent: bool
    environments: tuple[str, ...] = ()
    arguments: dict[Name, Argument] = Field(default_factory=dict)
    command: Command | None = None
    http: HttpCall | None = None
    github_workflow: GitHubWorkflow | None = None

    @model_validator(mode="after")
    def _whole(self) -> Self:
        given = [part for part in (self.command, self.http, self.github_workflow) if part]
        if len(given) != 1:
            raise _wrong("give exactly one of command, http and github_workflow")
        declared = {f"arguments.{name}" for name in self.arguments}
        used = set(placeholders(given[0].templates))
        if unknown := sorted(used - declared - set(TASK_FIELDS)):
            known = ", ".join(sorted({*declared, *TASK_FIELDS}))
            raise _wrong(f"the placeholder {unknown[0]} is not declared; declared are {known}")
        if idle := sorted(declared - used):
            raise _wrong(f"{idle[0]} is declared and used nowhere")
        return self

    @property
    def executor(self) -> Literal["command", "http", "github_workflow"]:
        """The name of the executor that carries the operation out."""
        if self.command:
            return "command"
        return "http" if self.http else "github_workflow"

    @property
    def task_fields(self) -> list[str]:
        """The fields of the task, besides its arguments, that the operation cannot do without."""
        part = self.command or self.http or self.github_workflow
        used = set(placeholders(part.templates if part else []))
        if self.environments:
            used.add("environment")
        if self.github_workflow:
            used.add("github_repo")
        return sorted(used & set(TASK_FIELDS))


class OperationsFile(ConfigModel):
    """The whole file."""

    operations: dict[Name, Operation]


def base_url(variable: str, environ: Mapping[str, str]) -> str:
    """The http(s) address in that environment variable, no slash at its end.

    ValueError, as a sentence, where it is missing or could carry more than an address.
    """
    text = environ.get(variable, "").strip().rstrip("/")
    if not text:
        raise ValueError(f"Set {variable}: it holds the address that this operation calls.")
    try:
        parts = urlsplit(text)
        usable = parts.scheme in {"http", "https"} and parts.hostname and parts.port != 0
    except ValueError:
        usable = False
    if not usable or parts.username or parts.query or parts.fragment:
        raise ValueError(
            f"{variable} must be an http(s) address without user name, query or fragment."
        )
    return text
