"""Python 3: the standard library's threaded servers and gunicorn, all with Debian's interpreter."""

from kinds import Server, files_make, settle_processes

PYTHON = "/usr/bin/python3"
ECHO = """import socketserver, sys
class Handler(socketserver.StreamRequestHandler):
    def handle(self):
        for line in self.rfile:
            self.wfile.write(line)
class Server(socketserver.ThreadingTCPServer):
    request_queue_size = 4096
    daemon_threads = allow_reuse_address = True
Server(("127.0.0.1", int(sys.argv[1])), Handler).serve_forever()
"""
FILES = """import functools, http.server, sys
class Handler(http.server.SimpleHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    log_message = lambda *unused: None
class Server(http.server.ThreadingHTTPServer):
    request_queue_size = 4096
    daemon_threads = True
Server(("127.0.0.1", int(sys.argv[1])), functools.partial(Handler, directory=sys.argv[2])).serve_forever()
"""
WSGI = """def application(environ, start_response):
    body = environ["PATH_INFO"][1:].encode() * 64
    start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", str(len(body)))])
    return [body]
"""


class PythonTcp(Server):
    name = "python-tcp"
    title = "Python socketserver.ThreadingTCPServer: lines echoed"
    programs = (PYTHON,)
    patience = 120

    def command(self, port):
        return [PYTHON, "-I", "-c", ECHO, str(port)]

    def load(self, port):
        return ["-P", port, "-r", r"hello %I\n", "-e", r"hello %I\n"]


class PythonHttp(Server):
    name = "python-http"
    title = "Python http.server.ThreadingHTTPServer: files, HTTP/1.1 keep-alive"
    programs = (PYTHON,)
    patience = 240  # plain, 5,000 threads answer some fifty requests a second

    def prepare(self):
        self.files = files_make(self.path("files"))

    def command(self, port):
        return [PYTHON, "-I", "-c", FILES, str(port), self.path("files")]

    def load(self, port):
        return ["-P", port] + self.files


class Gunicorn(Server):
    name = "gunicorn"
    title = "gunicorn, gthread worker with 64 threads"
    programs = ("/usr/bin/gunicorn",)
    has_threads = False

    def prepare(self):
        self.write("app.py", WSGI)

    def command(self, port):
        return [PYTHON, "/usr/bin/gunicorn", "-k", "gthread", "--threads", "64", "-w", "1", "-b", f"127.0.0.1:{port}",
                "--keep-alive", "600", "--worker-connections", "12000", "--backlog", "4096", "--log-level", "error",
                "--worker-tmp-dir", self.directory, "app:application"]

    def settle(self, child):
        settle_processes(child, 2)

    def environment(self):
        return {"PYTHONDONTWRITEBYTECODE": "1", "PYTHONPATH": self.directory}

    def load(self, port):
        return ["-P", port, "-b", 1024]


SERVERS = [PythonTcp, PythonHttp, Gunicorn]
