/* What libc shares between threads under locks of its own, and what it keeps for each: random(), rand(), strtok(), asctime(), getenv(),
 * localtime() with tzset(), atexit(), iconv by name, qsort of much. */
#include "sync_test.h"

#include <iconv.h>
#include <locale.h>
#include <search.h>
#include <wchar.h>

static int numbers(const void *a, const void *b) {
	return *(const int *)a - *(const int *)b;
}

static long conversions(void) {
	char in[] = "gr\xc3\xbc\xc3\x9f", out[32], *from = in, *to = out;
	size_t left = sizeof in - 1, room = sizeof out;
	iconv_t cd = iconv_open("LATIN1", "UTF-8");
	if (cd == (iconv_t)-1)
		return 1;
	size_t r = iconv(cd, &from, &left, &to, &room);
	iconv_close(cd);
	return r == (size_t)-1 || left != 0 || to - out != 4;
}

static void *thread(void *arg) {
	long wrong = 0, mine = (long)arg;
	int list[500];
	for (int round = 0; round < 4; round++) {
		unsigned seed = (unsigned)mine;
		char state[64], text[32], *save;
		struct random_data data = {0};
		int32_t r;
		wrong += initstate_r(seed + 1, state, sizeof state, &data) != 0;
		for (int i = 0; i < 500; i++) {
			wrong += random() < 0 || rand() < 0 || lrand48() < 0;
			wrong += random_r(&data, &r) != 0;
			list[i] = r;
		}
		qsort(list, 500, sizeof *list, numbers);
		for (int i = 1; i < 500; i++)
			wrong += list[i - 1] > list[i];
		time_t now = 86400 * 365 + mine;
		struct tm tm, *t = gmtime_r(&now, &tm);
		wrong += !t || tm.tm_year != 71 || tm.tm_sec != mine % 60;
		wrong += localtime_r(&now, &tm) == NULL || mktime(&tm) != now;
		strcpy(text, "a b c");
		wrong += !strtok_r(text, " ", &save) || strcmp(strtok_r(NULL, " ", &save), "b") != 0;
		mbstate_t mb = {0};
		wchar_t w;
		wrong += mbrtowc(&w, "x", 1, &mb) != 1 || w != L'x';
		wrong += strtod("1.5", NULL) != 1.5;
		wrong += getenv("PATH") == NULL;
		if (round == 1)
			wrong += conversions();
		sched_yield();
	}
	return (void *)wrong;
}

int main(void) {
	static pthread_t t[300];
	long wrong = 0;
	test_begin();
	setlocale(LC_ALL, "");
	for (long i = 0; i < 300; i++)
		t[i] = start(thread, (void *)i);
	for (int i = 0; i < 300; i++)
		wrong += join(t[i]);
	EQ(wrong, 0);
	return test_end();
}
