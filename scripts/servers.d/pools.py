"""Servers in C whose event loop gives requests to a pool of threads."""

import os
import subprocess

import lab
from kinds import Server


def ber(tag, *parts):
    body = b"".join(parts)
    return bytes([tag, len(body)]) + body  # short forms only


def template(data):
    return "".join(rf"\x{b:02x}" for b in data)


class Slapd(Server):
    name = "slapd"
    title = "slapd: one entry looked up"
    programs = ("/usr/sbin/slapd",)
    has_threads = False
    limit = 1000
    attribute, value = b"cn", b"one"

    def prepare(self):
        os.mkdir(self.path("db"))
        self.write("slapd.conf", "include /etc/ldap/schema/core.schema\nmodulepath /usr/lib/ldap\nmoduleload back_mdb\n"
                                 "threads 32\ndatabase mdb\nsuffix dc=z\nmaxsize 10000000\n"
                                 f"directory {self.path('db')}\n")
        entries = self.write("entries", "dn: dc=z\nobjectClass: dcObject\nobjectClass: organization\ndc: z\no: z\n\n"
                                        "dn: cn=one,dc=z\nobjectClass: person\ncn: one\nsn: s\n")
        subprocess.run(["/usr/sbin/slapadd", "-q", "-f", self.path("slapd.conf"), "-l", entries], env=lab.environment(),
                       check=True, capture_output=True)

    def command(self, port):
        return ["/usr/sbin/slapd", "-d", "0", "-h", f"ldap://127.0.0.1:{port}", "-f", self.path("slapd.conf")]

    def load(self, port):
        name, number = b"cn=one,dc=z", ber(0x02, b"\1")
        zero = lambda tag: ber(tag, b"\0")
        ask = ber(0x63, ber(0x04, name), zero(0x0a), zero(0x0a), zero(0x02), zero(0x02), zero(0x01), ber(0x87, b"objectClass"),
                  ber(0x30, ber(0x04, self.attribute)))
        found = ber(0x64, ber(0x04, name), ber(0x30, ber(0x30, ber(0x04, self.attribute), ber(0x31, ber(0x04, self.value)))))
        done = ber(0x65, zero(0x0a), ber(0x04), ber(0x04))
        return ["-P", port, "-r", template(ber(0x30, number, ask)),
                "-e", template(ber(0x30, number, found) + ber(0x30, number, done))]


SERVERS = [Slapd]
