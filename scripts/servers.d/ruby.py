"""Ruby: a thread for each connection of a TCPServer, and puma's pool."""

from kinds import Server

RUBY = "/usr/bin/ruby"
ECHO = """server = TCPServer.new("127.0.0.1", ARGV[0].to_i)
server.listen(4096)
loop do
  Thread.start(server.accept) do |client|
    client.setsockopt(Socket::IPPROTO_TCP, Socket::TCP_NODELAY, 1)
    while line = client.gets
      client.write(line)
    end
    client.close
  end
end
"""
RACK = """run lambda { |env|
  body = env["PATH_INFO"][1..-1] * 64
  [200, { "Content-Type" => "text/plain", "Content-Length" => body.bytesize.to_s }, [body]]
}
"""


class RubyTcp(Server):
    name = "ruby-tcp"
    title = "Ruby TCPServer, a Thread for each connection: lines echoed"
    programs = (RUBY,)

    def command(self, port):
        return [RUBY, "--disable=gems", "-rsocket", "-e", ECHO, str(port)]

    def load(self, port):
        return ["-P", port, "-r", r"hello %I\n", "-e", r"hello %I\n"]


class Puma(Server):
    name = "puma"
    title = "puma with 64 threads"
    programs = (RUBY, "/usr/bin/puma")
    has_threads = False

    def prepare(self):
        self.write("config.ru", RACK)
        self.write("puma.rb", "persistent_timeout 600\nfirst_data_timeout 600\nthreads 64, 64\nenvironment 'production'\n"
                              "log_requests false\n")

    def command(self, port):
        return [RUBY, "/usr/bin/puma", "-q", "-C", self.path("puma.rb"), "-b",
                f"tcp://127.0.0.1:{port}?backlog=4096", self.path("config.ru")]

    def load(self, port):
        return ["-P", port, "-b", 1024]


SERVERS = [RubyTcp, Puma]
