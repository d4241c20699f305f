"""The compose file says what the images, the README and the other files need it to say."""

import importlib.metadata
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests.hitl_project import compose
from tests.hitl_project.dockerfile import Ignored, instructions, sent

ROOT = Path(__file__).resolve().parents[2]
DOCKERFILE = ROOT / "deploy" / "Dockerfile"
GATEWAY = ("web", "worker-runs", "worker-channels", "worker-sweeps", "beat", "migrate")
# Documented, and of no use in a container, because ...
NOT_PASSED = {
    "PORT": "the port inside never changes; the one outside is the compose file's own",
    "HITL_DATA_DIR": "the image names a folder that can be written",
    "HITL_CONFIG_DIR": "the folder is mounted where the image looks",
    "HITL_DATABASE_POOL": "`web` sets it",
    "HITL_DEMO": "`make run` alone reads it",
    "HITL_PROMETHEUS": "`make run` alone reads it",
    "HITL_METRICS_NETWORKS": "behind a published port everybody has the engine's address",
    "DATABASE_OWNER_URL": "for `migrate` alone",
    "PROMETHEUS_MULTIPROC_DIR": "`web` makes a folder of its own",
    "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "the other one is passed, and either is enough",
}
_UNITS = {"s": 1, "m": 60, "h": 3600}


@pytest.fixture(scope="module")
def values() -> dict[str, str]:
    """A value for every variable of the compose file."""
    return dict.fromkeys(compose.variables(compose.COMPOSE.read_text()), "7")


@pytest.fixture(scope="module")
def services(values: dict[str, str]) -> dict[str, dict[str, Any]]:
    """The services with every variable replaced."""
    return compose.services(values)


def faults(document: Path) -> str:
    """Return what check-jsonschema, which carries the published schema, finds; empty for none."""
    program = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", "vendor.compose-spec"]
    done = subprocess.run(  # noqa: S603
        [*program, str(document)], capture_output=True, text=True, check=False
    )
    return "" if done.returncode == 0 else f"{done.stdout}{done.stderr}"


def test_the_compose_file_fits_the_published_schema(
    services: dict[str, dict[str, Any]], tmp_path: Path
) -> None:
    assert faults(compose.COMPOSE) == ""
    replaced, wrong = tmp_path / "replaced.yaml", tmp_path / "wrong.yaml"
    replaced.write_text(yaml.safe_dump(compose.written() | {"services": services}))
    assert faults(replaced) == ""
    wrong.write_text(yaml.safe_dump({"services": {"web": {"image": "x", "restarts": "always"}}}))
    assert "'restarts'" in faults(wrong)


def test_all_parts_of_the_gateway_and_what_watches_it_are_services(
    services: dict[str, dict[str, Any]],
) -> None:
    others = {"postgres", "redis", "prometheus", "alertmanager", "grafana"}
    assert set(services) == {*GATEWAY, *others}


@pytest.mark.parametrize(
    "name",
    [name for name, asked in compose.variables(compose.COMPOSE.read_text()).items() if asked],
)
def test_a_required_variable_that_is_missing_is_asked_for_in_a_sentence(
    values: dict[str, str], name: str
) -> None:
    with pytest.raises(compose.MissingVariableError, match=rf"{name}: [A-Z].+ .+\.$"):
        compose.services({**values, name: ""})


def test_the_example_names_every_variable_and_holds_no_secret() -> None:
    asked_for = compose.variables(compose.COMPOSE.read_text())
    example = compose.example()
    assert set(example) == set(asked_for)
    secret = re.compile("PASSWORD|SECRET|TOKEN|API_KEY")
    assert {name for name, value in example.items() if value and secret.search(name)} == set()


def test_every_variable_of_the_gateway_is_known_to_the_readme_and_the_other_way_round(
    services: dict[str, dict[str, Any]],
) -> None:
    readme = (ROOT / "README.md").read_text()
    documented = set(re.findall(r"^\| `([A-Z][A-Z0-9_]+)`", readme, re.MULTILINE))
    for name in GATEWAY:
        passed = {key for key in services[name]["environment"] if not key.startswith("OTEL_")}
        assert passed - documented == set(), name
        assert documented - passed - set(NOT_PASSED) - {"OTEL_EXPORTER_OTLP_ENDPOINT"} == set()
    assert set(NOT_PASSED) - documented == set()


def test_every_mounted_file_is_there_and_cannot_be_written(
    services: dict[str, dict[str, Any]],
) -> None:
    mounts = [mount for service in services.values() for mount in service.get("volumes", [])]
    ours = [mount for mount in mounts if mount.startswith(".")]
    assert len(ours) >= 8
    assert [mount for mount in ours if not mount.endswith(":ro")] == []
    for service in services.values():
        assert [path for path in compose.bind_mounts(service).values() if not path.exists()] == []
    named = {mount.split(":")[0] for mount in mounts if not mount.startswith(".")}
    assert named == set(compose.written()["volumes"])


def test_only_web_and_grafana_are_published_and_only_to_this_machine(
    services: dict[str, dict[str, Any]],
) -> None:
    published = {name: service["ports"] for name, service in services.items() if "ports" in service}
    assert set(published) == {"web", "grafana"}
    assert all(port.startswith("127.0.0.1:") for ports in published.values() for port in ports)
    networks = compose.written()["networks"]
    open_to_outside = {name for name, network in networks.items() if not network.get("internal")}
    closed = ("postgres", "redis", "prometheus", "beat", "migrate")
    assert [name for name in closed if open_to_outside & set(services[name]["networks"])] == []


def test_every_service_is_confined(services: dict[str, dict[str, Any]]) -> None:
    for name, service in services.items():
        assert service["read_only"] is True, name
        assert service["cap_drop"] == ["ALL"], name
        assert "cap_add" not in service, name
        assert service["security_opt"] == ["no-new-privileges:true"], name
        assert "privileged" not in service, name
        assert set(service["deploy"]["resources"]["limits"]) == {"cpus", "memory"}, name


def test_every_image_is_pinned_to_a_minor_version(services: dict[str, dict[str, Any]]) -> None:
    bases = {arguments.split()[0] for name, arguments in instructions(DOCKERFILE) if name == "FROM"}
    assert len(bases) == 1
    others = {service["image"] for name, service in services.items() if name not in GATEWAY}
    for image in bases | others:
        assert re.fullmatch(r"[a-z/]+:v?\d+\.\d+(\.\d+)?(-[a-z0-9.-]+)?", image), image
    assert {services[name]["image"] for name in GATEWAY} == {"approval-gateway:local"}


def test_every_service_that_stays_has_a_health_check_and_starts_again(
    services: dict[str, dict[str, Any]],
) -> None:
    checked_by_the_image = any(name == "HEALTHCHECK" for name, _ in instructions(DOCKERFILE))
    for name, service in services.items():
        if name == "migrate":
            assert (service["restart"], service["healthcheck"]) == ("no", {"disable": True})
            continue
        assert service["restart"] == "unless-stopped", name
        assert "test" in service.get("healthcheck", {}) or (name == "web" and checked_by_the_image)


def test_the_gateway_starts_once_its_servers_answer_and_the_tables_are_there(
    services: dict[str, dict[str, Any]],
) -> None:
    for name in GATEWAY:
        waits_for = {key: value["condition"] for key, value in services[name]["depends_on"].items()}
        if name == "migrate":
            assert waits_for == {"postgres": "service_healthy"}
        else:
            assert waits_for == {
                "migrate": "service_completed_successfully",
                "postgres": "service_healthy",
                "redis": "service_healthy",
            }


def test_only_migrate_knows_the_owner_of_the_tables(services: dict[str, dict[str, Any]]) -> None:
    knows = [name for name in GATEWAY if "DATABASE_OWNER_URL" in services[name]["environment"]]
    assert knows == ["migrate"]


def test_postgresql_logs_no_statement_whose_values_may_be_secrets_of_a_task(
    services: dict[str, dict[str, Any]],
) -> None:
    assert services["postgres"]["command"] == ["postgres", "-c", "log_min_error_statement=panic"]


def test_a_worker_that_stops_has_the_time_of_the_longest_action(
    services: dict[str, dict[str, Any]],
) -> None:
    operations = yaml.safe_load((ROOT / "config/hitl/operations.yaml").read_text())["operations"]
    longest = max(operation["timeout_seconds"] for operation in operations.values())
    given = services["worker-runs"]["stop_grace_period"]
    assert int(given[:-1]) * _UNITS[given[-1]] >= longest + 30


def test_before_an_upgrade_every_process_that_decides_or_acts_is_stopped() -> None:
    readme = (compose.DEPLOY / "README.md").read_text()
    (stopped,) = re.findall(r"^ *compose stop (.+)$", readme, re.MULTILINE)
    assert set(stopped.split()) == set(GATEWAY) - {"migrate"}


def test_prometheus_asks_the_web_server_and_tells_alertmanager() -> None:
    config = yaml.safe_load((compose.DEPLOY / "prometheus" / "prometheus.yml").read_text())
    (job,) = config["scrape_configs"]
    assert job["static_configs"] == [{"targets": ["web:8000"]}]
    (alertmanager,) = config["alerting"]["alertmanagers"]
    assert alertmanager["static_configs"] == [{"targets": ["alertmanager:9093"]}]
    written = compose.written()["services"]
    (port,) = written["web"]["ports"]
    assert port.endswith(":8000")
    for asked, asking in (("web", "prometheus"), ("alertmanager", "prometheus")):
        assert set(written[asked]["networks"]) & set(written[asking]["networks"])
    assert "web" in written["web"]["environment"]["ALLOWED_HOSTS"].split(",")


def test_prometheus_is_configured_as_everywhere_else_but_for_who_is_asked() -> None:
    def shared(path: Path) -> dict[str, Any]:
        config: dict[str, Any] = yaml.safe_load(path.read_text())
        for part in (*config["scrape_configs"], *config["alerting"]["alertmanagers"]):
            for key in ("static_configs", "file_sd_configs", "authorization"):
                part.pop(key, None)
        return config

    ours = shared(compose.DEPLOY / "prometheus" / "prometheus.yml")
    assert ours == shared(ROOT / "config" / "prometheus" / "prometheus.yml")


def test_grafana_gets_every_variable_of_its_data_sources(
    services: dict[str, dict[str, Any]],
) -> None:
    provisioning = ROOT / "config" / "grafana" / "provisioning"
    read = {
        name
        for path in provisioning.rglob("*.yml")
        for line in path.read_text().splitlines()
        if not line.lstrip().startswith("#")
        for name in re.findall(r"\$\{?([A-Z_]+)", line)
    }
    given = services["grafana"]["environment"]
    assert read == {name for name in given if not name.startswith("GF_")}
    (provider,) = yaml.safe_load((provisioning / "dashboards" / "hitl.yml").read_text())[
        "providers"
    ]
    assert provider["options"]["path"] in compose.bind_mounts(services["grafana"])


def requirements_of(names: Iterable[str]) -> set[str]:
    """The packages that these requirements lead to, as installed here."""
    reached: set[tuple[str, frozenset[str]]] = set()
    waiting = [Requirement(name) for name in names]
    while waiting:
        wanted = waiting.pop()
        key = (canonicalize_name(wanted.name), frozenset(wanted.extras))
        if key in reached:
            continue
        reached.add(key)
        for requirement in map(Requirement, importlib.metadata.requires(wanted.name) or []):
            extras = [{"extra": extra} for extra in ("", *wanted.extras)]
            if requirement.marker is None or any(map(requirement.marker.evaluate, extras)):
                waiting.append(requirement)
    return {name for name, _ in reached}


def test_the_image_leaves_out_all_that_only_make_run_needs_and_nothing_else() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    lock = (ROOT / "requirements.lock").read_text()
    locked = {canonicalize_name(name) for name in re.findall(r"^([\w.-]+)==", lock, re.MULTILINE)}
    local = requirements_of(project["optional-dependencies"]["local"])
    needed = requirements_of(project["dependencies"])
    (install,) = [text for name, text in instructions(DOCKERFILE) if "uninstall" in text]
    left_out = set(install.partition("--yes ")[2].split())
    assert left_out <= locked
    assert left_out & needed == set()
    # Not equal: what a requirement's marker excludes on this machine is not known here.
    assert (local & locked) - needed <= left_out


@pytest.mark.parametrize(
    "path",
    [
        *(".env", "deploy/.env", "deploy/compose.yaml", ".git/config", ".venv/pyvenv.cfg"),
        *("var/secrets.json", "tests/conftest.py", "sandbox/app.py", "README.md"),
        *("agents/__pycache__/models.cpython-312.pyc", "hitl_project/settings.pyc"),
    ],
)
def test_the_build_is_not_sent(path: str) -> None:
    assert Ignored(ROOT).keeps_out(Path(path))


def test_the_build_is_sent_every_package_of_the_gateway() -> None:
    found = {path.parts[0] for path in sent(ROOT)}
    code = {"agents", "approvals", "hitl_project", "integrations", "sandbox", "deploy"}
    assert found == {*code, "config", "static", "templates", "manage.py", "requirements.lock"}
