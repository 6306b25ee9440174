/* The table of libc's functions: everything in real.def is found in this libc, under the version it names (INT-3). */
#include <criterion/criterion.h>
#include <dlfcn.h>
#include <string.h>

#include "symbols.h"

struct entry {
	const char *name, *version;
	void *address;
};

Test(symbols, all_are_found) {
	cr_assert(symbols_init() == NULL, "%s is missing", symbols_init());
	cr_expect(real.ready);
	const struct entry entries[] = {
#define REAL(ret, name, params, version) {#name, version, (void *)real.name},
#include "real.def"
#undef REAL
	};
	for (size_t i = 0; i < sizeof(entries) / sizeof(entries[0]); i++)
		cr_expect(entries[i].address, "%s was not found", entries[i].name);
	cr_expect(dlerror() == NULL, "an error is left behind");
}

/* Asked of libc itself: a wrong version in the table would silently fall back to the default one. */
Test(symbols, versions_exist) {
	void *libc = dlopen("libc.so.6", RTLD_NOW | RTLD_NOLOAD);
	cr_assert(libc);
	const struct entry entries[] = {
#define REAL(ret, name, params, version) {#name, version, NULL},
#include "real.def"
#undef REAL
	};
	for (size_t i = 0; i < sizeof(entries) / sizeof(entries[0]); i++) {
		if (!entries[i].version || !dlvsym(libc, "closefrom", "GLIBC_2.34"))
			continue; /* only a libc that has them all */
		cr_expect(dlvsym(libc, entries[i].name, entries[i].version), "%s has no version %s", entries[i].name, entries[i].version);
	}
}

Test(symbols, again_changes_nothing) {
	symbols_init();
	struct real before = real;
	cr_expect(symbols_init() == NULL);
	cr_expect(memcmp(&before, &real, sizeof(real)) == 0);
}
