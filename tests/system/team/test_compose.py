"""docker-compose.yml and the Dockerfile, as far as that can be seen without an engine."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.helpers import compose

WHOLE = compose.loaded(compose.with_secrets())
SERVICES = WHOLE["services"]
OURS = {name for name, service in SERVICES.items() if service["image"] == "mt-sweeps"}
# What the images that we do not build read; of PostgreSQL's, its page on Docker Hub tells.
_POSTGRES_IMAGE = {"POSTGRES_USER", "POSTGRES_DB", "POSTGRES_PASSWORD", "POSTGRES_INITDB_ARGS"}


def tool(*command):
    binaries = Path(sys.executable).parent
    return subprocess.run([binaries / command[0], *command[1:]], capture_output=True, text=True, cwd=compose.ROOT)


def test_the_file_follows_the_schema_of_compose():
    done = tool("check-jsonschema", "--builtin-schema", "vendor.compose-spec", "docker-compose.yml")
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_linter_has_nothing_to_say_of_the_dockerfile():
    done = tool("hadolint", "Dockerfile")
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("name", sorted(compose.required()))
def test_without_a_secret_nothing_starts(name):
    given = {**compose.example(), **dict.fromkeys(compose.required(), "x")}
    with pytest.raises(compose.Missing, match=f"set {name} in .env"):
        compose.loaded({**given, name: ""})


def test_the_example_names_every_variable_and_holds_no_secret():
    example = compose.example()
    assert {name for name, value in example.items() if not value} == compose.required()
    used = set(compose._VARIABLE.findall(compose.FILE.read_text()))
    assert set(example) <= {name for name, _, _ in used}, "a variable that nothing reads"


def test_only_mlflow_and_the_dashboard_are_published_and_on_loopback():
    published = {name: service["ports"] for name, service in SERVICES.items() if "ports" in service}
    assert published == {"mlflow": ["127.0.0.1:5000:5000"], "head": ["127.0.0.1:8265:8265"]}


def test_every_service_restarts_is_limited_and_is_looked_after():
    for name, service in SERVICES.items():
        assert service["restart"] in ("unless-stopped", "on-failure"), name
        assert service["deploy"]["resources"]["limits"]["memory"], name
        assert "no-new-privileges:true" in service["security_opt"], name
        assert service["cap_drop"] == ["ALL"], name
        assert "cap_add" not in service, name
        # Our own image says in the Dockerfile that it does not run as root.
        assert service.get("user", "1000").split(":")[0] not in ("0", "root"), name
        assert ("user" in service) == (name not in OURS), name
        assert ("healthcheck" in service) != (name == "buckets"), name
        for volume in service.get("volumes", []):
            source = volume.split(":")[0]
            assert source in WHOLE["volumes"] or source.startswith("./"), name
        assert set(service["networks"]) <= set(WHOLE["networks"]), name


def test_services_start_in_the_order_in_which_they_need_each_other():
    for name, service in SERVICES.items():
        for other, how in service.get("depends_on", {}).items():
            done = "service_healthy" if "healthcheck" in SERVICES[other] else "service_completed_successfully"
            assert how == {"condition": done}, (name, other)
    assert SERVICES["gpu"]["deploy"]["resources"]["reservations"]["devices"][0]["capabilities"] == ["gpu"]
    assert {service for service, about in SERVICES.items() if "profiles" in about} == {"gpu", "cpu"}


def test_the_image_runs_without_root_and_checks_the_hash_of_every_package():
    lines = (compose.ROOT / "Dockerfile").read_text().splitlines()
    assert [line for line in lines if line.startswith("USER ")][-1] == "USER 1000"
    assert [line for line in lines if "pip install" in line] == [
        "RUN pip install --no-cache-dir --require-hashes --requirement requirements.txt",
        "RUN pip install --no-cache-dir --no-build-isolation --no-deps .",
    ]


def test_foreign_images_are_named_by_their_digests():
    foreign = [service["image"] for name, service in SERVICES.items() if name not in OURS]
    base = (compose.ROOT / "Dockerfile").read_text()
    foreign += re.findall(r"^FROM (.*)$", base, re.MULTILINE)
    assert len(foreign) == 3
    assert all(re.fullmatch(r"[a-z/]+:[a-z0-9.-]+@sha256:[0-9a-f]{64}", image) for image in foreign)


def test_the_head_says_which_server_its_password_is_for():
    head = SERVICES["head"]["environment"]
    assert head["MLFLOW_TRACKING_URI"] == "http://mlflow:5000"
    assert "MLFLOW_TRACKING_PASSWORD" in head


def test_trials_are_given_what_they_need_and_no_more():
    for name in ("gpu", "cpu"):
        assert not {"PGPASSWORD", "MLFLOW_TRACKING_PASSWORD"} & set(SERVICES[name]["environment"])
        assert "state" not in SERVICES[name]["networks"]


def test_no_secret_is_on_a_command_line():
    for name, service in SERVICES.items():
        words = [service.get("command", ""), service.get("entrypoint", ""), service.get("healthcheck", "")]
        assert "secret-" not in str(words), name


def test_every_setting_is_one_that_some_code_reads():
    import botocore.credentials
    import mlflow.cli
    import mlflow.environment_variables as of_mlflow
    import psycopg
    from ray._private import ray_constants

    from mt_sweeps.storage import folder

    mlflow_server = {option.envvar for option in mlflow.cli.server.params if getattr(option, "envvar", None)}
    sources = [compose.ROOT / "mt_sweeps/storage/file_store.py", Path(botocore.credentials.__file__)]
    of_ray = Path(ray_constants.__file__).parents[1]
    sources += [of_ray / "autoscaler/_private/constants.py", of_ray / "dashboard/consts.py"]
    ray_config = of_ray / "_raylet.so"
    weed = (Path(sys.executable).parent / "weed").read_bytes()
    written = "".join(source.read_text() for source in sources)
    for name, service in SERVICES.items():
        for variable in service.get("environment", {}):
            if name == "postgres":
                assert variable in _POSTGRES_IMAGE
            elif variable.startswith("MLFLOW_"):
                assert variable in mlflow_server or hasattr(of_mlflow, variable), variable
            elif variable.startswith("PG"):
                known = {option.envvar for option in psycopg.pq.Conninfo.get_defaults()}
                assert variable.encode() in known
            elif variable.startswith("RAY_"):
                setting = variable.removeprefix("RAY_").encode()
                assert setting in ray_config.read_bytes(), variable
            elif variable.endswith("_METRIC_PORT"):
                assert f'"{variable}"' in written, variable
            elif variable.startswith("WEED_"):
                setting = variable.removeprefix("WEED_").lower().encode()
                assert re.search(setting.replace(b"_", b"[._]"), weed), variable
            elif variable.startswith("AWS_"):
                assert f'"{variable}"' in written or f"'{variable}'" in written, variable
            else:
                assert variable == folder.HOME_VARIABLE


@pytest.mark.filterwarnings("ignore:Using extra keyword arguments")  # what Ray's programs bring along
def test_every_option_is_one_that_the_program_has():
    import mlflow.cli
    from ray.scripts import scripts as ray

    programs = {"mlflow": mlflow.cli.server, "ray": ray.start}
    for name in OURS - {"buckets"}:
        program, _, *words = SERVICES[name]["command"]
        known = {option for parameter in programs[program].params for option in parameter.opts}
        given = {word.split("=")[0] for word in words if str(word).startswith("--")}
        assert given <= known, name
    weed = tool("weed", "server", "-h")
    known = set(re.findall(r"^  (-[\w.]+)", weed.stdout + weed.stderr, re.MULTILINE))
    assert {word.split("=")[0] for word in SERVICES["store"]["command"].split()[1:]} <= known
