"""An API for this example: rates of the euro by month (made up), six a page. `python rates_api.py [PORT]` serves it."""

import json
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

MONTHS = [f"{1996 + number // 12}-{number % 12 + 1:02}-01" for number in range(6, 29)]
RATES = [{"month": month, "eur_per_usd": f"{0.79 + 0.005 * place:.6f}"} for place, month in enumerate(MONTHS)]
PAGE = 6


class Api(BaseHTTPRequestHandler):
    """Answers /rates?after=N."""

    def do_GET(self) -> None:
        """Answer with one page, and where the next one is."""
        after = int(parse_qs(urlsplit(self.path).query).get("after", ["0"])[0])
        more = f"/rates?after={after + PAGE}" if after + PAGE < len(RATES) else None
        body = json.dumps({"rates": RATES[after : after + PAGE], "next": more}).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *words: object) -> None:
        """Say nothing."""


def serve(port: int = 0) -> ThreadingHTTPServer:
    """Return a server that is bound to a port of this machine; any free one for 0."""
    return ThreadingHTTPServer(("127.0.0.1", port), Api)


if __name__ == "__main__":
    serve(int(sys.argv[1]) if len(sys.argv) > 1 else 8400).serve_forever()
