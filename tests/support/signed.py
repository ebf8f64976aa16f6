"""HTTP requests to a laptop cloud past boto3: signed as AWS's tools sign, or signed and then changed."""

from __future__ import annotations

import http.client
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from laptop.account import REGION, Keys


@dataclass
class Answer:
    """Of one request. Header names are in lower case."""

    status: int
    headers: dict[str, str]
    body: bytes


@dataclass
class SignedRequest:
    """One request and its signature; what is changed afterwards is not covered by it."""

    endpoint_url: str
    method: str = "GET"
    path: str = "/"
    body: bytes = b""
    headers: dict[str, str] = field(default_factory=dict)

    def sign(
        self, keys: Keys, service: str = "skyloop", region: str = REGION, token: str | None = None
    ) -> SignedRequest:
        """Add the headers of a signature; returns the request itself."""
        request = AWSRequest(self.method, f"{self.endpoint_url}{self.path}", headers=self.headers, data=self.body)
        SigV4Auth(Credentials(keys.access_key_id, keys.secret_access_key, token), service, region).add_auth(request)
        self.headers = dict(request.headers)
        return self

    def send(self) -> Answer:
        """Send it as it is now."""
        address = urlsplit(self.endpoint_url)
        connection = http.client.HTTPConnection(str(address.hostname), address.port, timeout=60)
        try:
            connection.putrequest(self.method, self.path, skip_host=True, skip_accept_encoding=True)
            sent = {"Host": address.netloc, "Content-Length": str(len(self.body)), **self.headers}
            for name, value in sent.items():
                connection.putheader(name, value)
            connection.endheaders(self.body)
            answer = connection.getresponse()
            headers = {name.lower(): value for name, value in answer.getheaders()}
            return Answer(answer.status, headers, answer.read())
        finally:
            connection.close()
