/* Settings: GOMAXPROCS and GOSHIM=key=value,key=value. One table in settings.c. Strict: anything unknown or out of range is one clear
 * line on stderr naming the setting and what it accepts; the program then runs on plain kernel threads. Ignored when AT_SECURE. */
#ifndef GOSHIM_SETTINGS_H
#define GOSHIM_SETTINGS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

struct settings {
	uint32_t gomaxprocs;   /* GOMAXPROCS, clamped to 1..256; 0 = not set: settings_procs() */
	bool off;              /* GOSHIM=off=1: kill switch, plain kernel threads */
	bool verbose;          /* GOSHIM=verbose=1: say on stderr what was decided */
	size_t stack;          /* GOSHIM=stack=BYTES[k|m|g]: default stack size; 0 = RLIMIT_STACK as NPTL */
	bool fsbase_trap;      /* GOSHIM=fsbase=trap: write the thread pointer behind the back of a kernel that does not let programs */
	uint8_t batch;         /* GOSHIM=batch=0|1|2: kernel threads wait as SCHED_BATCH never, where that serves more, always */
	bool fewer;            /* GOSHIM=fewer=0|1: may fewer Ps than GOMAXPROCS be used where they serve more */
	bool preempt;          /* GOSHIM=preempt=0|1: may goroutines be interrupted */
	bool guard_mprotect;   /* GOSHIM=guard=markers|mprotect */
	uint64_t chaos;        /* GOSHIM=chaos=SEED: force what is rare (core/chaos.c); 0 = no */
	bool chaos_errors;     /* GOSHIM=chaos_errors=1: also where the program sees an error */
	uint32_t chaos_percent; /* GOSHIM=p=PERCENT: how often */
	uint64_t fail;         /* GOSHIM=fail=N: refuse the runtime's N-th call that may fail; 0 = none */
	bool patch;            /* GOSHIM=patch=0|1: may libc's own calls be led to us by changing its code in memory */
	bool bypass;           /* GOSHIM=bypass=0|1: may other preloaded libraries behind ours be bypassed */
	bool ctl;              /* GOSHIM=ctl=1 or ctl=/FOLDER: a control socket */
	char ctl_folder[48];   /* where, if the user said so; "" */
	char runtime_dir[80];  /* XDG_RUNTIME_DIR, if ctl is on and it is absolute; "" */
	uint32_t io_deadline_s; /* GOSHIM=io_deadline=SECONDS: a socket call waits so long for its peer; 0 as long as it likes */
	uint32_t schedtrace_ms; /* GOSHIM=schedtrace=MS: a line about the scheduler on stderr so often; 0 never */
	uint32_t trim_s;       /* GOSHIM=trim=SECONDS: who waits so long gives back the unused pages of its stack; 0 nobody */
	bool panic_isolate;    /* GOSHIM=panic=isolate: a crash ends its thread only (shims/isolate.c) */
	bool panic_release;    /* GOSHIM=panic=isolate,release: and unlocks its mutexes */
	uint32_t panic_limit;  /* GOSHIM=panic_limit=N: so often a minute */
	uint32_t idle_ms;      /* GOSHIM=idle_ms=N: idle kernel threads kept above GOMAXPROCS */
};
extern struct settings settings __attribute__((visibility("hidden")));

/* Reads the environment without allocating. false: *error holds the line to print (static buffer). Settings named before the bad one
 * are in force, the others keep their defaults. */
bool settings_read(char **envp, const char **error);

/* One value, as if it stood in the environment: "GOMAXPROCS" and its text, or "GOSHIM" and its list. Same errors. */
bool settings_apply(const char *variable, const char *value, const char **error);

/* How many goroutines may run at once: GOMAXPROCS, else the CPUs this process may use, by affinity and by cgroup-v2 quota (rounded up,
 * at least 1). Reads files when GOMAXPROCS is not set, so it is called when the runtime starts and not before. */
uint32_t settings_procs(void);

/* The table as text, for `goshim --help`. */
void settings_help(FILE *out);

#endif
