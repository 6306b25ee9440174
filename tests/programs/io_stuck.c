/* Threads that the kernel holds: opening a FIFO, waiting for a file lock, for a child, for a message. The others go on; then the
 * held ones do, too (FD-7). */
#include <sys/file.h>
#include <sys/ipc.h>
#include <sys/msg.h>
#include <sys/sem.h>

#include "io_test.h"

enum { STUCK = 24 };

static char dir[] = "/tmp/io_stuck.XXXXXX", lock_name[100];
static int returned, queue, semaphores;

static char *fifo_name(char *buf, int i) {
	sprintf(buf, "%s/%d", dir, i);
	return buf;
}

static void *opens(void *arg) {
	char name[100];
	int fd = open(fifo_name(name, (int)(intptr_t)arg), O_RDONLY);
	CHECK(fd >= 0);
	__atomic_fetch_add(&returned, 1, __ATOMIC_SEQ_CST);
	close(fd);
	return NULL;
}

static void *locks(void *arg) {
	int fd = open(lock_name, O_RDWR);
	EQ(flock(fd, LOCK_EX), 0);
	__atomic_fetch_add(&returned, 1, __ATOMIC_SEQ_CST);
	EQ(flock(fd, LOCK_UN), 0);
	close(fd);
	return arg;
}

static void *waits(void *arg) {
	int status;
	pid_t child = (pid_t)(intptr_t)arg;
	EQ(waitpid(child, &status, 0), child);
	EQ(WEXITSTATUS(status), 7);
	__atomic_fetch_add(&returned, 1, __ATOMIC_SEQ_CST);
	return NULL;
}

struct message {
	long type;
	char text[8];
};

static void *receives(void *arg) {
	struct message m;
	EQ(msgrcv(queue, &m, sizeof m.text, (long)(intptr_t)arg, 0), 3);
	__atomic_fetch_add(&returned, 1, __ATOMIC_SEQ_CST);
	return NULL;
}

static void *downs(void *arg) {
	struct sembuf down = {.sem_num = 0, .sem_op = -1};
	EQ(semop(semaphores, &down, 1), 0);
	__atomic_fetch_add(&returned, 1, __ATOMIC_SEQ_CST);
	return arg;
}

static int ball[2][2];

static void *player(void *arg) {
	char c;
	int me = (int)(intptr_t)arg;
	for (int i = 0; i < 300; i++) {
		EQ(read(ball[me][0], &c, 1), 1);
		write_all(ball[!me][1], &c, 1);
	}
	return NULL;
}

/* Two threads that only make progress together, while all the others are stuck. */
static void others_go_on(void) {
	EQ(pipe(ball[0]), 0);
	EQ(pipe(ball[1]), 0);
	pthread_t a = start(player, (void *)0), b = start(player, (void *)1);
	write_all(ball[0][1], "o", 1);
	join(a);
	join(b);
	for (int i = 0; i < 2; i++) {
		close(ball[i][0]);
		close(ball[i][1]);
	}
	EQ(__atomic_load_n(&returned, __ATOMIC_SEQ_CST), 0);
}

static void join_all(pthread_t *t, int n) {
	for (int i = 0; i < n; i++)
		join(t[i]);
	EQ(returned, n);
	returned = 0;
}

int main(void) {
	pthread_t t[STUCK];
	char name[100];
	if (!mkdtemp(dir))
		return 1;
	become_threaded();

	for (intptr_t i = 0; i < STUCK; i++) {
		EQ(mkfifo(fifo_name(name, (int)i), 0600), 0);
		t[i] = start(opens, (void *)i);
	}
	others_go_on();
	for (int i = 0; i < STUCK; i++) {
		close(open(fifo_name(name, i), O_WRONLY));
		unlink(name);
	}
	join_all(t, STUCK);
	done("FIFOs");

	snprintf(lock_name, sizeof lock_name, "%s/lock", dir);
	int fd = open(lock_name, O_CREAT | O_RDWR, 0600);
	EQ(flock(fd, LOCK_EX | LOCK_NB), 0);
	int second = open(lock_name, O_RDWR);
	FAILS(flock(second, LOCK_EX | LOCK_NB), EWOULDBLOCK);
	close(second);
	for (int i = 0; i < STUCK; i++)
		t[i] = start(locks, NULL);
	others_go_on();
	EQ(flock(fd, LOCK_UN), 0);
	join_all(t, STUCK);
	EQ(lockf(fd, F_LOCK, 10), 0);
	EQ(lockf(fd, F_TEST, 10), 0);
	EQ(lockf(fd, F_ULOCK, 10), 0);
	FAILS(lockf(fd, 77, 10), EINVAL);
	close(fd);
	unlink(lock_name);
	rmdir(dir);
	done("file locks");

	int go[2];
	EQ(pipe(go), 0);
	for (int i = 0; i < 6; i++) {
		pid_t child = fork();
		if (child == 0) {
			char c;
			close(go[1]);
			_exit(read(go[0], &c, 1) == 0 ? 7 : 1);
		}
		t[i] = start(waits, (void *)(intptr_t)child);
	}
	others_go_on();
	close(go[1]);
	join_all(t, 6);
	close(go[0]);
	FAILS(waitpid(-1, NULL, 0), ECHILD);
	FAILS(wait(NULL), ECHILD);
	siginfo_t info;
	FAILS(waitid(P_ALL, 0, &info, WEXITED), ECHILD);
	done("children");

	queue = msgget(IPC_PRIVATE, 0600);
	for (intptr_t i = 0; i < STUCK; i++)
		t[i] = start(receives, (void *)(i + 1));
	others_go_on();
	for (int i = 0; i < STUCK; i++) {
		struct message m = {i + 1, "abc"};
		EQ(msgsnd(queue, &m, 3, 0), 0);
	}
	join_all(t, STUCK);
	struct message m;
	FAILS(msgrcv(queue, &m, 8, 0, IPC_NOWAIT), ENOMSG);
	msgctl(queue, IPC_RMID, NULL);
	done("messages");

	semaphores = semget(IPC_PRIVATE, 1, 0600);
	for (int i = 0; i < STUCK; i++)
		t[i] = start(downs, NULL);
	others_go_on();
	struct sembuf up = {.sem_num = 0, .sem_op = STUCK};
	EQ(semop(semaphores, &up, 1), 0);
	join_all(t, STUCK);
	struct timespec ts = {0, 30000000};
	struct sembuf down = {.sem_num = 0, .sem_op = -1};
	TAKES(28, 500, FAILS(semtimedop(semaphores, &down, 1, &ts), EAGAIN));
	semctl(semaphores, 0, IPC_RMID);
	done("semaphores");
	return failures != 0;
}
