"""Objects: files that lie in an object store or on a web server, as values: where they are and how they are reached.

Nothing here opens a connection. What is secret in these values is never shown.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from metalayer.core.errors import UsageError

STORES = ("s3", "gs", "az")
WEB = ("https", "http")
_URL = re.compile(rf"({'|'.join((*STORES, *WEB))})://", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class StoreAccess:
    """How an object store is reached; what is left out comes from the variables that its own tools know (AWS_…).

    Attributes:
        key: the access key's id; on the web the user's name.
        secret: the secret that belongs to it; on the web the password.
        token: the session's token, or on the web the bearer token.
        region: the region of an S3 bucket.
        endpoint: the URL of the service, where it is not the provider's own.
        path_style: whether the bucket stands in the URL's path or before its host.
        anonymous: whether nothing is signed, for buckets that everyone may read.
        account: the storage account of Azure.
        sas: a shared access signature of Azure.
        service_account: the path of a service account's file of Google Cloud.
    """

    key: str = field(default="", repr=False)
    secret: str = field(default="", repr=False)
    token: str = field(default="", repr=False)
    region: str = ""
    endpoint: str = ""
    path_style: bool = True
    anonymous: bool = False
    account: str = ""
    sas: str = field(default="", repr=False)
    service_account: str = ""


NO_ACCESS = StoreAccess()
"""Nothing said: the variables that a provider's own tools know."""


@dataclass(frozen=True, slots=True)
class Address:
    """An object or a prefix in a store: the bucket (for Azure the container) and the key within it."""

    scheme: str
    bucket: str
    key: str

    def __str__(self) -> str:
        """Return it as a URL."""
        return f"{self.scheme}://{self.bucket}/{self.key}" if self.key else f"{self.scheme}://{self.bucket}"

    def below(self, key: str) -> Address:
        """Return what lies below a prefix."""
        return Address(self.scheme, self.bucket, f"{self.key.rstrip('/')}/{key}" if self.key else key)


@dataclass(frozen=True, slots=True)
class ObjectInfo:
    """What a store tells of an object without its content.

    Attributes:
        key: its name in the bucket.
        size: in bytes; -1 where that is not told.
        modified_ns: when it was written, in nanoseconds; 0 where that is not told.
        etag: what its content is known by at the store; empty where that is not told.
        version: the id of its version, where the store keeps versions and tells.
    """

    key: str
    size: int
    modified_ns: int
    etag: str = ""
    version: str = ""


def is_remote(path: str) -> bool:
    """Tell whether a path is a URL of a store or of the web.

    >>> is_remote("s3://bucket/a.csv"), is_remote("data/a.csv")
    (True, False)
    """
    return _URL.match(path) is not None


def is_web(path: str) -> bool:
    """Tell whether a path is a URL of the web."""
    return path.lower().startswith(("https://", "http://"))


def address(url: str) -> Address:
    """Return what a URL of a store means.

    Raises:
        UsageError: it names no bucket.

    >>> address("s3://shop-lake/prod")
    Address(scheme='s3', bucket='shop-lake', key='prod')
    """
    scheme, _, rest = url.partition("://")
    bucket, _, key = rest.partition("/")
    if scheme.lower() not in STORES or not bucket or "@" in bucket:
        raise UsageError(
            f"'{scheme}://…' is no address of an object store.",
            hint="Write s3://bucket/prefix, gs://bucket/prefix or az://container/prefix; credentials stand under "
            "`credentials`.",
        )
    return Address(scheme.lower(), bucket, key)


_SECRET = re.compile(r"(?i)(sig|token|key|secret|pass|cred|auth|expires|x-amz-|x-goog-|^s[evprt]$)")


def shown(url: str) -> str:
    """Return a URL of the web as it may be shown: no user, and no value that could be a secret.

    >>> shown("https://me:pw@host.example/a.csv?year=2026&sig=abc")
    'https://host.example/a.csv?year=2026&sig=…'
    """
    scheme, _, rest = url.partition("://")
    place, mark, query = rest.partition("?")
    host, slash, path = place.partition("/")
    parts = [part.partition("=") for part in query.split("&")]
    told = "&".join(f"{name}{'=…' if _SECRET.search(name) else sign + value}" for name, sign, value in parts)
    return f"{scheme}://{host.rpartition('@')[2]}{slash}{path}{mark}{told}"
