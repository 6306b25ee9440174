/* The same functions reached in every way that a program has: named at link time, by dlsym() in the order of search, by a handle of the C
 * library's file as foreign-function interfaces get it, and by dlvsym() with a version as libraries do that stand in front of others (INT-3, INT-4). They
 * share one mutex, one condition and one semaphore, and must be the same functions. */
#include <dlfcn.h>
#include <pthread.h>
#include <semaphore.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#ifdef __x86_64__
#define COND_VERSION "GLIBC_2.3.2"
#define OLD_VERSION "GLIBC_2.2.5"
#else
#define COND_VERSION "GLIBC_2.17"
#define OLD_VERSION "GLIBC_2.17"
#endif

enum { THREADS = 20, ROUNDS = 300 };

static const char *const names[] = {"pthread_create", "pthread_join", "pthread_mutex_lock", "pthread_mutex_unlock", "pthread_cond_wait",
                                    "pthread_cond_broadcast", "sem_wait", "sem_post", "pthread_self", "usleep"};
enum { NAMES = sizeof names / sizeof *names };

/* In the order of names[]. */
struct calls {
	int (*create)(pthread_t *, const pthread_attr_t *, void *(*)(void *), void *);
	int (*join)(pthread_t, void **);
	int (*lock)(pthread_mutex_t *), (*unlock)(pthread_mutex_t *);
	int (*wait)(pthread_cond_t *, pthread_mutex_t *), (*broadcast)(pthread_cond_t *);
	int (*sem_wait)(sem_t *), (*sem_post)(sem_t *);
	pthread_t (*self)(void);
	int (*usleep)(useconds_t);
};

static struct calls found;
static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t cond = PTHREAD_COND_INITIALIZER;
static sem_t sem;
static int go, waiting;
static long count;

static void *by_found(void *arg) {
	found.lock(&mutex);
	waiting++;
	while (!go)
		found.wait(&cond, &mutex);
	found.unlock(&mutex);
	for (int i = 0; i < ROUNDS; i++) {
		found.lock(&mutex);
		count++;
		if (i % 100 == 0)
			found.usleep(10);
		found.unlock(&mutex);
	}
	found.sem_wait(&sem);
	return pthread_equal(found.self(), pthread_self()) ? arg : NULL;
}

static void *by_link(void *arg) {
	pthread_mutex_lock(&mutex);
	waiting++;
	while (!go)
		pthread_cond_wait(&cond, &mutex);
	pthread_mutex_unlock(&mutex);
	for (int i = 0; i < ROUNDS; i++) {
		pthread_mutex_lock(&mutex);
		count++;
		if (i % 100 == 0)
			usleep(10);
		pthread_mutex_unlock(&mutex);
	}
	sem_wait(&sem);
	return arg;
}

static void run(void) {
	pthread_t t[THREADS];
	long sum = 0;
	bool all = false;
	go = waiting = 0;
	count = 0;
	sem_init(&sem, 0, 0);
	for (int i = 0; i < THREADS; i++) {
		void *(*start)(void *) = i & 1 ? by_found : by_link;
		(i & 2 ? found.create : pthread_create)(&t[i], NULL, start, (void *)1);
	}
	while (!all) {
		pthread_mutex_lock(&mutex);
		all = waiting == THREADS;
		pthread_mutex_unlock(&mutex);
		usleep(1000);
	}
	found.lock(&mutex);
	go = 1;
	found.broadcast(&cond);
	pthread_mutex_unlock(&mutex);
	for (int i = 0; i < THREADS; i++)
		(i & 1 ? sem_post : found.sem_post)(&sem);
	for (int i = 0; i < THREADS; i++) {
		void *result;
		(i & 1 ? found.join : pthread_join)(t[i], &result);
		sum += (long)result;
	}
	printf("%ld rounds, %ld threads\n", count, sum);
	sem_destroy(&sem);
}

/* In libc with that version; the two that have none other are asked for with their one. */
static void *versioned(void *handle, const char *name) {
	void *f = dlvsym(handle, name, strstr(name, "cond") ? COND_VERSION : OLD_VERSION);
	return f ? f : dlvsym(handle, name, "GLIBC_2.34");
}

static void *plain(void *handle, const char *name) { return dlsym(handle, name); }

static void by(const char *what, void *handle, void *(*find)(void *, const char *)) {
	printf("%s: ", what);
	for (int i = 0; i < NAMES; i++) {
		((void **)&found)[i] = find(handle, names[i]);
		if (!((void **)&found)[i])
			printf("no %s ", names[i]);
	}
	run();
}

int main(void) {
	void *libc = dlopen("libc.so.6", RTLD_NOW), *libpthread = dlopen("libpthread.so.0", RTLD_NOW);
	by("dlsym(RTLD_DEFAULT)", RTLD_DEFAULT, plain);
	by("dlsym(RTLD_NEXT)", RTLD_NEXT, plain);
	by("dlsym(the program)", dlopen(NULL, RTLD_NOW), plain);
	by("dlsym(libc)", libc, plain);
	by("dlsym(libpthread)", libpthread, plain);
	by("dlvsym(RTLD_DEFAULT)", RTLD_DEFAULT, versioned);
	by("dlvsym(RTLD_NEXT)", RTLD_NEXT, versioned);
	by("dlvsym(libc)", libc, versioned);
	printf("nothing of that name or version: %d %d %d\n", dlsym(libc, "no_such_function") != NULL,
	       dlvsym(RTLD_DEFAULT, "pthread_create", "GLIBC_9.9") != NULL, dlvsym(RTLD_NEXT, "no_such_function", OLD_VERSION) != NULL);
	printf("said so: %d\n", dlerror() != NULL);
	printf("not a function: %d\n", dlsym(libc, "environ") == dlsym(RTLD_DEFAULT, "environ"));
	return 0;
}
