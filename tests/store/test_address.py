from urllib.parse import quote

import pytest

from raykd.store.address import refuse_credentials
from raykd.store.errors import StoreError

SECRET = "wJalr/XUtn+FEMI%K7@MDENG?bPx#Rfi=CY"


@pytest.mark.parametrize("secret", [SECRET, quote(SECRET), quote(SECRET, safe=""), "1234/5"])
@pytest.mark.parametrize(
    "form",
    [
        "s3://AKIA:{}@bucket/x",
        "S3://AKIA:{}@bucket",
        "s3://:{}@bucket",
        "s3:///AKIA:{}@bucket/x",
        "s3:/AKIA:{}@bucket/x",
        "s3:AKIA:{}@bucket/x",
        "s3a://AKIA:{}@bucket/x",
        "s3://AKIA%3A{}%40bucket/x",
        "s3://AKIA%253A{}%2540bucket/x",
        "s3://AKIA:{}",
        "s3://bucket/x?access_key=AKIA&secret_key={}",
        "s3://bucket/x?region=eu-west-1&session_token={}",
        "https://user:{}@host:9000/x",
        "https://host/x.pt?X-Amz-Signature={}",
        "gs://AKIA:{}@bucket",
        "--storage=s3://AKIA:{}@bucket/x",
        "--storage=s3:AKIA:{}@bucket/x",
        "python study.py --data s3://bucket 's3://AKIA:{}@bucket/x' --epochs 3",
    ],
)
def test_credentials_are_refused_and_not_repeated(form, secret):
    with pytest.raises(StoreError, match=r"^--data holds credentials") as told:
        refuse_credentials(form.format(secret), "--data")
    assert secret[:5] not in str(told.value)
    assert "AKIA" not in str(told.value)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "results",
        "/data/user@host/a:b",
        "a:b@c",
        "s3",
        "s3-results/a:b@c",
        "s3://bucket",
        "s3://bucket/who@where/a:b/50%/é [1] #2",
        "s3://bucket/x?region=eu-west-1",
        "file:///data/a:b@c",
        "http://host:9000",
        "ray://head:10001",
        "--storage=s3://bucket/x",
        "python study.py --storage s3://bucket --note a:b@c",
    ],
)
def test_other_addresses_pass(text):
    refuse_credentials(text, "--data")
