/* Backtraces of goroutines that do not run, taken from another thread while the program goes on.
 *
 * Code is compiled without frame pointers, so the way from a frame to its caller is in .eh_frame. libgcc's unwinder knows it, too, but walks
 * the calling thread only, calls malloc on the way, and faults where it reads nonsense. This one starts from any set of registers and
 * reads everything, tables included, by process_vm_readv(2) on ourselves: a stack that is being unmapped, a module that is being
 * unloaded or a goroutine that ran on meanwhile gives a wrong or a short backtrace, never a fault. It takes no lock and
 * allocates nothing, so it may run while whoever is looked at holds any lock.
 *
 * A step: find the object of the pc (libc's _dl_find_object, lock-free), the function's record by the binary search table of
 * .eh_frame_hdr, run its program up to the pc, which gives one row of rules: where the caller's stack pointer (CFA) is and where each
 * saved register lies. Rows are cached by pc: thousands of goroutines wait in the same few places, and a system call per byte read is slow.
 *
 * Known limits: the search table must have the form that every linker of today writes; expressions know the operators that
 * signal frames and PLT entries use. What is beyond ends the backtrace. */
#include "unwind.h"

#include <stdatomic.h>
#include <string.h>
#include <sys/uio.h>

#define ROWS_SAVED 4 /* depth of remember_state */
#define EXPR_DEPTH 8

bool (*unwind_object_hook)(uintptr_t pc, struct unwind_object *out);

/* seq_cst, all but the undo: who looks at `forbids` has counted himself before, and who forbids waits for those that are counted. */
static _Atomic uint32_t forbids, peeks;

/* In a fork's child those that did not come along stay counted, so it does not wait for ever. */
void peek_forbid(void) {
	enum { LOOKS = 1000 };
	atomic_fetch_add(&forbids, 1);
	for (int looks = 0; atomic_load(&peeks) != 0 && looks < LOOKS; looks++)
		SYS0(SYS_sched_yield);
}

void peek_forbid_undo(void) {
	atomic_fetch_sub_explicit(&forbids, 1, memory_order_relaxed);
}

bool peek(void *to, uintptr_t from, size_t n) {
	struct iovec local = {to, n}, remote = {(void *)from, n};
	atomic_fetch_add(&peeks, 1);
	bool read = atomic_load(&forbids) == 0 && SYS6(SYS_process_vm_readv, SYS0(SYS_getpid), &local, 1, &remote, 1, 0) == (long)n;
	atomic_fetch_sub(&peeks, 1);
	return read;
}

/* ---- a stream of bytes at a foreign address ----------------------------------------------------------------------- */

struct stream {
	uintptr_t at, end;
	uintptr_t from; /* buf holds [from, from + have) */
	size_t have;
	bool bad; /* read past the end or from nowhere: all values are 0 from then on */
	unsigned char buf[128];
};

static struct stream stream_at(uintptr_t at, uintptr_t end) {
	struct stream s;
	s.at = at;
	s.end = end;
	s.from = s.have = 0;
	s.bad = false;
	return s;
}

static uint8_t get_u8(struct stream *s) {
	if (s->at - s->from >= s->have) {
		size_t n = sizeof s->buf, to_page_end = 4096 - (s->at & 4095);
		if (s->at >= s->end)
			s->bad = true;
		if (n > to_page_end)
			n = to_page_end;
		if (s->bad || !peek(s->buf, s->at, n)) {
			s->bad = true;
			return 0;
		}
		s->from = s->at;
		s->have = n;
	}
	return s->buf[s->at++ - s->from];
}

static uint64_t get_le(struct stream *s, unsigned bytes) {
	uint64_t v = 0;
	for (unsigned i = 0; i < bytes; i++)
		v |= (uint64_t)get_u8(s) << (8 * i);
	return v;
}

static uint64_t get_uleb(struct stream *s) {
	uint64_t v = 0;
	for (unsigned shift = 0;; shift += 7) {
		uint8_t b = get_u8(s);
		if (shift < 64)
			v |= (uint64_t)(b & 0x7f) << shift;
		if (!(b & 0x80))
			return v;
	}
}

static int64_t get_sleb(struct stream *s) {
	uint64_t v = 0;
	unsigned shift = 0;
	uint8_t b;
	do {
		b = get_u8(s);
		if (shift < 64)
			v |= (uint64_t)(b & 0x7f) << shift;
		shift += 7;
	} while (b & 0x80);
	if (shift < 64 && (b & 0x40))
		v |= ~0ull << shift;
	return (int64_t)v;
}

/* A pointer in one of the encodings of .eh_frame (DW_EH_PE_*). `data`: what DW_EH_PE_datarel counts from. */
static uint64_t get_pointer(struct stream *s, uint8_t encoding, uintptr_t data) {
	uintptr_t here = s->at;
	uint64_t v;
	switch (encoding & 0x0f) {
	case 0x00:
	case 0x04:
	case 0x0c:
		v = get_le(s, 8);
		break;
	case 0x01:
		v = get_uleb(s);
		break;
	case 0x02:
		v = get_le(s, 2);
		break;
	case 0x03:
		v = get_le(s, 4);
		break;
	case 0x0a:
		v = (uint64_t)(int16_t)get_le(s, 2);
		break;
	case 0x0b:
		v = (uint64_t)(int32_t)get_le(s, 4);
		break;
	default:
		s->bad = true;
		return 0;
	}
	switch (encoding & 0x70) {
	case 0x00:
		return v;
	case 0x10:
		return v + here;
	case 0x30:
		return v + data;
	default:
		s->bad = true;
		return 0;
	}
}

/* ---- rules ------------------------------------------------------------------------------------------------------------ */

enum rule_kind { RULE_SAME, RULE_UNDEFINED, RULE_AT_CFA, RULE_IS_CFA, RULE_REGISTER, RULE_AT_EXPR, RULE_IS_EXPR };

struct rule {
	uint8_t kind;
	int64_t value; /* offset, register, or the address of an expression (length first) */
};

struct row {
	struct rule cfa; /* RULE_REGISTER with `cfa_offset`, or RULE_IS_EXPR */
	int64_t cfa_offset;
	struct rule reg[ARCH_DWARF_REGS];
	uint32_t ra;
	bool signal;
};

struct unwind_cache {
	_Atomic uint32_t busy;
	struct {
		uint64_t pc;
		struct row row;
	} slot[UNWIND_CACHE];
};
struct unwind_cache unwind_cache;

struct unwind_cache *unwind_cache_get(void) {
	uint32_t free_word = 0;
	if (!__atomic_compare_exchange_n((uint32_t *)&unwind_cache.busy, &free_word, 1, false, __ATOMIC_ACQUIRE,
					 __ATOMIC_RELAXED))
		return NULL;
	for (size_t i = 0; i < UNWIND_CACHE; i++)
		unwind_cache.slot[i].pc = 0;
	return &unwind_cache;
}

void unwind_cache_put(struct unwind_cache *cache) {
	if (cache)
		__atomic_store_n((uint32_t *)&cache->busy, 0, __ATOMIC_RELEASE);
}

struct cie {
	uint64_t code_align;
	int64_t data_align;
	uint32_t ra;
	uint8_t encoding;
	bool augmented, signal;
	uintptr_t program, end;
};

static bool cie_read(uintptr_t at, struct cie *c) {
	struct stream s = stream_at(at, at + 4);
	uint64_t length = get_le(&s, 4);
	char augmentation[8];
	size_t n = 0;
	if (s.bad || length < 9 || length >= 0xfffffff0u)
		return false;
	s = stream_at(at + 4, at + 4 + length);
	c->end = at + 4 + length;
	if (get_le(&s, 4) != 0)
		return false;
	uint8_t version = get_u8(&s);
	do {
		augmentation[n] = (char)get_u8(&s);
	} while (augmentation[n] && ++n < sizeof augmentation - 1);
	augmentation[n] = '\0';
	if (s.bad || n == sizeof augmentation - 1)
		return false;
	c->code_align = get_uleb(&s);
	c->data_align = get_sleb(&s);
	c->ra = version == 1 ? get_u8(&s) : (uint32_t)get_uleb(&s);
	c->encoding = 0;
	c->signal = false;
	c->augmented = augmentation[0] == 'z';
	if (c->augmented) {
		uint64_t bytes = get_uleb(&s);
		uintptr_t after = s.at + bytes;
		for (const char *a = augmentation + 1; *a && !s.bad; a++) {
			if (*a == 'R')
				c->encoding = get_u8(&s);
			else if (*a == 'P') {
				uint8_t encoding = get_u8(&s) & 0x7f;
				get_pointer(&s, encoding & 0x0f, 0);
			} else if (*a == 'L')
				get_u8(&s);
			else if (*a == 'S')
				c->signal = true;
		}
		s.at = after;
	}
	c->program = s.at;
	return !s.bad && c->ra < ARCH_DWARF_REGS && s.at <= c->end;
}

/* The record of the function that holds pc: a binary search over pairs of (start, record), both relative to the table. 0: none. */
static uintptr_t fde_find(uintptr_t hdr, uintptr_t pc) {
	unsigned char head[12];
	uint32_t count;
	if (!peek(head, hdr, sizeof head) || head[0] != 1 || (head[2] & 0x0f) != 0x03 || head[3] != 0x3b)
		return 0;
	/* The pointer to .eh_frame before the count is four bytes in what linkers write. */
	if ((head[1] & 0x0f) != 0x0b && (head[1] & 0x0f) != 0x03)
		return 0;
	memcpy(&count, head + 8, 4);
	uintptr_t table = hdr + 12;
	int32_t pair[2];
	uint32_t lo = 0, hi = count;
	while (hi - lo > 1) {
		uint32_t mid = lo + (hi - lo) / 2;
		if (!peek(pair, table + 8ull * mid, sizeof pair))
			return 0;
		if (hdr + (uintptr_t)(intptr_t)pair[0] <= pc)
			lo = mid;
		else
			hi = mid;
	}
	if (!count || !peek(pair, table + 8ull * lo, sizeof pair) || hdr + (uintptr_t)(intptr_t)pair[0] > pc)
		return 0;
	return hdr + (uintptr_t)(intptr_t)pair[1];
}

struct machine {
	struct row row, initial, saved[ROWS_SAVED];
	unsigned depth;
	const struct cie *cie;
	uint64_t loc;
};

static void rule_set(struct machine *m, uint64_t reg, uint8_t kind, int64_t value) {
	if (reg < ARCH_DWARF_REGS)
		m->row.reg[reg] = (struct rule){kind, value};
}

/* Skips a block that is a length and so many bytes; returns where it starts. */
static int64_t get_block(struct stream *s) {
	uintptr_t at = s->at;
	uint64_t n = get_uleb(s);
	s->at += n;
	return (int64_t)at;
}

/* One instruction of the extended set. False: unknown. */
static bool program_op(struct machine *m, struct stream *s, uint8_t op) {
	int64_t factor = m->cie->data_align;
	uint64_t reg;
	switch (op) {
	case 0x00: /* nop */
		return true;
	case 0x01: /* set_loc */
		m->loc = get_pointer(s, m->cie->encoding, 0);
		return true;
	case 0x02:
		m->loc += get_le(s, 1) * m->cie->code_align;
		return true;
	case 0x03:
		m->loc += get_le(s, 2) * m->cie->code_align;
		return true;
	case 0x04:
		m->loc += get_le(s, 4) * m->cie->code_align;
		return true;
	case 0x05: /* offset_extended */
		reg = get_uleb(s);
		rule_set(m, reg, RULE_AT_CFA, (int64_t)get_uleb(s) * factor);
		return true;
	case 0x11: /* offset_extended_sf */
		reg = get_uleb(s);
		rule_set(m, reg, RULE_AT_CFA, get_sleb(s) * factor);
		return true;
	case 0x06: /* restore_extended */
		reg = get_uleb(s);
		if (reg < ARCH_DWARF_REGS)
			m->row.reg[reg] = m->initial.reg[reg];
		return true;
	case 0x07: /* undefined */
		rule_set(m, get_uleb(s), RULE_UNDEFINED, 0);
		return true;
	case 0x08: /* same_value */
		rule_set(m, get_uleb(s), RULE_SAME, 0);
		return true;
	case 0x09: /* register */
		reg = get_uleb(s);
		rule_set(m, reg, RULE_REGISTER, (int64_t)get_uleb(s));
		return true;
	case 0x0a: /* remember_state */
		if (m->depth == ROWS_SAVED)
			return false;
		m->saved[m->depth++] = m->row;
		return true;
	case 0x0b: /* restore_state */
		if (!m->depth)
			return false;
		m->row = m->saved[--m->depth];
		return true;
	case 0x0c: /* def_cfa */
		m->row.cfa = (struct rule){RULE_REGISTER, (int64_t)get_uleb(s)};
		m->row.cfa_offset = (int64_t)get_uleb(s);
		return true;
	case 0x12: /* def_cfa_sf */
		m->row.cfa = (struct rule){RULE_REGISTER, (int64_t)get_uleb(s)};
		m->row.cfa_offset = get_sleb(s) * factor;
		return true;
	case 0x0d: /* def_cfa_register */
		m->row.cfa = (struct rule){RULE_REGISTER, (int64_t)get_uleb(s)};
		return true;
	case 0x0e: /* def_cfa_offset */
		m->row.cfa_offset = (int64_t)get_uleb(s);
		return true;
	case 0x13: /* def_cfa_offset_sf */
		m->row.cfa_offset = get_sleb(s) * factor;
		return true;
	case 0x0f: /* def_cfa_expression */
		m->row.cfa = (struct rule){RULE_IS_EXPR, get_block(s)};
		return true;
	case 0x10: /* expression */
		reg = get_uleb(s);
		rule_set(m, reg, RULE_AT_EXPR, get_block(s));
		return true;
	case 0x16: /* val_expression */
		reg = get_uleb(s);
		rule_set(m, reg, RULE_IS_EXPR, get_block(s));
		return true;
	case 0x14: /* val_offset */
		reg = get_uleb(s);
		rule_set(m, reg, RULE_IS_CFA, (int64_t)get_uleb(s) * factor);
		return true;
	case 0x2d: /* window_save; on aarch64: the return address is signed */
		return true;
	case 0x2e: /* GNU_args_size */
		get_uleb(s);
		return true;
	default:
		return false;
	}
}

/* Runs the program in [at, end) up to pc. */
static bool program_run(struct machine *m, uintptr_t at, uintptr_t end, uint64_t pc) {
	struct stream s = stream_at(at, end);
	while (s.at < end && !s.bad && m->loc <= pc) {
		uint8_t op = get_u8(&s), low = op & 0x3f;
		switch (op >> 6) {
		case 1: /* advance_loc */
			m->loc += low * m->cie->code_align;
			break;
		case 2: /* offset */
			rule_set(m, low, RULE_AT_CFA, (int64_t)get_uleb(&s) * m->cie->data_align);
			break;
		case 3: /* restore */
			if (low < ARCH_DWARF_REGS)
				m->row.reg[low] = m->initial.reg[low];
			break;
		default:
			if (!program_op(m, &s, op))
				return false;
		}
	}
	return !s.bad;
}

/* The record of one function. */
struct fde {
	struct cie cie;
	uint64_t start, bytes;   /* its code */
	uintptr_t program, end;
};

static bool fde_read(uint64_t pc, struct fde *f) {
	struct unwind_object object;
	if (!unwind_object_hook || !unwind_object_hook(pc, &object) || !object.eh_frame_hdr)
		return false;
	uintptr_t fde = fde_find(object.eh_frame_hdr, pc);
	if (!fde)
		return false;
	struct stream s = stream_at(fde, fde + 4);
	uint64_t length = get_le(&s, 4);
	if (s.bad || length < 8 || length >= 0xfffffff0u)
		return false;
	f->end = fde + 4 + length;
	s = stream_at(fde + 4, f->end);
	uintptr_t cie_field = s.at;
	if (!cie_read(cie_field - get_le(&s, 4), &f->cie))
		return false;
	f->start = get_pointer(&s, f->cie.encoding, 0);
	f->bytes = get_pointer(&s, f->cie.encoding & 0x0f, 0);
	if (s.bad || pc < f->start || pc - f->start >= f->bytes)
		return false;
	if (f->cie.augmented) {
		uint64_t skip = get_uleb(&s);
		s.at += skip;
	}
	f->program = s.at;
	return true;
}

static bool row_find(uint64_t pc, struct row *out) {
	struct fde f;
	if (!fde_read(pc, &f))
		return false;
	static const struct row empty;
	struct machine m = {.row = empty, .cie = &f.cie, .loc = 0};
	if (!program_run(&m, f.cie.program, f.cie.end, UINT64_MAX))
		return false;
	m.initial = m.row;
	m.loc = f.start;
	if (!program_run(&m, f.program, f.end, pc))
		return false;
	m.row.ra = f.cie.ra;
	m.row.signal = f.cie.signal;
	*out = m.row;
	return true;
}

uintptr_t unwind_function(const struct unwind_frame *f) {
	struct fde found;
	return fde_read(unwind_pc(f) - !f->interrupted, &found) ? found.start : 0;
}

/* ---- a step ------------------------------------------------------------------------------------------------------------- */

static bool reg_get(const struct unwind_frame *f, uint64_t reg, uint64_t *value) {
	if (reg >= ARCH_DWARF_REGS || !(f->known >> reg & 1))
		return false;
	*value = f->reg[reg];
	return true;
}

/* The operators that signal frames, PLT entries and our own assembly use. `top`: pushed before. */
static bool expr_eval(uintptr_t block, const struct unwind_frame *f, bool push, uint64_t top, uint64_t *result) {
	struct stream s = stream_at(block, block + 16);
	uint64_t length = get_uleb(&s), stack[EXPR_DEPTH], v;
	uintptr_t start = s.at;
	unsigned n = 0;
	s = stream_at(start, start + length);
	if (push)
		stack[n++] = top;
	while (s.at < start + length && !s.bad) {
		uint8_t op = get_u8(&s);
		if (op >= 0x70 && op <= 0x8f) { /* breg */
			if (!reg_get(f, op - 0x70u, &v))
				return false;
			v += (uint64_t)get_sleb(&s);
		} else if (op >= 0x30 && op <= 0x4f) { /* lit */
			v = op - 0x30u;
		} else if (op == 0x08 || op == 0x0a || op == 0x0c) { /* const1u, 2u, 4u */
			v = get_le(&s, op == 0x08 ? 1 : op == 0x0a ? 2 : 4);
		} else if (op == 0x09) { /* const1s */
			v = (uint64_t)(int8_t)get_u8(&s);
		} else if (op == 0x06 && n) { /* deref */
			if (!peek(&v, stack[--n], sizeof v))
				return false;
		} else if (op == 0x23 && n) { /* plus_uconst */
			v = stack[--n] + get_uleb(&s);
		} else if ((op == 0x1a || op == 0x22 || op == 0x1c || op == 0x24 || op == 0x2a) && n >= 2) {
			uint64_t b = stack[--n], a = stack[--n];
			v = op == 0x1a   ? (a & b)
			    : op == 0x22 ? a + b
			    : op == 0x1c ? a - b
			    : op == 0x24 ? a << (b & 63)
					 : (uint64_t)((int64_t)a >= (int64_t)b);
		} else {
			return false;
		}
		if (n == EXPR_DEPTH)
			return false;
		stack[n++] = v;
	}
	if (s.bad || !n)
		return false;
	*result = stack[n - 1];
	return true;
}

static bool rule_apply(const struct rule *r, const struct unwind_frame *f, uint64_t reg, uint64_t cfa,
		       uint64_t *value) {
	switch (r->kind) {
	case RULE_SAME:
		return reg_get(f, reg, value);
	case RULE_AT_CFA:
		return peek(value, cfa + (uint64_t)r->value, sizeof *value);
	case RULE_IS_CFA:
		*value = cfa + (uint64_t)r->value;
		return true;
	case RULE_REGISTER:
		return reg_get(f, (uint64_t)r->value, value);
	case RULE_AT_EXPR:
		return expr_eval((uintptr_t)r->value, f, true, cfa, value) && peek(value, *value, sizeof *value);
	case RULE_IS_EXPR:
		return expr_eval((uintptr_t)r->value, f, true, cfa, value);
	default:
		return false;
	}
}

static bool row_get(uint64_t pc, struct unwind_cache *cache, struct row *row) {
	size_t i = (pc * 0x9E3779B97F4A7C15ull >> 32) % UNWIND_CACHE;
	if (cache && cache->slot[i].pc == pc) {
		*row = cache->slot[i].row;
		return true;
	}
	if (!row_find(pc, row))
		return false;
	if (cache) {
		cache->slot[i].pc = pc;
		cache->slot[i].row = *row;
	}
	return true;
}

/* A signal's frame, where the kernel's way back has no record of its own. */
static bool signal_step(struct unwind_frame *f) {
	uint32_t code[2];
	size_t offset = peek(code, unwind_pc(f), sizeof code) ? arch_unwind_signal(code) : 0;
	struct unwind_frame up = {.interrupted = true, .known = (1ull << ARCH_DWARF_REGS) - 1};
	if (!offset || !(f->known >> ARCH_DWARF_SP & 1) || !peek(up.reg, f->reg[ARCH_DWARF_SP] + offset, sizeof up.reg))
		return false;
	*f = up;
	return unwind_pc(f) != 0;
}

bool unwind_step(struct unwind_frame *f, struct unwind_cache *cache) {
	struct row row;
	uint64_t cfa;
	if (!unwind_pc(f))
		return false;
	/* A return address may be the first byte of the next function, when the call was to one that never returns. */
	if (!row_get(unwind_pc(f) - !f->interrupted, cache, &row))
		return signal_step(f);
	if (row.cfa.kind == RULE_IS_EXPR) {
		if (!expr_eval((uintptr_t)row.cfa.value, f, false, 0, &cfa))
			return false;
	} else {
		if (row.cfa.kind != RULE_REGISTER || !reg_get(f, (uint64_t)row.cfa.value, &cfa))
			return false;
		cfa += (uint64_t)row.cfa_offset;
	}
	struct unwind_frame up = {.interrupted = row.signal};
	for (uint64_t reg = 0; reg < ARCH_DWARF_REGS; reg++) {
		if (rule_apply(&row.reg[reg], f, reg, cfa, &up.reg[reg]))
			up.known |= 1ull << reg;
	}
	if (row.reg[ARCH_DWARF_SP].kind == RULE_SAME) {
		up.reg[ARCH_DWARF_SP] = cfa;
		up.known |= 1ull << ARCH_DWARF_SP;
	}
	if (!(up.known >> row.ra & 1))
		return false; /* undefined: the end of the stack */
	up.reg[ARCH_DWARF_PC] = arch_return_address(up.reg[row.ra]);
	up.known |= 1ull << ARCH_DWARF_PC;
	/* Nothing got any further out: a loop. */
	if (up.reg[ARCH_DWARF_SP] == f->reg[ARCH_DWARF_SP] && unwind_pc(&up) == unwind_pc(f))
		return false;
	*f = up;
	return unwind_pc(f) != 0;
}

/* ---- a frame whose base is not known ----------------------------------------------------------------------------------------- */

#define BASE_BYTES 4096 /* so far up it is looked for; a larger frame stays the last one */

static bool leads_to(struct unwind_frame f, struct unwind_cache *cache, uintptr_t outermost) {
	for (int n = 0; n < UNWIND_FRAMES_MAX; n++) {
		if (!unwind_step(&f, cache))
			return unwind_function(&f) == outermost;
	}
	return true; /* it is deep, and made sense so far */
}

/* What was left on the stack by calls that are over is told from what counts by the call before the return address, and by where it leads. */
void unwind_find_base(struct unwind_frame *f, struct unwind_cache *cache, uintptr_t outermost) {
	struct row row;
	if (!row_get(unwind_pc(f) - !f->interrupted, cache, &row) || row.cfa.kind != RULE_REGISTER)
		return;
	uint64_t reg = (uint64_t)row.cfa.value, sp = f->reg[ARCH_DWARF_SP];
	uintptr_t function = unwind_function(f);
	if (reg >= ARCH_DWARF_REGS || f->known >> reg & 1 || !(f->known >> ARCH_DWARF_SP & 1))
		return;
	for (uint64_t base = sp; base < sp + BASE_BYTES; base += sizeof base) {
		struct unwind_frame with = *f, up;
		with.reg[reg] = base;
		with.known |= 1ull << reg;
		up = with;
		if (unwind_step(&up, cache) && arch_calls(unwind_pc(&up), function, peek) && leads_to(up, cache, outermost)) {
			*f = with;
			return;
		}
	}
}
