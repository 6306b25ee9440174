"""The textbook threaded file server of Python's standard library: http_files.py DIRECTORY. Prints "PORT n"; serves
until killed.

Nothing but the standard library's own switches is set: HTTP/1.1 (keep-alive), no line on stderr for every request, a
listen queue long enough for a few thousand clients, and no Nagle delay between head and body, written separately.
"""

import functools
import http.server
import sys


class Handler(http.server.SimpleHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def log_message(self, *unused):
        pass


class Server(http.server.ThreadingHTTPServer):
    request_queue_size = 4096
    daemon_threads = True


with Server(("127.0.0.1", 0), functools.partial(Handler, directory=sys.argv[1])) as server:
    print("PORT", server.server_address[1], flush=True)
    server.serve_forever()
