"""A page that counts its visitors in the lab's database, with nothing but Python's standard library."""

import socket
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


def count():
    """One more visitor, as the database has them."""
    with socket.create_connection(("db", 6379), timeout=5) as connection:
        connection.sendall(b"INCR visitors\r\n")
        return int(connection.makefile("rb").readline().removeprefix(b":"))


class Page(BaseHTTPRequestHandler):
    def do_GET(self):
        try:
            status, text = 200, f"Hello, visitor {count()}\n"
        except OSError as error:
            status, text = 503, f"the database does not answer: {error}\n"
        self.send_response(status)
        self.send_header("Content-Type", "text/plain; charset=utf-8")
        self.end_headers()
        self.wfile.write(text.encode())

    def log_message(self, format, *arguments):
        pass


ThreadingHTTPServer(("", 8080), Page).serve_forever()
