"""What the tests of both drift jobs share: a registry that is stood in for, a folder on S3, and a look."""

from __future__ import annotations

import json
import subprocess
import uuid
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from typing import Any, ClassVar

import pytest
from tests.stack.catalog.conftest import Relay
from tests.stack.conftest import S3
from tests.stack.monitoring.standin import StandIn

from job.errors import JobError

__all__ = ["Registry", "World", "ends_at_sigterm", "is_whole_or_not_there"]


@dataclass
class Registry:
    """What the stand-in for MLflow says: the champion's version, what it learned from, and its files."""

    files: dict[str, bytes]
    version: int
    sha256: str = ""
    promoted: bool = True

    def answer(self, method: str, path: str) -> tuple[int, bytes]:
        """As MLflow's REST API does."""
        if "/mlflow-artifacts/" in path:
            return 200, self.files[path.rpartition("/")[2]]
        if "get-download-uri" in path:
            return 200, b'{"artifact_uri": "mlflow-artifacts:/1/models/m-1/artifacts"}'
        if not self.promoted:
            return 404, b'{"error_code": "RESOURCE_DOES_NOT_EXIST"}'
        tags = [{"key": "data_sha256", "value": self.sha256}]
        said = {"version": str(self.version), "run_id": "r", "creation_timestamp": 1_700_000_000_000, "tags": tags}
        return 200, json.dumps({"model_version": said}).encode()


@dataclass
class World(ABC):
    """All that a look needs, and the job itself.

    Attributes:
        s3: Where samples and verdicts are.
        registry: What MLflow says.
        mlflow: Where it says it.
        folder: What is the test's own of the bucket.
    """

    s3: S3
    registry: Registry
    mlflow: StandIn
    folder: str = field(default_factory=lambda: f"t{uuid.uuid4().hex[:10]}", init=False)

    # The program, and the bucket of its verdicts.
    MODULE: ClassVar[str]
    BUCKET: ClassVar[str]

    @property
    def settings(self) -> dict[str, str]:
        """The variables of the job."""
        return {**self.s3.environment, "MLFLOW_TRACKING_URI": self.mlflow.address, **self.own_settings}

    @property
    @abstractmethod
    def own_settings(self) -> dict[str, str]:
        """Those that one project's job has."""

    @abstractmethod
    def looks(self) -> str:
        """A look by the settings of this process."""

    @property
    def target(self) -> str:
        """Where verdicts go, in the bucket."""
        return f"{self.folder}/drift"

    def look(self, **variables: str) -> str:
        """A look, without a process of its own: what it says on stdout.

        Raises:
            JobError: What it says on stderr.
        """
        with pytest.MonkeyPatch.context() as patch:
            for name, value in {**self.settings, **variables}.items():
                patch.setenv(name, value)
            return self.looks()

    def put(self, key: str, body: bytes) -> None:
        """Write an object."""
        client = self.s3.client()
        client.put_object(Bucket=self.BUCKET, Key=key, Body=body)
        client.close()

    def put_verdict(self, body: bytes, name: str = "latest.json") -> None:
        """Write what a look before has left."""
        self.put(f"{self.target}/{name}", body)

    def objects(self) -> dict[str, bytes]:
        """What the job has written, by name under its folder."""
        client, prefix, bucket = self.s3.client(), f"{self.target}/", self.BUCKET
        keys = [each["Key"] for each in client.list_objects_v2(Bucket=bucket, Prefix=prefix).get("Contents", [])]
        found = {key: client.get_object(Bucket=bucket, Key=key)["Body"].read() for key in keys}
        client.close()
        return {key.removeprefix(prefix): body for key, body in found.items()}

    def latest(self) -> dict[str, Any]:
        """The newest verdict."""
        found: dict[str, Any] = json.loads(self.objects()["latest.json"])
        return found


def is_whole_or_not_there(world: World, cuts: Sequence[int]) -> None:
    """S3 goes away so many bytes before a look's end, in the report first: what is pointed at is always whole."""
    server = world.s3.endpoint.removeprefix("http://")
    with closing(Relay(server)) as whole:
        world.look(AWS_ENDPOINT_URL=f"http://{whole.address}")
    before = world.latest()
    for left in cuts:
        with closing(Relay(server, cut_after=whole.passed - left)) as relay:
            with pytest.raises(JobError, match="cannot reach S3"):
                world.look(AWS_ENDPOINT_URL=f"http://{relay.address}")
            assert relay.reached.is_set()
        objects, now = world.objects(), world.latest()
        assert now["report"].removeprefix(f"s3://{world.BUCKET}/{world.target}/") in objects
        assert left < cuts[0] or now == before


def ends_at_sigterm(world: World, start: Callable[..., subprocess.Popen[str]]) -> None:
    """Within seconds, with exit code 143, in the middle of an answer that does not come."""
    hanging = Relay(world.s3.endpoint.removeprefix("http://"), hold_after=0)
    job = start(world.MODULE, **{**world.settings, "AWS_ENDPOINT_URL": f"http://{hanging.address}"})
    assert hanging.reached.wait(60)
    job.terminate()
    assert job.wait(10) == 143
    hanging.mend()
    hanging.close()
    assert world.objects() == {}
