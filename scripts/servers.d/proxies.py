"""Proxies in C, most with a thread for each connection or request. The backend is a plain program of tests/bench or memcached, and the
same process for both sides."""

import os
import subprocess

import lab
from kinds import Process, Server, port_free


class Tunnel(Server):
    descriptors = 2
    cpu_goal = 0.8

    def prepare(self):
        self.backend, self.backend_port = lab.server_start([lab.program("epoll_server"), "-b", "1024"], lab.environment())


class Churn:
    """What a server is driven with: a new connection for every request."""
    has_threads = False
    churn = True


class Microsocks(Tunnel):
    name = "microsocks"
    title = "microsocks: HTTP requests through SOCKS5"
    programs = ("/usr/bin/microsocks",)

    def command(self, port):
        return ["/usr/bin/microsocks", "-i", "127.0.0.1", "-p", str(port)]

    def load(self, port):
        return ["-P", self.backend_port, "-x", port, "-b", 1024]


class MicrosocksChurn(Churn, Microsocks):
    name = "microsocks-churn"
    title = "microsocks: a new connection for every request"


class HttpProxy(Tunnel):
    def load(self, port):
        return ["-P", self.backend_port, "-X", port, "-b", 1024]


class Tinyproxy(HttpProxy):
    name = "tinyproxy"
    title = "tinyproxy: HTTP requests through CONNECT"
    programs = ("/usr/bin/tinyproxy",)

    def command(self, port):
        config = self.write("tinyproxy.conf", f"Port {port}\nListen 127.0.0.1\nTimeout 600\nMaxClients 19000\n"
                                              "LogLevel Critical\nDisableViaHeader Yes\n")
        return ["/usr/bin/tinyproxy", "-d", "-c", config]


class TinyproxyChurn(Churn, Tinyproxy):
    name = "tinyproxy-churn"
    title = "tinyproxy: a new connection for every request"


class Privoxy(HttpProxy):
    name = "privoxy"
    title = "privoxy: HTTP requests through CONNECT"
    programs = ("/usr/sbin/privoxy",)

    def command(self, port):
        config = self.write("privoxy.conf", f"confdir /etc/privoxy\nlogdir {self.directory}\nlisten-address 127.0.0.1:{port}\n"
                                            "max-client-connections 19000\nlisten-backlog 1000\nsocket-timeout 600\n")
        return ["/usr/sbin/privoxy", "--no-daemon", config]


class PrivoxyChurn(Churn, Privoxy):
    name = "privoxy-churn"
    title = "privoxy: a new connection for every request"


class Stunnel(Server):
    name = "stunnel4"
    title = "stunnel4: to TLS and back in one process, memcached behind it"
    programs = ("/usr/bin/stunnel4", "/usr/bin/memcached", "openssl")
    descriptors = 4
    limit = 2000

    def prepare(self):
        subprocess.run(["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "30", "-subj",
                        "/CN=localhost", "-keyout", self.path("key.pem"), "-out", self.path("cert.pem")], check=True,
                       capture_output=True, env=lab.environment())
        with open(self.path("key.pem")) as key, open(self.path("cert.pem")) as cert:
            self.write("both.pem", key.read() + cert.read(), 0o600)
        self.backend_port = port_free()
        self.backend = Process(["/usr/bin/memcached", "-l", "127.0.0.1", "-p", str(self.backend_port), "-t", "2", "-c",
                                "19000"] + (["-u", "nobody"] if os.geteuid() == 0 else []), lab.environment())
        self.await_port(self.backend, self.backend_port)

    def command(self, port):
        inner = port_free()
        config = self.write("stunnel.conf", "foreground = yes\npid =\ndebug = err\n"
                            f"[a]\nclient = yes\naccept = 127.0.0.1:{port}\nconnect = 127.0.0.1:{inner}\nverifyChain = no\n"
                            f"[b]\naccept = 127.0.0.1:{inner}\nconnect = 127.0.0.1:{self.backend_port}\n"
                            f"cert = {self.path('both.pem')}\n")
        return ["/usr/bin/stunnel4", config]

    def load(self, port):
        return ["-P", port, "-r", r"set k%C 0 0 16\r\n%I\r\nget k%C\r\n",
                "-e", r"STORED\r\nVALUE k%C 0 16\r\n%I\r\nEND\r\n"]


class Varnish(Tunnel):
    name = "varnish"
    title = "varnishd: a cache that misses, pools of threads"
    programs = ("/usr/sbin/varnishd", "cc")
    has_threads = False
    cpu_goal = 1.0

    def command(self, port):
        """thread_queue_limit: by default it drops, on either side, who finds 20 waiting for a thread, while thousands connect at once (sess_dropped)."""
        self.write("plain.vcl", f'vcl 4.1;\nbackend b {{ .host = "127.0.0.1"; .port = "{self.backend_port}"; }}\n'
                                "sub vcl_recv { return (pass); }\n")
        return ["/usr/sbin/varnishd", "-F", "-j", "none", "-a", f"127.0.0.1:{port}", "-n", self.path("work"), "-f",
                self.path("plain.vcl"), "-s", "malloc,64m", "-p", "timeout_idle=600", "-p", "listen_depth=4096",
                "-p", "thread_queue_limit=5000"]

    def load(self, port):
        return ["-P", port, "-b", 1024]


class Haproxy(Tunnel):
    name = "haproxy"
    title = "haproxy, two threads"
    programs = ("/usr/sbin/haproxy",)
    has_threads = False
    cpu_goal = 1.0

    def command(self, port):
        config = self.write("haproxy.cfg", "global\n nbthread 2\n maxconn 9000\ndefaults\n mode http\n timeout client 600s\n"
                            " timeout server 600s\n timeout connect 60s\n"
                            f"frontend f\n bind 127.0.0.1:{port} backlog 4096\n default_backend b\n"
                            f"backend b\n server s 127.0.0.1:{self.backend_port}\n")
        return ["/usr/sbin/haproxy", "-db", "-f", config]

    def load(self, port):
        return ["-P", port, "-b", 1024]


SERVERS = [Microsocks, MicrosocksChurn, Tinyproxy, TinyproxyChurn, Privoxy, PrivoxyChurn, Stunnel, Varnish, Haproxy]
