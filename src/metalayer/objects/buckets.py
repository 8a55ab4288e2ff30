"""Buckets of S3, Google Cloud Storage and Azure, by one client; what each of its errors means.

The client's own words may hold signed addresses: they are never passed on, only a status and a code are.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from metalayer.core.errors import DeniedError, MissingObjectError, StoreError, StoreUnavailableError, UsageError
from metalayer.core.objects import Address, ObjectInfo, StoreAccess

if TYPE_CHECKING:
    from obstore.store import ObjectStore

_CLIENT = {"connect_timeout": "10 seconds", "timeout": "300 seconds"}
_RETRIES = 4
_PATIENCE = timedelta(seconds=60)
_AT_ONCE = 16 << 20
"""Up to how many bytes an object is written in one request, which the store refuses where the name is taken: it is
held in memory. What is larger goes in parts."""
_STATUS = re.compile(r"status code: (\d{3})")
_CODE = re.compile(r"<Code>(\w{1,60})</Code>")


@dataclass(frozen=True, slots=True)
class Bucket:
    """One bucket. `metalayer.core.objects.Store` says what its methods do."""

    store: ObjectStore = field(repr=False)
    shown: str

    @classmethod
    def open(cls, address: Address, access: StoreAccess) -> Self:
        """Return the bucket of an address; nothing is asked of it yet.

        Raises:
            UsageError: the client is not installed, or the credentials are incomplete.
        """
        try:
            import obstore.store as stores  # noqa: PLC0415 - an extra
        except ImportError as error:
            raise UsageError(
                "What reads object stores is not installed.", hint="Install it: pip install 'metalayer[objects]'"
            ) from error
        client: dict[str, Any] = {**_CLIENT, "allow_http": _endpoint(access).startswith("http://")}
        options: dict[str, Any] = {
            "client_options": client,
            "retry_config": {"max_retries": _RETRIES, "retry_timeout": _PATIENCE},
        }
        kind = {"s3": stores.S3Store, "gs": stores.GCSStore, "az": stores.AzureStore}[address.scheme]
        shown = f"{address.scheme}://{address.bucket}"
        try:
            return cls(kind(address.bucket, config=_config(address.scheme, access), **options), shown)
        except Exception as error:  # noqa: BLE001 - the client's errors have no class in common; its words may hold a key
            raise UsageError(
                f"{shown} cannot be opened with these credentials ({type(error).__name__}).",
                hint="Correct `credentials`, or the variables that the provider's own tools read.",
            ) from None

    def list(self, prefix: str) -> list[ObjectInfo]:
        """Return all objects whose keys begin with a prefix."""
        import obstore  # noqa: PLC0415 - an extra

        # The client lists below whole steps of a path only.
        steps = prefix.rpartition("/")[0]
        with self._told(f"{self.shown}/{prefix}"):
            pages = obstore.list(self.store, prefix=f"{steps}/" if steps else None)
            found = [_info(meta) for page in pages for meta in page]
        return sorted((item for item in found if item.key.startswith(prefix)), key=lambda item: item.key)

    def head(self, key: str) -> ObjectInfo:
        """Return what is known of an object."""
        import obstore  # noqa: PLC0415 - an extra

        with self._told(f"{self.shown}/{key}"):
            return _info(obstore.head(self.store, key))

    def fetch(self, key: str, target: Path) -> ObjectInfo:
        """Write an object's content to a file; return what is known of what was written."""
        import obstore  # noqa: PLC0415 - an extra

        for patience in range(_RETRIES, -1, -1):
            try:
                with self._told(f"{self.shown}/{key}"), target.open("wb") as file:
                    got = obstore.get(self.store, key)
                    size = sum(file.write(block) for block in got.stream(min_chunk_size=1 << 20))
                    info = _info(got.meta)
            except StoreUnavailableError:  # it broke off in the middle: the client tries only requests again
                if not patience:
                    raise
                continue
            if size == info.size:
                return info
        raise StoreUnavailableError(f"{self.shown}/{key} came incomplete.", hint="Try again later.")

    def put(self, source: Path, key: str) -> None:
        """Write a file as a new object; one of this name that is there already must have the same content."""
        import obstore  # noqa: PLC0415 - an extra
        from obstore.exceptions import AlreadyExistsError  # noqa: PLC0415 - an extra

        size = source.stat().st_size
        try:
            with self._told(f"{self.shown}/{key}", AlreadyExistsError):
                if size <= _AT_ONCE:
                    obstore.put(self.store, key, source.read_bytes(), mode="create", use_multipart=False)
                else:
                    obstore.put(self.store, key, source)
        except AlreadyExistsError:
            if not self._is_same(source, key, size):
                raise StoreError(
                    f"{self.shown}/{key} is there already and holds something else.",
                    hint="Nothing was overwritten. See who else writes below this prefix.",
                ) from None

    def _is_same(self, source: Path, key: str, size: int) -> bool:
        """Tell whether an object has a file's content: an answer was lost, and the request was made again."""
        import obstore  # noqa: PLC0415 - an extra

        with self._told(f"{self.shown}/{key}"):
            return self.head(key).size == size and bytes(obstore.get(self.store, key).bytes()) == source.read_bytes()

    def delete(self, key: str) -> None:
        """Remove an object; one that is not there is no error."""
        import obstore  # noqa: PLC0415 - an extra

        try:
            with self._told(f"{self.shown}/{key}"):
                obstore.delete(self.store, key)
        except MissingObjectError:
            pass

    @contextmanager
    def _told(self, shown: str, *passed: type[Exception]) -> Iterator[None]:
        """Let errors of the client leave the block as ours, but those that are ``passed``."""
        try:
            yield
        except StoreError:
            raise
        except FileNotFoundError as error:
            if "NoSuchBucket" in str(error):
                raise _translated(error, shown) from None
            raise MissingObjectError(
                f"There is no object {shown}.", hint="Correct the path, or put the object there."
            ) from None
        except Exception as error:
            if isinstance(error, passed) or (isinstance(error, OSError) and error.errno is not None):
                raise  # the latter is of our own disk
            raise _translated(error, shown) from None


def _translated(error: Exception, shown: str) -> StoreError:
    """Return an error of the client as ours, without its words."""
    said = str(error)
    found = _STATUS.search(said)
    status = int(found.group(1)) if found is not None else 0
    code = _CODE.search(said)
    words = " ".join(([str(status)] if status else []) + ([code.group(1)] if code else []))
    told = f" ({words})" if words else ""
    name = type(error).__name__
    if status in {401, 403} or name in {"PermissionDeniedError", "UnauthenticatedError"}:
        return DeniedError(
            f"{shown} may not be read or written with these credentials{told}.",
            hint="Correct `credentials` or the rights at the store; `anonymous: true` signs nothing.",
        )
    if code is not None and code.group(1) == "NoSuchBucket":
        return MissingObjectError(f"There is no bucket for {shown}{told}.", hint="Correct the bucket's name.")
    if status == 404:
        return MissingObjectError(f"There is no {shown}{told}.", hint="Correct the path.")
    if status in {301, 307, 400}:
        return StoreError(
            f"The store does not take the request for {shown}{told}.",
            hint="Correct `region` and `endpoint` of `credentials`.",
        )
    return StoreUnavailableError(
        f"{shown} cannot be reached{told}.",
        hint="See that the network and the store are up, and that `endpoint` and `region` are right.",
    )


def _endpoint(access: StoreAccess) -> str:
    """Return the service's address, as it is said or as the client takes it from the environment."""
    names = ("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL", "AWS_ENDPOINT", "AZURE_STORAGE_ENDPOINT", "GOOGLE_BASE_URL")
    return access.endpoint or next((found for name in names if (found := os.environ.get(name))), "")


def _info(meta: Mapping[str, Any]) -> ObjectInfo:
    modified = meta["last_modified"]
    return ObjectInfo(
        str(meta["path"]),
        int(meta["size"]),
        round(modified.timestamp() * 1_000_000) * 1000,
        str(meta.get("e_tag") or "").strip('"'),  # some stores quote it in one answer and not in another
        str(meta.get("version") or ""),
    )


def _config(scheme: str, access: StoreAccess) -> dict[str, Any]:
    """Return what is said of a store under the client's names; what is not said it takes from the environment."""
    match scheme:
        case "s3":
            said: dict[str, Any] = {
                "aws_access_key_id": access.key,
                "aws_secret_access_key": access.secret,
                "aws_session_token": access.token,
                "aws_region": access.region,
                "aws_endpoint": access.endpoint,
                "aws_skip_signature": access.anonymous or None,
                "aws_virtual_hosted_style_request": None if access.path_style else True,
            }
        case "gs":
            said = {
                "google_service_account": access.service_account,
                "google_skip_signature": access.anonymous or None,
                "google_base_url": access.endpoint,
            }
        case _:
            said = {
                "azure_storage_account_name": access.account or access.key,
                "azure_storage_account_key": access.secret,
                "azure_storage_sas_key": access.sas,
                "azure_storage_token": access.token,
                "azure_storage_endpoint": access.endpoint,
                "azure_skip_signature": access.anonymous or None,
            }
    return {name: value for name, value in said.items() if value}
