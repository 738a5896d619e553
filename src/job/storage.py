"""Objects on S3, read and written whole, whose errors are one clear line each."""

from __future__ import annotations

from typing import Any

from job.errors import JobError, SettingError

__all__ = ["MissingObjectError", "Storage", "parse"]

MISSING = frozenset({"NoSuchKey", "NoSuchBucket", "404"})
REFUSED = frozenset({"AccessDenied", "InvalidAccessKeyId", "SignatureDoesNotMatch", "403"})


class MissingObjectError(JobError):
    """There is no such object, or no such bucket."""


def parse(address: str) -> tuple[str, str]:
    """The bucket and the key of ``s3://bucket/key``.

    Raises:
        SettingError: It is no such address.
    """
    bucket, _, key = address.removeprefix("s3://").partition("/")
    if not address.startswith("s3://") or not bucket or not key or key.endswith("/"):
        raise SettingError(f"{address!r} names no object on S3: write s3://bucket/path/name")
    return bucket, key


class Storage:
    """The S3 that the ``AWS_*`` variables name.

    Args:
        patience: Seconds that a connection, and then each part of an answer, may take.
        tries: How often something is asked for.

    Raises:
        SettingError: They name none.
    """

    def __init__(self, patience: float = 60.0, tries: int = 3) -> None:
        import botocore.session
        from botocore.config import Config

        config = Config(
            connect_timeout=min(patience, 5.0),
            read_timeout=patience,
            retries={"mode": "standard", "total_max_attempts": tries},
            # SeaweedFS and others know no trailing checksums.
            request_checksum_calculation="when_required",
            response_checksum_validation="when_required",
            s3={"addressing_style": "path"},
        )
        try:
            self._client: Any = botocore.session.get_session().create_client("s3", config=config)
        except Exception as error:
            raise SettingError(f"the AWS_ variables name no S3: {error}") from None

    def get(self, address: str) -> bytes:
        """The bytes of an object.

        Raises:
            MissingObjectError: It is not there.
            JobError: S3 does not answer, or refuses.
        """
        bucket, key = parse(address)
        try:
            return bytes(self._client.get_object(Bucket=bucket, Key=key)["Body"].read())
        except Exception as error:
            raise self._explain(error, address) from None

    def put(self, address: str, body: bytes, content_type: str) -> None:
        """Write an object: all of it or nothing, in one request.

        Raises:
            JobError: S3 does not answer, or refuses.
        """
        bucket, key = parse(address)
        try:
            self._client.put_object(Bucket=bucket, Key=key, Body=body, ContentType=content_type)
        except Exception as error:
            raise self._explain(error, address) from None

    def _explain(self, error: Exception, address: str) -> JobError:
        """The error as one line that says what and what to do."""
        from botocore.exceptions import BotoCoreError, ClientError, NoCredentialsError

        where = self._client.meta.endpoint_url
        if isinstance(error, NoCredentialsError):
            return SettingError("no credentials for S3: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY")
        if isinstance(error, ClientError):
            said = error.response.get("Error", {})
            code, message = str(said.get("Code", "")), str(said.get("Message", ""))
            if code in MISSING:
                return MissingObjectError(f"there is no {address} on {where}")
            if code in REFUSED:
                return JobError(f"S3 at {where} refuses {address} ({code}): correct the AWS_ variables")
            return JobError(f"S3 at {where} answers {code} for {address}: {message}")
        if isinstance(error, BotoCoreError | OSError):
            told = f"cannot reach S3 at {where} for {address}: {type(error).__name__}"
            start = "docker compose up -d minio, or gigogne up minio"
            return JobError(f"{told}; is it running ({start}), and is AWS_ENDPOINT_URL right?")
        raise error
