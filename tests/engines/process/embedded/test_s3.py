"""S3 without Docker: a real server under the variables of its image, in both ways."""

from __future__ import annotations

import os
import sys
import time
import traceback
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

import pytest
from botocore.config import Config
from botocore.exceptions import ClientError
from botocore.session import get_session

from gigogne.core.model import Port, Service
from gigogne.engines.process.addresses import Endpoint
from gigogne.engines.process.embedded import embedded_server
from gigogne.engines.process.embedded.signature import list_buckets
from gigogne.engines.process.paths import Paths
from gigogne.errors import EngineError

from .conftest import HERE, NETWORK, THERE, Driver, Running, become_nobody, odd_endpoint, places_of, still_running

SECRET = "minio/12+345=6%"
MINIO = {"MINIO_ROOT_USER": "minio", "MINIO_ROOT_PASSWORD": SECRET, "MINIO_DEFAULT_BUCKETS": "fraud-bucket,mlflow"}
SHARED = f"{NETWORK}.9"
MB = 1 << 20


def minio(**environment: str) -> Service:
    """A service of the image, as people write it."""
    command = ("server", "/data", "--console-address", ":9001")
    return Service("minio", image="minio/minio:RELEASE.2025", command=command, environment=MINIO | environment)


def client(started: Running, key: str = "minio", secret: str = SECRET) -> Any:
    """A client as jobs have one."""
    return get_session().create_client(
        "s3",
        endpoint_url=f"http://{started.at}",
        aws_access_key_id=key,
        aws_secret_access_key=secret,
        region_name="us-east-1",
        config=Config(retries={"total_max_attempts": 1}, s3={"addressing_style": "path"}),
    )


def code(error: pytest.ExceptionInfo[ClientError]) -> str:
    """The code of an S3 error."""
    return str(error.value.response["Error"]["Code"])


@pytest.fixture(scope="module")
def running(shared: Driver) -> Running:
    """One server for the tests that leave it as it is."""
    return shared.start(minio(), SHARED)


def test_objects_survive_a_restart(driver: Driver) -> None:
    """Wanted buckets are there when it is ready; objects, also of many parts, are there after a stop and a start."""
    first = driver.start(minio())
    s3 = client(first)
    assert {bucket["Name"] for bucket in s3.list_buckets()["Buckets"]} == {"fraud-bucket", "mlflow"}
    body = os.urandom(5 * MB)
    upload = s3.create_multipart_upload(Bucket="fraud-bucket", Key="data/big.bin")["UploadId"]
    parts = [
        {
            "PartNumber": number,
            "ETag": s3.upload_part(
                Bucket="fraud-bucket", Key="data/big.bin", UploadId=upload, PartNumber=number, Body=body
            )["ETag"],
        }
        for number in range(1, 6)
    ]
    s3.complete_multipart_upload(
        Bucket="fraud-bucket", Key="data/big.bin", UploadId=upload, MultipartUpload={"Parts": parts}
    )
    s3.put_object(Bucket="mlflow", Key="é/small", Body=b"x")
    assert first.stop() == 0, first.text()
    s3 = client(driver.start(minio(MINIO_DEFAULT_BUCKETS="mlflow,another")))
    assert s3.get_object(Bucket="fraud-bucket", Key="data/big.bin")["Body"].read() == body * 5
    assert s3.get_object(Bucket="mlflow", Key="é/small")["Body"].read() == b"x"
    assert {"fraud-bucket", "mlflow", "another"} == {bucket["Name"] for bucket in s3.list_buckets()["Buckets"]}


def test_what_aws_refuses_is_refused(running: Running) -> None:
    """A missing bucket, a wrong secret, an unknown key and a stranger are errors; If-None-Match does not overwrite."""
    started = running
    s3 = client(started)
    with pytest.raises(ClientError) as error:
        s3.put_object(Bucket="missing-bucket", Key="k", Body=b"x")
    assert code(error) == "NoSuchBucket"
    with pytest.raises(ClientError) as error:
        s3.create_multipart_upload(Bucket="missing-bucket", Key="k")
    assert code(error) == "NoSuchBucket"
    for key, secret, expected in (("minio", "wrong-secret", "SignatureDoesNotMatch"), ("x", "y", "InvalidAccessKeyId")):
        with pytest.raises(ClientError) as error:
            client(started, key, secret).list_objects_v2(Bucket="mlflow")
        assert code(error) == expected
    with pytest.raises(urllib.error.HTTPError, match="403"):
        urllib.request.urlopen(f"http://{started.address}:9000/mlflow/k")
    s3.put_object(Bucket="mlflow", Key="k", Body=b"first", IfNoneMatch="*")
    with pytest.raises(ClientError) as error:
        s3.put_object(Bucket="mlflow", Key="k", Body=b"second", IfNoneMatch="*")
    assert code(error) == "PreconditionFailed"
    assert s3.get_object(Bucket="mlflow", Key="k")["Body"].read() == b"first"


def test_killed_server_recovers(driver: Driver) -> None:
    """After kill -9 of the server its objects are there; kill -9 of the process before it takes it along."""
    first = driver.start(minio())
    client(first).put_object(Bucket="mlflow", Key="k", Body=b"kept" * MB)
    server = next(process for process in first.tree if process.name() == "weed")
    server.kill()
    assert first.process.wait(20) in (137, 128 + 9)
    second = driver.start(minio())
    assert client(second).get_object(Bucket="mlflow", Key="k")["Body"].read() == b"kept" * MB
    tree = second.tree
    second.kill()
    assert still_running(tree) == [], "the server outlives the process before it"
    # Without a /tmp of its own its sockets are left there, until the next start on these data.
    left = second.sockets()
    assert bool(left) is (driver.bwrap is None)
    driver.describe(minio(), HERE)
    assert [path for path in left if path.exists()] == []


def test_two_servers_on_one_port(driver: Driver) -> None:
    """Two servers, one of each image, have port 9000, each on its own loopback address.

    Nothing else of them is open to others.
    """
    own = seaweed("mini", "-dir=/data", "-ip.bind=0.0.0.0", "-s3.port=9000", "-bucket=mlflow,two-bucket")
    both = [driver.start(minio(), HERE, "one"), driver.start(own, THERE, "two")]
    client(both[0]).put_object(Bucket="mlflow", Key="k", Body=b"x")
    assert "Contents" not in client(both[1]).list_objects_v2(Bucket="mlflow")
    assert list_buckets(Endpoint(THERE, 9000), key="minio", secret=SECRET) == {"mlflow", "two-bucket"}
    for started in both:
        public = {(started.address, 9000)}
        others = started.listening() - public
        assert public <= started.listening()
        assert {address for address, _ in others} <= ({"127.0.0.1"} if driver.bwrap is None else set())
        for address, port in sorted(others):
            assert_closed(f"http://{address}:{port}/buckets/mlflow/k")
            assert_closed(f"http://{address}:{port}/api/users")


def test_another_port_of_the_common_address(driver: Driver) -> None:
    """Where 127.0.0.1 is the only loopback address, the server answers on another port of it."""
    started = driver.start(minio(), odd_endpoint())
    client(started).put_object(Bucket="mlflow", Key="k", Body=b"x")
    assert client(started).get_object(Bucket="mlflow", Key="k")["Body"].read() == b"x"
    assert started.at in {Endpoint(*pair) for pair in started.listening()}


def assert_closed(url: str) -> None:
    """HTTP gets nothing without credentials: parts that speak gRPC only do not answer it at all."""
    try:
        with urllib.request.urlopen(url, timeout=5) as response:
            pytest.fail(f"{url}: {response.status}")
    except urllib.error.HTTPError as error:
        assert error.code in (400, 401, 403, 404, 405), url
    except OSError:
        pass
    except Exception as error:
        assert "BadStatusLine" in repr(error)


def test_no_secret_shows(shared: Driver, running: Running) -> None:
    """The secret key is on no command line and in no file, and the access key in no log."""
    client(running).put_object(Bucket="mlflow", Key="secret", Body=b"x")
    assert places_of(SECRET, running, shared.home) == []
    assert "minio" not in running.text()
    assert SECRET not in repr(running.command)


def test_stop_leaves_nothing(driver: Driver) -> None:
    """A stop with a client connected takes few seconds, and leaves no process and no socket."""
    started = driver.start(minio())
    s3 = client(started)
    s3.list_buckets()
    tree = started.tree
    begun = time.monotonic()
    assert started.stop() == 0, started.text()
    assert time.monotonic() - begun < 6
    assert still_running(tree) == []
    assert [path for path in driver.home.rglob("*") if path.is_socket()] == []
    assert started.sockets() == []


def test_change_of_way(driver: Driver) -> None:
    """Objects written in one way are read in the other: user namespaces may be denied one day."""
    if driver.bwrap is None:
        pytest.skip("once is enough")
    first = driver.start(minio())
    client(first).put_object(Bucket="mlflow", Key="k", Body=b"x")
    first.stop()
    driver.bwrap = None
    second = driver.start(minio())
    assert client(second).get_object(Bucket="mlflow", Key="k")["Body"].read() == b"x"
    client(second).put_object(Bucket="mlflow", Key="k", Body=b"y")
    assert client(second).get_object(Bucket="mlflow", Key="k")["Body"].read() == b"y"


def test_many_buckets(shared: Driver, running: Running) -> None:
    """Many small buckets fit: a bucket does not reserve room that others need, nor fill the disk."""
    s3 = client(running)
    for number in range(12):
        s3.create_bucket(Bucket=f"bucket-{number}")
        s3.put_object(Bucket=f"bucket-{number}", Key="k", Body=b"x" * 1000)
    files = [path for path in (shared.home / "volume").rglob("*") if path.is_file()]
    assert sum(path.stat().st_blocks * 512 for path in files) < 10 * MB


def seaweed(*command: str, bucket: str = "") -> Service:
    """A service of the image of SeaweedFS."""
    environment = {"AWS_ACCESS_KEY_ID": "minio", "AWS_SECRET_ACCESS_KEY": SECRET, "S3_BUCKET": bucket}
    return Service("minio", image="chrislusf/seaweedfs:4.48", command=command or None, environment=environment)


def test_foreign_server_is_told_apart(shared: Driver, running: Running) -> None:
    """Another server's refusal of the credentials is an error, not a wait; and its port is taken."""
    with pytest.raises(EngineError, match="refuses the credentials"):
        shared.server(minio()).ready(minio(MINIO_ROOT_PASSWORD="another1"), running.at)
    with pytest.raises(EngineError, match=f"port 9000 of {SHARED} is taken by"):
        shared.describe(minio(), SHARED, "other")


def test_unused_address_is_not_ready() -> None:
    """Nothing there: not ready, and no error."""
    server = embedded_server("minio/minio")
    assert server
    assert not server.ready(minio(), Endpoint(THERE, 9000))


def fatal(service: Service) -> list[str]:
    """What it refuses."""
    server = embedded_server(service.image)
    assert server
    return [str(found) for found in server.check(service) if found.fatal]


def test_check() -> None:
    """What cannot be honoured is refused by its key; a console is said to be missing."""
    server = embedded_server("registry.example/minio/minio")
    assert server
    assert server.data_target(minio()) == "/data"
    assert any("console" in str(found) for found in server.check(minio()))
    assert not fatal(minio())
    assert not fatal(Service("s", image="minio/minio"))
    assert fatal(minio(MINIO_ROOT_PASSWORD="short"))
    assert fatal(minio(MINIO_DEFAULT_BUCKETS="Not A Bucket"))
    assert fatal(Service("s", image="minio/minio", command=("server", "/data{1...4}")))
    assert fatal(Service("s", image="minio/minio", command=("server", "/data", "--address", ":9999")))
    assert fatal(Service("s", image="minio/minio", command=("gateway",)))
    assert fatal(Service("s", image="minio/minio", entrypoint=("sh", "-c", "x")))
    server = embedded_server("chrislusf/seaweedfs")
    assert server
    assert server.port(seaweed()) == 8333
    assert fatal(seaweed("server", "-s3"))
    assert fatal(seaweed("mini", "-s3.config=/etc/x"))
    assert not fatal(seaweed("mini", "-admin.port=9001"))
    assert len(fatal(Service("s", image="chrislusf/seaweedfs"))) == 2
    with_console = Service("s", image="chrislusf/seaweedfs", command=("mini", "-admin.port=9001"), ports=(Port(9001),))
    seaweedfs = embedded_server(with_console.image)
    assert seaweedfs
    assert any("console" in str(found) for found in seaweedfs.check(with_console))


@pytest.mark.skipif(sys.platform == "win32" or os.geteuid() != 0, reason="only root can become another user")
def test_as_an_ordinary_user(running: Running, paths: Paths, home: Path, bwrap: Path | None) -> None:
    """An ordinary user gets the same, in both ways."""
    client(running).put_object(Bucket="mlflow", Key="k", Body=b"x")  # imports what nobody could not, in /root
    code = os.fork()
    if code == 0:
        result = 1
        try:
            become_nobody(home)
            sys.executable = "/usr/bin/python3"  # this one may lie in /root
            mine = Driver(paths, home, bwrap)
            started = mine.start(minio(), f"{NETWORK}.4")
            client(started).put_object(Bucket="mlflow", Key="k", Body=b"x")
            result = started.stop()
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(result)
    assert os.waitstatus_to_exitcode(os.waitpid(code, 0)[1]) == 0
