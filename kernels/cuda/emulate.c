/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "kernels/cuda/emulate.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/base/mem.h"

#if !defined(__x86_64__)
#include <ucontext.h>
#endif

#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/common_interface_defs.h>
#endif

enum { LANES = 32, STACK_BYTES = 128 << 10, COPIES_MAX = 512, SLOT_WORDS = 8 };

enum state { READY, AT_BLOCK, AT_WARP, DONE };

/* ---- changing stacks ----
 *
 * swapcontext asks the kernel for the signal mask at each turn, and under the address sanitizer
 * clears the shadow of a whole stack: too slow for the millions of turns of a test. */

#if defined(__x86_64__)
struct stack {
    void *top;
};

/* Leaves the registers that a callee keeps on this stack, its top in *leave, and goes on at
 * `enter`. */
static __attribute__((naked, noinline)) void change_stack(void **leave BT_UNUSED,
                                                          void *enter BT_UNUSED)
{
    __asm__("pushq %rbp\n\tpushq %rbx\n\tpushq %r12\n\tpushq %r13\n\tpushq %r14\n\tpushq %r15\n\t"
            "movq %rsp, (%rdi)\n\tmovq %rsi, %rsp\n\t"
            "popq %r15\n\tpopq %r14\n\tpopq %r13\n\tpopq %r12\n\tpopq %rbx\n\tpopq %rbp\n\tret");
}

static void stack_switch(struct stack *leave, struct stack *enter)
{
    change_stack(&leave->top, enter->top);
}

/* As if change_stack had been called from the very beginning of start, which never returns. */
static void stack_begin(struct stack *s, char *base, size_t bytes, void (*start)(void))
{
    void **top = (void **)(void *)(base + bytes);

    *--top = NULL; /* where start would return to; keeps the alignment of a call */
    memcpy(--top, &start, sizeof start);
    for (int i = 0; i < 6; i++)
        *--top = NULL;
    s->top = top;
}
#else
struct stack {
    ucontext_t context;
};

static void stack_switch(struct stack *leave, struct stack *enter)
{
    swapcontext(&leave->context, &enter->context);
}

static void stack_begin(struct stack *s, char *base, size_t bytes, void (*start)(void))
{
    getcontext(&s->context);
    s->context.uc_stack.ss_sp = base;
    s->context.uc_stack.ss_size = bytes;
    s->context.uc_link = NULL;
    makecontext(&s->context, start, 0);
}
#endif

struct copy {
    void *to;
    const void *from;
    bool there;
    int group;
};

struct fiber {
    struct emu_place place; /* first: emu_self points here */
    struct stack context;
    char *stack;
    enum state state;
    unsigned turn;                /* warp operations so far: which slot */
    uint32_t slot[2][SLOT_WORDS]; /* what other lanes may read */
    struct copy copies[COPIES_MAX];
    int n_copies, group;
    void *fake; /* the sanitizer's */
};

static struct {
    struct fiber *fibers[EMU_THREADS_MAX];
    int n; /* of the block that runs */
    struct stack scheduler;
    void *shared;
    void (*entry)(const void *args);
    const void *args;
    bool backwards, at_once; /* order; copies arrive when they are asked for */
    unsigned launches;
    const void *stack; /* the scheduler's, for the sanitizer */
    size_t stack_bytes;
} machine;

struct emu_place *emu_self;

static struct fiber *self(void)
{
    return (struct fiber *)emu_self;
}

static BT_NORETURN void broken(const char *what)
{
    fprintf(stderr, "emulated GPU: block %u,%u thread %u: %s\n", emu_self->block.x,
            emu_self->block.y, emu_self->thread.x, what);
    abort();
}

/* ---- fibers ---- */

static void to_scheduler(bool for_ever)
{
    struct fiber *f = self();

#if defined(__SANITIZE_ADDRESS__)
    __sanitizer_start_switch_fiber(for_ever ? NULL : &f->fake, machine.stack, machine.stack_bytes);
#endif
    (void)for_ever;
    stack_switch(&f->context, &machine.scheduler);
#if defined(__SANITIZE_ADDRESS__)
    __sanitizer_finish_switch_fiber(f->fake, &machine.stack, &machine.stack_bytes);
#endif
}

static void fiber_main(void)
{
#if defined(__SANITIZE_ADDRESS__)
    __sanitizer_finish_switch_fiber(NULL, &machine.stack, &machine.stack_bytes);
#endif
    machine.entry(machine.args);
    if (self()->n_copies)
        broken("ends with copies under way");
    self()->state = DONE;
    to_scheduler(true);
}

static void resume(struct fiber *f)
{
    emu_self = &f->place;
#if defined(__SANITIZE_ADDRESS__)
    void *fake = NULL;

    __sanitizer_start_switch_fiber(&fake, f->stack, STACK_BYTES);
#endif
    stack_switch(&machine.scheduler, &f->context);
#if defined(__SANITIZE_ADDRESS__)
    __sanitizer_finish_switch_fiber(fake, NULL, NULL);
#endif
}

static void prepare(struct fiber *f, unsigned thread, struct emu_dim block, struct emu_dim grid)
{
    f->place = (struct emu_place){.thread = {thread, 0},
                                  .block = block,
                                  .block_dim = {(unsigned)machine.n, 1},
                                  .grid_dim = grid};
    f->state = READY;
    f->turn = 0;
    f->n_copies = f->group = 0;
    f->fake = NULL;
    stack_begin(&f->context, f->stack, STACK_BYTES, fiber_main);
}

static int count(enum state s, int from, int to)
{
    int n = 0;

    for (int i = from; i < to; i++)
        n += machine.fibers[i]->state == s;
    return n;
}

static void release(enum state s, int from, int to)
{
    for (int i = from; i < to; i++) {
        if (machine.fibers[i]->state == s)
            machine.fibers[i]->state = READY;
    }
}

/* One warp as far as it comes without the others: to a barrier of the block, or its end. Its own
 * operations need all 32 lanes. */
static void run_warp(int first)
{
    do {
        for (int i = 0; i < LANES; i++) {
            struct fiber *f = machine.fibers[first + (machine.backwards ? LANES - 1 - i : i)];

            if (f->state == READY)
                resume(f);
        }
        if (count(AT_WARP, first, first + LANES) == LANES)
            release(AT_WARP, first, first + LANES);
    } while (count(READY, first, first + LANES));
}

/* A thread that has ended does not hold up its block. */
static bool release_block(void)
{
    int n = machine.n, waiting = count(AT_BLOCK, 0, n);

    if (!waiting || waiting + count(DONE, 0, n) != n)
        return false;
    release(AT_BLOCK, 0, n);
    return true;
}

static void run_block(struct emu_dim block, struct emu_dim grid)
{
    for (int i = 0; i < machine.n; i++)
        prepare(machine.fibers[i], (unsigned)i, block, grid);
    do {
        for (int w = 0; w < machine.n; w += LANES)
            run_warp(machine.backwards ? machine.n - LANES - w : w);
    } while (release_block());
    if (count(DONE, 0, machine.n) != machine.n)
        broken("threads of the block wait at different places");
}

void emu_launch(struct emu_dim grid, int threads, size_t shared, void (*entry)(const void *args),
                const void *args)
{
    size_t blocks = (size_t)grid.x * grid.y;

    if (threads <= 0 || threads > EMU_THREADS_MAX || threads % LANES || !blocks)
        abort();
    for (int i = 0; i < threads; i++) {
        if (!machine.fibers[i]) {
            machine.fibers[i] = bt_new(struct fiber);
            machine.fibers[i]->stack = bt_alloc(STACK_BYTES, 1);
        }
    }
    machine.n = threads;
    machine.entry = entry;
    machine.args = args;
    machine.backwards = machine.launches & 1;
    machine.at_once = machine.launches / 2 & 1;
    machine.launches += machine.launches % 7 == 6 ? 2 : 1; /* no kernel always meets the same */
    machine.shared = bt_alloc(shared ? shared : 1, 1);
    for (size_t i = 0; i < blocks; i++) {
        size_t b = machine.backwards ? blocks - 1 - i : i;

        memset(machine.shared, 0xff, shared);
        run_block((struct emu_dim){(unsigned)(b % grid.x), (unsigned)(b / grid.x)}, grid);
    }
    bt_free(machine.shared);
}

void *emu_shared(void)
{
    return machine.shared;
}

/* ---- what threads do together ---- */

void emu_block_sync(void)
{
    self()->state = AT_BLOCK;
    to_scheduler(false);
}

void emu_warp_sync(void)
{
    self()->state = AT_WARP;
    to_scheduler(false);
}

static const struct fiber *lane(unsigned which)
{
    return machine.fibers[emu_self->thread.x / LANES * LANES + which];
}

/* Shows words to the other lanes and waits for theirs; returns which slot holds them. Two slots in
 * turn: a lane writes a slot again only after all have read it. */
static unsigned exchange(const void *words, size_t bytes)
{
    unsigned s = self()->turn++ % 2;

    memcpy(self()->slot[s], words, bytes);
    emu_warp_sync();
    return s;
}

float emu_shuffle_xor(float x, int mask)
{
    unsigned s = exchange(&x, sizeof x);

    memcpy(&x, lane((emu_self->thread.x % LANES) ^ (unsigned)mask)->slot[s], sizeof x);
    return x;
}

double emu_shuffle_xor_double(double x, int mask)
{
    unsigned s = exchange(&x, sizeof x);

    memcpy(&x, lane((emu_self->thread.x % LANES) ^ (unsigned)mask)->slot[s], sizeof x);
    return x;
}

static const kern_bf16 *matrix_row(unsigned slot, unsigned matrix, unsigned row)
{
    const kern_bf16 *p;

    memcpy(&p, lane(8 * matrix + row)->slot[slot], sizeof p);
    return p;
}

static void check_row(const kern_bf16 *row)
{
    if ((uintptr_t)row % 16)
        broken("a matrix row is not aligned to 16 bytes");
}

void emu_load_matrices(uint32_t r[4], const kern_bf16 *row)
{
    unsigned me = emu_self->thread.x % LANES, s;

    check_row(row);
    s = exchange(&row, sizeof row);
    for (unsigned m = 0; m < 4; m++) {
        const kern_bf16 *p = matrix_row(s, m, me / 4) + 2 * (me % 4);

        r[m] = (uint32_t)p[1] << 16 | p[0];
    }
    emu_warp_sync(); /* the rows are read before anybody overwrites them */
}

void emu_load_matrices_turned(uint32_t r[4], const kern_bf16 *row)
{
    unsigned me = emu_self->thread.x % LANES, s;

    check_row(row);
    s = exchange(&row, sizeof row);
    for (unsigned m = 0; m < 4; m++)
        r[m] = (uint32_t)matrix_row(s, m, 2 * (me % 4) + 1)[me / 4] << 16 |
               matrix_row(s, m, 2 * (me % 4))[me / 4];
    emu_warp_sync();
}

static float half_of(uint32_t word, unsigned which)
{
    return kern_from_bf16((kern_bf16)(which ? word >> 16 : word & 0xffffu));
}

/* a[row][k] of a 16 x 16 fragment: register (row / 8) + 2 (k / 8) of lane 4 (row % 8) + k % 8 / 2.
 */
static float a_at(unsigned s, unsigned row, unsigned k)
{
    uint32_t word = lane(4 * (row % 8) + k % 8 / 2)->slot[s][row / 8 + 2 * (k / 8)];

    return half_of(word, k % 2);
}

/* b[k][n] of a 16 x 8 fragment: register k / 8 of lane 4 n + k % 8 / 2; behind a's four words. */
static float b_at(unsigned s, unsigned k, unsigned n)
{
    return half_of(lane(4 * n + k % 8 / 2)->slot[s][4 + k / 8], k % 2);
}

void emu_multiply_add(float c[4], const uint32_t a[4], const uint32_t b[2])
{
    uint32_t words[6] = {a[0], a[1], a[2], a[3], b[0], b[1]};
    unsigned me = emu_self->thread.x % LANES, s = exchange(words, sizeof words);

    for (unsigned i = 0; i < 4; i++) {
        unsigned row = me / 4 + 8 * (i / 2), n = 2 * (me % 4) + i % 2;
        float sum = c[i];

        for (unsigned k = 0; k < 16; k++)
            sum += a_at(s, row, k) * b_at(s, k, n);
        c[i] = sum;
    }
}

/* ---- copies that take their time ---- */

static void arrive(const struct copy *c)
{
    if (c->there)
        memcpy(c->to, c->from, 16);
    else
        memset(c->to, 0, 16);
}

void emu_copy_later(void *to, const void *from, bool there)
{
    struct fiber *f = self();

    if (f->n_copies == COPIES_MAX)
        broken("more copies under way than this machine counts");
    if ((uintptr_t)to % 16 || (there && (uintptr_t)from % 16))
        broken("a copy is not aligned to 16 bytes");
    f->copies[f->n_copies++] = (struct copy){to, from, there, f->group};
    if (machine.at_once)
        arrive(&f->copies[f->n_copies - 1]);
}

void emu_copies_end_group(void)
{
    self()->group++;
}

void emu_copies_wait(int left)
{
    struct fiber *f = self();
    int kept = 0;

    for (int i = 0; i < f->n_copies; i++) {
        const struct copy *c = &f->copies[i];

        if (c->group >= f->group - left)
            f->copies[kept++] = *c;
        else if (!machine.at_once)
            arrive(c);
    }
    f->n_copies = kept;
}
