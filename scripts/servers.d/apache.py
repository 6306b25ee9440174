"""Apache httpd: mpm_worker (a connection owns a thread while it is open) and mpm_event."""

import os

from kinds import Server, files_make, settle_threads

MODULES = "/usr/lib/apache2/modules"
CONFIG = """ServerRoot {dir}
ServerName localhost
PidFile {dir}/pid
DefaultRuntimeDir {dir}
LoadModule mpm_{mpm}_module {modules}/mod_mpm_{mpm}.so
LoadModule authz_core_module {modules}/mod_authz_core.so
LoadModule dir_module {modules}/mod_dir.so
Listen 127.0.0.1:{port}
{user}
DocumentRoot {dir}/www
ErrorLog {dir}/error.log
KeepAlive On
KeepAliveTimeout 600
MaxKeepAliveRequests 0
ListenBacklog 4096
ServerLimit 1
StartServers 1
ThreadLimit 6000
ThreadsPerChild {threads}
MaxRequestWorkers {threads}
MaxSpareThreads {threads}
"""


class ApacheWorker(Server):
    name = "apache-worker"
    title = "Apache httpd, mpm_worker with 5,200 threads: files"
    programs = ("/usr/sbin/apache2",)
    precreated = True
    mpm, threads = "worker", 5200

    def prepare(self):
        self.files = files_make(self.path("www"))

    def command(self, port):
        user = "User www-data\nGroup www-data" if os.geteuid() == 0 else ""
        return ["/usr/sbin/apache2", "-DFOREGROUND", "-f",
                self.write("apache.conf", CONFIG.format(dir=self.directory, modules=MODULES, mpm=self.mpm, port=port,
                                                        user=user, threads=self.threads))]

    def settle(self, child):
        settle_threads(child, self.threads)

    def load(self, port):
        return ["-P", port] + self.files


class ApacheEvent(ApacheWorker):
    name = "apache-event"
    title = "Apache httpd, mpm_event with 5,200 threads: files"
    mpm = "event"


SERVERS = [ApacheWorker, ApacheEvent]
