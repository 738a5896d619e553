import csv
import io
import json
import os
import sys
from collections import Counter
from pathlib import Path

from botocore.session import get_session

s3 = get_session().create_client("s3", endpoint_url=os.environ["S3_ENDPOINT_URL"])
bucket = os.environ["BUCKET"]
if sys.argv[1] == "land":
    if bucket not in [found["Name"] for found in s3.list_buckets()["Buckets"]]:
        s3.create_bucket(Bucket=bucket)
    s3.put_object(Bucket=bucket, Key="raw/events.csv", Body=Path("events.csv").read_bytes())
else:
    text = s3.get_object(Bucket=bucket, Key="raw/events.csv")["Body"].read().decode()
    counts = Counter(row["event"] for row in csv.DictReader(io.StringIO(text)))
    s3.put_object(Bucket=bucket, Key="marts/events.json", Body=json.dumps(counts).encode())
    keys = [found["Key"] for found in s3.list_objects_v2(Bucket=bucket)["Contents"]]
    print(json.dumps({"keys": keys, "counts": counts}))
