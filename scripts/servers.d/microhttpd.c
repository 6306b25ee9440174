/* An HTTP server on libmicrohttpd with a thread for each connection: answers /ID with ID 64 times. By poll(): with select() it refuses descriptors
 * from 1024 on. */
#include <microhttpd.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>

static enum MHD_Result answer(void *unused, struct MHD_Connection *connection, const char *url, const char *method,
			      const char *version, const char *data, size_t *size, void **state) {
	char body[16 * 64];
	size_t len = strlen(url + 1);
	(void)unused, (void)method, (void)version, (void)data, (void)size;

	if (len > 16)
		return MHD_NO;
	if (!*state) { /* an answer queued at the first call, before the request's body, would close the connection */
		*state = body;
		return MHD_YES;
	}
	for (int i = 0; i < 64; i++)
		memcpy(body + (size_t)i * len, url + 1, len);
	struct MHD_Response *response = MHD_create_response_from_buffer(64 * len, body, MHD_RESPMEM_MUST_COPY);
	enum MHD_Result result = MHD_queue_response(connection, MHD_HTTP_OK, response);
	MHD_destroy_response(response);
	return result;
}

int main(int argc, char **argv) {
	sigset_t stop;
	int number;

	sigemptyset(&stop);
	sigaddset(&stop, SIGTERM);
	pthread_sigmask(SIG_BLOCK, &stop, NULL);
	if (argc != 2)
		return 2;
	struct MHD_Daemon *daemon = MHD_start_daemon(MHD_USE_THREAD_PER_CONNECTION | MHD_USE_INTERNAL_POLLING_THREAD | MHD_USE_POLL,
						     (uint16_t)atoi(argv[1]), NULL, NULL, answer, NULL,
						     MHD_OPTION_CONNECTION_LIMIT, 19000u, MHD_OPTION_LISTEN_BACKLOG_SIZE,
						     4096u, MHD_OPTION_END);
	if (!daemon)
		return 1;
	sigwait(&stop, &number);
	MHD_stop_daemon(daemon);
	return 0;
}
