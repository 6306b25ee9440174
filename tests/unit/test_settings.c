/* The settings' parser, in process. */
#include <criterion/criterion.h>
#include <string.h>

#include "settings.h"

#define DEFAULTS ((struct settings){.patch = true, .idle_ms = 4, .chaos_percent = 10, .trim_s = 10, .panic_limit = 10})

static const char *error;

static void settings_reset(void) {
	settings = DEFAULTS;
	error = NULL;
}

TestSuite(parser, .init = settings_reset);

static bool list(const char *value) {
	return settings_apply("GOSHIM", value, &error);
}

static uint32_t procs(const char *value) {
	settings.gomaxprocs = 0;
	cr_assert(settings_apply("GOMAXPROCS", value, &error), "%s", value);
	return settings.gomaxprocs;
}

Test(parser, procs_are_clamped) {
	cr_expect(procs("1") == 1);
	cr_expect(procs("+2") == 2);
	cr_expect(procs("0") == 1);
	cr_expect(procs("-7") == 1);
	cr_expect(procs("256") == 256);
	cr_expect(procs("257") == 256);
	cr_expect(procs("99999999999999999999999999999999") == 256);
	cr_expect(procs("-99999999999999999999999999999999") == 1);
	cr_expect(procs("0000000000000000000000000000000008") == 8);
}

Test(parser, procs_must_be_a_number) {
	static const char *const bad[] = {" ", "x", "1.5", "2 ", " 2", "0x10", "-", "+", "1e3", "2,3", "\xc2\xb2"};
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		error = NULL;
		cr_expect(!settings_apply("GOMAXPROCS", bad[i], &error), "\"%s\" was accepted", bad[i]);
		cr_expect(error && strncmp(error, "GOMAXPROCS=", 11) == 0 && strstr(error, "1..256"), "%s", error);
		cr_expect(settings.gomaxprocs == 0);
	}
}

Test(parser, stack_sizes) {
	cr_assert(list("stack=16384"));
	cr_expect(settings.stack == 16384);
	cr_assert(list("stack=16k"));
	cr_expect(settings.stack == 16384);
	cr_assert(list("stack=8m"));
	cr_expect(settings.stack == (size_t)8 << 20);
	cr_assert(list("stack=1g"));
	cr_expect(settings.stack == (size_t)1 << 30);
	cr_assert(list("stack=1048576k"));
	cr_expect(settings.stack == (size_t)1 << 30);
	static const char *const bad[] = {"", "0", "16383", "15k", "1073741825", "1048577k", "1025m", "2g", "8M", "8mb", "m", "-8m",
	                                  "18446744073709568000", "18014398509482000k", "8 m"};
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		char item[64] = "stack=";
		strcat(item, bad[i]);
		settings.stack = 1;
		cr_expect(!list(item), "%s was accepted", item);
		cr_expect(settings.stack == 1);
	}
}

Test(parser, the_last_value_counts) {
	cr_assert(list("idle_ms=1,verbose=1,idle_ms=9"));
	cr_expect(settings.idle_ms == 9 && settings.verbose && !settings.off);
	cr_assert(list("verbose=0,guard=mprotect"));
	cr_expect(!settings.verbose && settings.guard_mprotect);
	cr_assert(list("guard=markers"));
	cr_expect(!settings.guard_mprotect);
}

Test(parser, chaos) {
	cr_assert(list("chaos=18,p=3,fail=1000000000000000"));
	cr_expect(settings.chaos == 18 && settings.chaos_percent == 3 && settings.fail == 1000000000000000 && !settings.chaos_errors);
	cr_assert(list("chaos=18,chaos_errors=1"));
	cr_expect(settings.chaos_errors);
	cr_assert(list("chaos_errors=0"));
	cr_expect(!settings.chaos_errors);
}

/* The one value with a comma in it. */
Test(parser, panic) {
	cr_assert(list("panic=isolate"));
	cr_expect(settings.panic_isolate && !settings.panic_release);
	cr_assert(list("verbose=1,panic=isolate,release,idle_ms=9"));
	cr_expect(settings.panic_isolate && settings.panic_release && settings.idle_ms == 9);
	cr_assert(list("panic=crash,panic_limit=7"));
	cr_expect(!settings.panic_isolate && !settings.panic_release && settings.panic_limit == 7);
	cr_assert(list("panic=isolate+release"));
	cr_expect(settings.panic_isolate && settings.panic_release);
	cr_assert(list("panic=isolate,panic_limit=1000000"));
	cr_expect(settings.panic_isolate && !settings.panic_release && settings.panic_limit == 1000000);
}

Test(parser, malformed_lists) {
	static const char *const bad[] = {"off", ",off", "off=1,,off", "off=", "=1", "OFF=1", "off =1", "off= 1",
	                                  "off=1 ", "off=2", "off=11", "off=1;verbose=1", "guard=", "idle_ms=1025", "chaos=-1",
	                                  "chaos=x", "chaos_errors=2", "p=0", "p=101", "fail=1000000000000001", "panic=", "panic=isolate,released", "panic=crash,release",
	                                  "release", "panic=isolate,release,release", "panic_limit=0", "panic_limit=1000001"};
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		error = NULL;
		cr_expect(!list(bad[i]), "\"%s\" was accepted", bad[i]);
		cr_expect(error && strncmp(error, "GOSHIM=", 7) == 0, "%s", error);
	}
}

Test(parser, empty_items) {
	static const char *const good[] = {",", ",,", "idle_ms=9,", ",idle_ms=9", "idle_ms=1,,idle_ms=9", "panic=isolate,"};
	for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
		settings_reset();
		cr_expect(list(good[i]), "\"%s\": %s", good[i], error);
		cr_expect(settings.idle_ms == (strstr(good[i], "idle") ? 9 : 4), "%s", good[i]);
		cr_expect(settings.panic_isolate == (strstr(good[i], "panic") != NULL) && !settings.panic_release, "%s", good[i]);
	}
}

/* However long a value is, it is judged by its own rule: zeros in front are allowed, and a complaint is about the value. */
Test(parser, long_values) {
	char item[600];
	int n = snprintf(item, sizeof item, "stack=%0100dk", 64);
	cr_assert(n > 0 && list(item));
	cr_expect(settings.stack == 64 << 10);
	static const char *const keys[] = {"ctl=/", "stack=x", "verbose="};
	static const char *const why[] = {"must be 0, 1 or the full path of a folder", "must be", "must be 0 or 1"};
	for (size_t i = 0; i < 3; i++) {
		for (int length = 40; length < 500; length += 10) {
			snprintf(item, sizeof item, "%s%0*d", keys[i], length, 0);
			if (i == 0)
				memset(item + 5, 'a', (size_t)length);
			error = NULL;
			if (i == 0 && length < 47)
				continue;
			cr_assert(!list(item), "%s was accepted", item);
			cr_expect(strstr(error, why[i]) && !strstr(error, "KEY=VALUE"), "%s", error);
		}
	}
}

/* Whatever comes in: no overrun (the sanitizers look), and an error that is one printable line. */
Test(parser, noise) {
	unsigned seed = 1;
	for (int round = 0; round < 20000; round++) {
		static const char alphabet[] = "of=,1verbsackgud_imnp0k\n\t \x01\xff";
		char text[400];
		size_t length = (size_t)(rand_r(&seed) % (int)(sizeof(text) - 1));
		for (size_t i = 0; i < length; i++)
			text[i] = alphabet[rand_r(&seed) % (int)(sizeof(alphabet) - 1)];
		text[length] = '\0';
		error = NULL;
		if (settings_apply(round % 2 ? "GOSHIM" : "GOMAXPROCS", text, &error))
			continue;
		cr_assert(error && strlen(error) < 320);
		for (const char *p = error; *p; p++)
			cr_assert(*p >= ' ' && *p <= '~');
	}
}

Test(parser, environment) {
	char *envp[] = {"PATH=/bin", "GOSHIMX=bad", "GOSHIM=idle_ms=7", "GOMAXPROCS=5", "GOMAXPROCS=bad", NULL};
	cr_assert(settings_read(envp, &error));
	cr_expect(settings.idle_ms == 7 && settings.gomaxprocs == 5);
	cr_expect(settings_procs() == 5);
	cr_assert(settings_read(NULL, &error));
	cr_assert(settings_read((char *[]){NULL}, &error));
	cr_expect(!settings_read((char *[]){"GOSHIM=off", NULL}, &error));
}

Test(parser, default_procs) {
	uint32_t n = settings_procs();
	cr_expect(n >= 1 && n <= 256);
	cr_expect(settings.gomaxprocs == 0, "only computed, not set");
}
