"""A web server for one folder that counts what it sends. It knows ranges, single and multiple."""
import http.server
import os
import threading
import urllib.parse

BOUNDARY = "abide-bench-boundary"


def ranges(header, size):
    """The ranges of a request as (first, end); none for the whole file."""
    if not header or not header.startswith("bytes="):
        return []
    found = []
    for part in header[6:].split(","):
        first, _, last = part.strip().partition("-")
        if not first:
            found.append((max(0, size - int(last)), size))
        else:
            found.append((int(first), min(size, int(last) + 1 if last else size)))
    return [(first, end) for first, end in found if first < end]


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    # Head and body leave in one segment: no waiting for an acknowledgement between them.
    wbufsize = 1 << 16
    disable_nagle_algorithm = True

    def log_message(self, *_words):
        pass

    def do_HEAD(self):
        self.do_GET()

    def do_GET(self):
        name = urllib.parse.unquote(self.path).lstrip("/")
        path = os.path.join(self.server.folder, name)
        if not os.path.isfile(path):
            self.server.count(name, 0)
            self.send_response(404)
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        with open(path, "rb") as file:
            self.answer(name, file, os.path.getsize(path))

    def answer(self, name, file, size):
        wanted = ranges(self.headers.get("Range"), size)
        self.send_response(206 if wanted else 200)
        parts = [(b"", first, end) for first, end in wanted or [(0, size)]]
        if len(wanted) > 1:
            parts = [(head(first, end, size), first, end) for first, end in wanted]
            self.send_header("Content-Type", "multipart/byteranges; boundary=" + BOUNDARY)
        elif wanted:
            self.send_header("Content-Range", f"bytes {wanted[0][0]}-{wanted[0][1] - 1}/{size}")
        end = f"\r\n--{BOUNDARY}--\r\n".encode() if len(wanted) > 1 else b""
        self.send_header("Accept-Ranges", "bytes")
        self.send_header("Content-Length", str(sum(len(text) + last - first for text, first, last in parts) + len(end)))
        self.end_headers()
        if self.command == "HEAD":
            self.server.count(name, 0)
            return
        sent = 0
        try:
            for text, first, last in parts:
                sent += self.send(text)
                file.seek(first)
                while first < last and (block := file.read(min(1 << 18, last - first))):
                    first += len(block)
                    sent += self.send(block)
            self.send(end)
        except (BrokenPipeError, ConnectionResetError):
            self.close_connection = True
        self.server.count(name, sent)

    def send(self, data):
        self.wfile.write(data)
        return len(data)


def head(first, end, size):
    return f"\r\n--{BOUNDARY}\r\nContent-Range: bytes {first}-{end - 1}/{size}\r\n\r\n".encode()


class Server(http.server.ThreadingHTTPServer):
    """Serves a folder on a port of its own, on loopback only."""

    daemon_threads = True
    request_queue_size = 256

    def __init__(self, folder):
        super().__init__(("127.0.0.1", 0), Handler)
        self.folder, self.lock, self.asked = str(folder), threading.Lock(), []
        self.url = f"http://127.0.0.1:{self.server_address[1]}"
        threading.Thread(target=self.serve_forever, daemon=True).start()

    def handle_error(self, *_words):
        """A client that closes early is no error."""

    def count(self, name, sent):
        with self.lock:
            self.asked.append((name, sent))

    def take(self):
        """The requests since the last call: path and bytes of each body."""
        with self.lock:
            asked, self.asked = self.asked, []
        return asked

    def __exit__(self, *_words):
        self.shutdown()
        self.server_close()
