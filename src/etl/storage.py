"""Where the cleaned rows go: a folder on S3. An object appears whole, or not at all: each is put in one request."""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import IO, Any

from botocore import exceptions
from botocore.config import Config
from botocore.session import get_session

from job.errors import JobError, SettingError
from job.progress import size

__all__ = ["MANIFEST", "Folder", "open_folder"]

MANIFEST = "manifest.json"
ASK_EVERY = 0.5
# What S3 takes in one request.
LARGEST = 5 * 1024**3
ABSENT = frozenset({"404", "NoSuchKey", "NotFound"})
REFUSED = frozenset({"403", "AccessDenied", "InvalidAccessKeyId", "SignatureDoesNotMatch", "ExpiredToken"})


class Folder:
    """A folder of a bucket."""

    def __init__(self, client: Any, bucket: str, prefix: str) -> None:
        self._client, self._bucket, self._prefix = client, bucket, prefix

    def address(self, name: str) -> str:
        """An object's address: ``s3://bucket/folder/name``."""
        return f"s3://{self._bucket}/{self._prefix}{name}"

    def check(self, wait: float) -> None:
        """Find out whether the bucket can be reached, before any work is done; a server that starts is waited for."""
        limit, said = time.monotonic() + wait, False
        with self._explained():
            while True:
                try:
                    self._client.head_bucket(Bucket=self._bucket)
                    return
                except exceptions.ConnectionError:
                    if time.monotonic() >= limit:
                        raise
                if not said:
                    where = self._client.meta.endpoint_url
                    print(f"waiting up to {wait:g} s for S3 on {where} …", file=sys.stderr, flush=True)
                    said = True
                time.sleep(ASK_EVERY)

    def manifest(self) -> dict[str, Any]:
        """What the manifest says; nothing where there is none, or none that can be read."""
        with self._explained():
            try:
                answer = self._client.get_object(**self._key(MANIFEST))
            except exceptions.ClientError as error:
                if _code(error) in ABSENT:
                    return {}
                raise
            body = answer["Body"].read()
        try:
            found = json.loads(body)
        except ValueError:
            return {}
        return found if isinstance(found, dict) else {}

    def length(self, name: str) -> int | None:
        """How many bytes the object has; None where there is none."""
        with self._explained():
            try:
                return int(self._client.head_object(**self._key(name))["ContentLength"])
            except exceptions.ClientError as error:
                if _code(error) in ABSENT:
                    return None
                raise

    def put(self, name: str, file: IO[bytes], length: int) -> None:
        """Put a file there."""
        if length > LARGEST:
            raise JobError(f"the Parquet file has {size(length)}, and S3 takes 5 GiB at once: clean fewer products")
        kind = "application/vnd.apache.parquet"
        with self._explained():
            self._client.put_object(**self._key(name), Body=file, ContentLength=length, ContentType=kind)

    def put_manifest(self, manifest: Mapping[str, Any]) -> None:
        """Replace the manifest: from here on readers see what it names."""
        body = (json.dumps(manifest, indent=2) + "\n").encode()
        with self._explained():
            self._client.put_object(**self._key(MANIFEST), Body=body, ContentType="application/json")

    def _key(self, name: str) -> dict[str, str]:
        return {"Bucket": self._bucket, "Key": self._prefix + name}

    @contextmanager
    def _explained(self) -> Iterator[None]:
        """An error of botocore as one line that says what and what to do."""
        endpoint = self._client.meta.endpoint_url
        try:
            yield
        except (exceptions.NoCredentialsError, exceptions.PartialCredentialsError):
            raise JobError("no S3 credentials: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY") from None
        except exceptions.ClientError as error:
            raise self._answered(endpoint, error) from None
        except (exceptions.ConnectionError, exceptions.HTTPClientError) as error:
            raise JobError(
                f"cannot reach S3 on {endpoint} ({type(error).__name__}): start it (docker compose up -d minio, or"
                f" gigogne up minio), or correct AWS_ENDPOINT_URL; {self.address(MANIFEST)} is left as it was"
            ) from None
        except exceptions.BotoCoreError as error:
            raise JobError(f"S3 on {endpoint} failed: {error}; {self.address(MANIFEST)} is left as it was") from None

    def _answered(self, endpoint: str, error: exceptions.ClientError) -> JobError:
        code = _code(error)
        if code in REFUSED:
            return JobError(
                f"{endpoint} refused the S3 credentials ({code}): correct AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY,"
                f" or grant them the bucket {self._bucket}"
            )
        if code == "NoSuchBucket" or (code in ABSENT and error.operation_name == "HeadBucket"):
            return JobError(
                f"the bucket {self._bucket} does not exist on {endpoint}: create it, or correct CLEANING_TARGET"
            )
        return JobError(
            f"{endpoint} answered {code} to {error.operation_name}; {self.address(MANIFEST)} is left as it was"
        )


def open_folder(where: str) -> Folder:
    """The folder that ``where`` names, ``s3://bucket/folder``, by the ``AWS_*`` variables.

    Raises:
        SettingError: It names no folder.
    """
    bucket, _, prefix = where.removeprefix("s3://").strip("/").partition("/")
    if not where.startswith("s3://") or not bucket:
        raise SettingError(f"CLEANING_TARGET={where!r} names no folder on S3: write s3://bucket/folder")
    session = get_session()
    config = Config(
        connect_timeout=10,
        read_timeout=60,
        retries={"mode": "standard", "total_max_attempts": 3},
        # Optional checksums are refused by many compatible servers; over HTTP the signature covers the body.
        request_checksum_calculation=os.environ.get("AWS_REQUEST_CHECKSUM_CALCULATION", "when_required"),
    )
    region = session.get_config_variable("region") or "us-east-1"
    try:
        client = session.create_client("s3", region_name=region, config=config)
    except ValueError:
        raise SettingError("AWS_ENDPOINT_URL is no address: write http://HOST:9000") from None
    return Folder(client, bucket, f"{prefix}/" if prefix else "")


def _code(error: exceptions.ClientError) -> str:
    return str(error.response.get("Error", {}).get("Code", ""))
