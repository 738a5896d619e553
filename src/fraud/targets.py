"""Where an extract goes: S3 objects or files, each replaced whole when all of it is there, or left as it was."""

from __future__ import annotations

import os
import uuid
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import quote, unquote, urlsplit

from job.errors import JobError, SettingError
from job.program import undisturbed

__all__ = ["FileTarget", "S3Target", "Store", "Target", "beside", "name_of", "part_size"]

MIB = 1024 * 1024
SMALLEST_PART, LARGEST_PART = 5 * MIB, 5 * 1024 * MIB
PARTS_PER_SIZE = 900
UPLOADS_AT_ONCE = 3
ABANDONED_AFTER = timedelta(days=1)
# Credentials that may only write are told so of any object, and a missing one is "forbidden" to them.
NOT_TO_BE_READ = frozenset({"NoSuchKey", "404", "AccessDenied", "403"})


class Target(Protocol):
    """Something that takes bytes and then either all of them appear, or none."""

    def open(self) -> None:
        """Make ready, and find out whether it can be written to."""

    def write(self, data: bytes | memoryview) -> None:
        """Take some more bytes."""

    def finish(self) -> None:
        """Send the last bytes; nothing is visible yet."""

    def commit(self) -> None:
        """Replace what was there."""

    def abort(self) -> None:
        """Leave what was there, and nothing else."""


def name_of(where: str) -> str:
    """The name of an object or a file, without what it lies in."""
    named = _parse(where)
    return named.name if isinstance(named, Path) else named[1].rpartition("/")[2]


def beside(where: str, *names: str) -> str:
    """The address of something beside ``where``, or in a folder beside it."""
    if where.startswith("file://"):
        names = tuple(map(quote, names))
    if "://" in where:
        return "/".join((where.rpartition("/")[0], *names))
    return str(Path(where).parent.joinpath(*names))


class Store:
    """The file system, and the S3 that the ``AWS_*`` variables name: one client for all of its objects."""

    def __init__(self) -> None:
        self._client: Any = None

    def target(self, where: str) -> Target:
        """The target, not opened yet, that ``where`` names: ``s3://bucket/key``, ``file:///path`` or a path."""
        named = _parse(where)
        return FileTarget(named) if isinstance(named, Path) else S3Target(self._s3, *named)

    def read(self, where: str) -> bytes | None:
        """What is there; None where nothing is, or nothing that these credentials may read."""
        named = _parse(where)
        if isinstance(named, Path):
            return named.read_bytes() if named.is_file() else None
        found = self._ask("get_object", *named)
        return None if found is None else bytes(found["Body"].read())

    def length(self, where: str) -> int | None:
        """How many bytes are there; None as for ``read``."""
        named = _parse(where)
        if isinstance(named, Path):
            return named.stat().st_size if named.is_file() else None
        found = self._ask("head_object", *named)
        return None if found is None else int(found["ContentLength"])

    def _s3(self) -> Any:
        self._client = self._client or _client()
        return self._client

    def _ask(self, method: str, bucket: str, key: str) -> dict[str, Any] | None:
        from botocore.exceptions import ClientError

        try:
            answer: dict[str, Any] = getattr(self._s3(), method)(Bucket=bucket, Key=key)
        except ClientError as error:
            if str(error.response.get("Error", {}).get("Code", "")) in NOT_TO_BE_READ:
                return None
            raise _explained(error, self._s3(), bucket, key) from None
        except Exception as error:
            raise _explained(error, self._client, bucket, key) from None
        return answer


def _parse(where: str) -> Path | tuple[str, str]:
    """A path, or a bucket and a key."""
    if where.startswith("s3://"):
        bucket, _, key = where.removeprefix("s3://").partition("/")
        if not bucket or not key or key.endswith("/"):
            raise SettingError(f"EXTRACTOR_TARGET={where!r} names no object: write s3://bucket/path/file.csv")
        return bucket, key
    if where.startswith("file://"):
        return Path(unquote(urlsplit(where).path))
    if "://" in where:
        raise SettingError(f"EXTRACTOR_TARGET={where!r} is neither s3://bucket/key nor a path")
    return Path(where)


def part_size(number: int) -> int:
    """The size of part ``number`` (from 1): 5 MiB, the least that S3 takes, doubled every 900 parts.

    S3 takes 10,000 parts at most. This way they hold more than the 5 TiB of an object, none is larger than the 5 GiB
    of a part, and extracts of less than 4.7 GB never keep more than four parts of 5 MiB in memory.
    """
    return min(SMALLEST_PART << ((number - 1) // PARTS_PER_SIZE), LARGEST_PART)


class FileTarget:
    """A local file: written beside its name, then renamed."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex}.tmp")

    def open(self) -> None:
        """Open the temporary file."""
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            self._file = self._temporary.open("xb")
        except OSError as error:
            raise self._explain(error) from None

    def write(self, data: bytes | memoryview) -> None:
        """Take some more bytes."""
        try:
            self._file.write(data)
        except OSError as error:
            raise self._explain(error) from None

    def finish(self) -> None:
        """Put the bytes on the disk."""
        try:
            self._file.flush()
            os.fsync(self._file.fileno())
            self._file.close()
        except OSError as error:
            raise self._explain(error) from None

    def commit(self) -> None:
        """Rename over what was there."""
        try:
            self._temporary.replace(self._path)
        except OSError as error:
            raise self._explain(error) from None

    def abort(self) -> None:
        """Remove the temporary file."""
        with suppress(OSError, AttributeError):
            self._file.close()
        with suppress(OSError):
            self._temporary.unlink(missing_ok=True)

    def _explain(self, error: OSError) -> JobError:
        return JobError(f"cannot write {self._path}: {error.strerror}; it is left as it was")


class S3Target:
    """An S3 object: a multipart upload, which replaces the object when it is completed.

    The upload is opened at once, so that a wrong bucket or credential shows before any work is done. Parts
    travel in threads while the next one fills; at most three do, so memory does not grow with the object.
    """

    def __init__(self, connect: Callable[[], Any], bucket: str, key: str) -> None:
        self._connect = connect
        self._bucket, self._key = bucket, key
        self._number = 1
        self._buffer, self._filled = bytearray(part_size(1)), 0
        self._spare: list[bytearray] = []
        self._parts: list[dict[str, Any]] = []
        self._travelling: deque[Future[tuple[dict[str, Any], bytearray]]] = deque()
        self._client: Any = None
        self._threads = ThreadPoolExecutor(UPLOADS_AT_ONCE, thread_name_prefix="upload")
        self._upload: Future[str] | None = None

    def open(self) -> None:
        """Open the upload."""
        try:
            self._client = self._connect()
            self._abort_abandoned()
            # In a thread: a signal must not lose the name of an upload that S3 has opened.
            with undisturbed():
                self._upload = self._threads.submit(self._create)
            self._upload.result()
        except Exception as error:
            raise self._explain(error) from None

    def write(self, data: bytes | memoryview) -> None:
        """Take some more bytes; send a part when there are enough."""
        data = memoryview(data)
        while data:
            taken = data[: len(self._buffer) - self._filled]
            with memoryview(self._buffer) as buffer:
                buffer[self._filled : self._filled + len(taken)] = taken
            self._filled += len(taken)
            data = data[len(taken) :]
            if self._filled == len(self._buffer):
                self._send(self._buffer)
                self._number += 1
                self._buffer, self._filled = self._empty_buffer(), 0

    def finish(self) -> None:
        """Send the last part and wait until all have arrived."""
        if self._filled or self._number == 1:
            self._send(self._buffer[: self._filled])
        while self._travelling:
            self._arrived()

    def commit(self) -> None:
        """Complete the upload: the object is replaced now."""
        try:
            self._client.complete_multipart_upload(**self._address(), MultipartUpload={"Parts": self._parts})
        except Exception as error:
            raise self._explain(error) from None
        self._upload = None

    def abort(self) -> None:
        """Abort the upload. The parts on their way are awaited: one that came later would stay for ever."""
        self._threads.shutdown(wait=True, cancel_futures=True)
        if self._upload is None or self._upload.cancelled() or self._upload.exception():
            return
        with suppress(Exception):
            self._client.abort_multipart_upload(**self._address())
        self._upload = None

    def _create(self) -> str:
        target = {"Bucket": self._bucket, "Key": self._key}
        kind = "application/json" if self._key.endswith(".json") else "text/csv"
        return str(self._client.create_multipart_upload(**target, ContentType=kind)["UploadId"])

    def _address(self) -> dict[str, Any]:
        assert self._upload is not None
        return {"Bucket": self._bucket, "Key": self._key, "UploadId": self._upload.result()}

    def _send(self, body: bytearray) -> None:
        if len(self._travelling) >= UPLOADS_AT_ONCE:
            self._arrived()
        # A thread that a signal disturbed while it starts would not be awaited.
        with undisturbed():
            self._travelling.append(self._threads.submit(self._upload_part, self._number, body))

    def _arrived(self) -> None:
        """Wait for the oldest part that travels, and keep its buffer for another one."""
        try:
            part, buffer = self._travelling.popleft().result()
        except Exception as error:
            raise self._explain(error) from None
        self._parts.append(part)
        self._spare.append(buffer)

    def _empty_buffer(self) -> bytearray:
        """A used buffer of the right size, or a new one: memory that is given back is not always returned."""
        size = part_size(self._number)
        self._spare = [buffer for buffer in self._spare if len(buffer) == size]
        return self._spare.pop() if self._spare else bytearray(size)

    def _upload_part(self, number: int, body: bytearray) -> tuple[dict[str, Any], bytearray]:
        answer = self._client.upload_part(**self._address(), PartNumber=number, Body=body)
        return {"PartNumber": number, "ETag": answer["ETag"]}, body

    def _abort_abandoned(self) -> None:
        """Remove uploads of this object that a killed extractor left a day ago or earlier."""
        from botocore.exceptions import ClientError

        limit = datetime.now(UTC) - ABANDONED_AFTER
        try:
            found = self._client.list_multipart_uploads(Bucket=self._bucket, Prefix=self._key)
            for upload in found.get("Uploads", []):
                if upload["Key"] == self._key and upload["Initiated"] < limit:
                    address = {"Bucket": self._bucket, "Key": self._key, "UploadId": upload["UploadId"]}
                    self._client.abort_multipart_upload(**address)
        except ClientError:
            # Tidying is a courtesy: credentials that may only write are enough.
            return

    def _explain(self, error: Exception) -> JobError:
        return _explained(error, self._client, self._bucket, self._key)


def _explained(error: Exception, client: Any, bucket: str, key: str) -> JobError:
    """An error of botocore as one line that says what and what to do."""
    from botocore import exceptions

    endpoint = client.meta.endpoint_url if client else "S3"
    where = f"s3://{bucket}/{key}"
    kept = f"{where} is left as it was"
    if isinstance(error, exceptions.NoCredentialsError | exceptions.PartialCredentialsError):
        return JobError(f"no S3 credentials: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY; {kept}")
    if isinstance(error, exceptions.ClientError):
        code = str(error.response.get("Error", {}).get("Code", ""))
        if code == "NoSuchBucket":
            hint = "create it, or correct EXTRACTOR_TARGET"
            return JobError(f"the bucket {bucket} does not exist on {endpoint}: {hint}")
        if code in {"AccessDenied", "InvalidAccessKeyId", "SignatureDoesNotMatch", "ExpiredToken", "403"}:
            hint = "correct AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or grant them this bucket"
            return JobError(f"{endpoint} refused the S3 credentials ({code}): {hint}; {kept}")
        return JobError(f"{endpoint} answered {code or error} to {error.operation_name}; {kept}")
    if isinstance(error, exceptions.ConnectionError | exceptions.HTTPClientError):
        hint = "is it running, and is AWS_ENDPOINT_URL right?"
        return JobError(f"cannot reach S3 on {endpoint} ({type(error).__name__}): {hint} {kept}")
    return JobError(f"S3 on {endpoint} failed: {type(error).__name__}: {error}; {kept}")


def _client() -> Any:
    """An S3 client from the ``AWS_*`` variables, files and roles, as every AWS program reads them.

    From botocore itself: the object layer that boto3 adds would not be used, and costs memory and start-up.
    """
    from botocore.config import Config
    from botocore.session import get_session

    session = get_session()
    config = Config(
        connect_timeout=10,
        read_timeout=60,
        retries={"mode": "standard", "total_max_attempts": 4},
        max_pool_connections=2 * UPLOADS_AT_ONCE,
        # Optional checksums are refused by many compatible servers; over HTTP the signature covers the body.
        request_checksum_calculation=os.environ.get("AWS_REQUEST_CHECKSUM_CALCULATION", "when_required"),
    )
    region = session.get_config_variable("region") or "us-east-1"
    client = session.create_client("s3", region_name=region, config=config)
    client.meta.events.register("before-sign.s3.UploadPart", _name_the_part)
    return client


def _name_the_part(request: Any, **_: object) -> None:
    """Give a part a type of its own. S3 ignores it; SeaweedFS would guess "text", and compress it as we wait."""
    request.headers["Content-Type"] = "application/x-part"
