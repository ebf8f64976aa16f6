"""What the kinds of resources have in common: names that are given once, and Describe, List and Delete by them."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from laptop.sagemaker.core import errors
from laptop.sagemaker.core.context import Context
from laptop.sagemaker.core.store import Record, page, select

# The statuses in which a job has ended.
TERMINAL = ("Completed", "Failed", "Stopped")


@dataclass(frozen=True)
class Kind:
    """One kind of resource: how the API names it, and what it answers for a name that is taken or not known.

    `name` is the type in its ARNs and the table in the store, `member` the request member that names a resource,
    `summaries` the member of the List response, `status` the member that `StatusEquals` filters by. `taken(arn)` and
    `missing(name, arn)` make the errors: they differ from one kind to the next, in code and in words. `key(name)` is
    the name that must be unique.
    """

    context: Context
    name: str
    member: str
    summaries: str
    taken: Callable[[str], errors.ServiceError]
    missing: Callable[[str, str], errors.ServiceError]
    status: str = ""
    default_order: str = "Ascending"
    key: Callable[[str], str] = str

    def arn(self, name: str) -> str:
        """The ARN of the resource of a name."""
        return self.context.arn(self.name, name)

    def create(self, record: Record) -> None:
        """Store a new resource. Raises `taken`."""
        name = record[self.member]
        try:
            self.context.store.create(self.name, self.key(name), record)
        except KeyError as error:
            raise self.taken(self.arn(name)) from error

    def find(self, name: str) -> Record | None:
        """A copy of a resource's record, or None."""
        return self.context.store.get(self.name, self.key(name))

    def get(self, name: str) -> Record:
        """A copy of a resource's record. Raises `missing`."""
        record = self.find(name)
        if record is None:
            raise self.missing(name, self.arn(name))
        return record

    def all(self) -> list[Record]:
        """Copies of every record, oldest first."""
        return self.context.store.all(self.name)

    def update(self, name: str, change: Callable[[Record], None] | Record) -> Record:
        """Change a record in the store; returns a copy."""
        return self.context.store.update(self.name, self.key(name), change)

    def remove(self, name: str) -> None:
        """Forget a record. Raises KeyError when there is none."""
        self.context.store.delete(self.name, self.key(name))

    def describe(self, request: Record) -> Record:
        """The whole record, for a Describe request. Raises `missing`."""
        return self.get(request[self.member])

    def list(self, request: Record) -> Record:
        """One page of all records, filtered and sorted, for a List request."""
        return self.page(self.all(), request)

    def page(self, records: Iterable[Record], request: Record) -> Record:
        """One page of these records, filtered and sorted, for a List request."""
        chosen = select(records, request, name=self.member, status=self.status, default_order=self.default_order)
        return page(chosen, request, self.summaries)

    def delete(self, request: Record) -> Record:
        """Remove a record, for a Delete request. Raises `missing`."""
        name = request[self.member]
        self.get(name)
        self.remove(name)
        return {}


@dataclass(frozen=True)
class JobKind(Kind):
    """A kind of job: it is in progress once it is created, and may be stopped until it ends."""

    job: str = ""

    @classmethod
    def of(
        cls, context: Context, job: str, summaries: str, missing: Callable[[str, str], errors.ServiceError]
    ) -> JobKind:
        """`job` is training, processing or labeling."""
        prefix = f"{job.capitalize()}Job"
        return cls(
            context,
            f"{job}-job",
            f"{prefix}Name",
            summaries,
            lambda arn: errors.job_name_taken(job, arn),
            missing,
            f"{prefix}Status",
            job=job,
        )

    def open(self, record: Record) -> Record:
        """Store a new job, in progress from now on; returns its record. Raises `taken`."""
        now = time.time()
        opened = {
            **record,
            f"{self.job.capitalize()}JobArn": self.arn(record[self.member]),
            self.status: "InProgress",
            "CreationTime": now,
            "LastModifiedTime": now,
        }
        self.create(opened)
        return opened

    def unfinished(self) -> list[Record]:
        """Copies of the records of all jobs that have not ended; after a start, those that the last cloud left."""
        return [record for record in self.all() if record[self.status] not in TERMINAL]

    def stop(self, request: Record, mark: Callable[[str], Any]) -> str:
        """For a Stop request: `mark(name)` the job as stopping, if it is in progress; returns its name.

        Raises `missing`, or ValidationException for a job that is stopping or has ended.
        """
        name: str = request[self.member]
        with self.context.store.lock:
            status = self.get(name)[self.status]
            if status != "InProgress":
                raise errors.job_not_running(self.job, status)
            mark(name)
        return name
