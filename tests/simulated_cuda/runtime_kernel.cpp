/* Kernels: the blocks of a grid run one after the other, the threads of a block as fibers.
 *
 * One fiber calls thread after thread until a thread has to wait. The fiber is then set aside with
 * that thread, and another one continues with the threads that have not started. So a kernel
 * without barriers is a loop of calls, and one with barriers switches only where hardware would
 * wait. Blocks, and the threads of a block, start in random order. A thread resumes when all it
 * waits for have arrived; if no thread can continue, the test ends with a report. */
#include "runtime.h"
#include "simulated_device.h"

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <sys/mman.h>

#ifdef __SANITIZE_ADDRESS__
#include <sanitizer/common_interface_defs.h>
#endif
#ifndef __x86_64__
#include <ucontext.h>
#endif

using namespace simulated;

uint3 threadIdx, blockIdx;
dim3 blockDim, gridDim;

/* All __shared__ variables, placed by shared.ld; absent with AddressSanitizer. */
extern "C" unsigned char simulated_shared_begin[] __attribute__((weak));
extern "C" unsigned char simulated_shared_end[] __attribute__((weak));

/* --- Fibers: a stack and where it stopped --- */

namespace
{

constexpr size_t stack_bytes = 256 << 10;

struct fiber {
#ifdef __x86_64__
    void *stack_pointer;
#else
    ucontext_t machine;
#endif
    void *stack; /* lowest address of the stack */
    size_t bytes;
    void *sanitizer;
};

} // namespace

#ifdef __x86_64__
extern "C" void sim_switch(void **from, void *to);

/* Saves callee-saved registers on the old stack; the compiler has saved the rest
 * around the call. */
asm(R"(
    .text
    .type sim_switch, @function
sim_switch:
    pushq %rbp
    pushq %rbx
    pushq %r12
    pushq %r13
    pushq %r14
    pushq %r15
    movq %rsp, (%rdi)
    movq %rsi, %rsp
    popq %r15
    popq %r14
    popq %r13
    popq %r12
    popq %rbx
    popq %rbp
    ret
    .size sim_switch, . - sim_switch
)");
#endif

namespace
{

void enter_fiber([[maybe_unused]] fiber *came_from)
{
#ifdef __SANITIZE_ADDRESS__
    const void *stack;
    size_t bytes;
    __sanitizer_finish_switch_fiber(nullptr, &stack, &bytes);
    came_from->stack = const_cast<void *>(stack);
    came_from->bytes = bytes;
#endif
}

void switch_fiber(fiber *from, fiber *to)
{
#ifdef __SANITIZE_ADDRESS__
    __sanitizer_start_switch_fiber(&from->sanitizer, to->stack, to->bytes);
#endif
#ifdef __x86_64__
    sim_switch(&from->stack_pointer, to->stack_pointer);
#else
    swapcontext(&from->machine, &to->machine);
#endif
#ifdef __SANITIZE_ADDRESS__
    __sanitizer_finish_switch_fiber(from->sanitizer, nullptr, nullptr);
#endif
}

void make_fiber(fiber *c, void (*begin)())
{
    c->bytes = stack_bytes;
    c->stack = mmap(nullptr, stack_bytes, PROT_READ | PROT_WRITE,
                    MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (c->stack == MAP_FAILED) sim_defect("no memory for the stacks of a block");
#ifdef __x86_64__
    void **top = (void **)((char *)c->stack + stack_bytes);
    *--top = nullptr; /* aligns the stack as after a call */
    *--top = (void *)begin;
    for (int i = 0; i < 6; i++) *--top = nullptr;
    c->stack_pointer = top;
#else
    getcontext(&c->machine);
    c->machine.uc_stack.ss_sp = c->stack;
    c->machine.uc_stack.ss_size = stack_bytes;
    c->machine.uc_link = nullptr;
    makecontext(&c->machine, begin, 0);
#endif
}

/* --- The block that runs --- */

enum stage { NOT_BEGUN, RUNS, AT_BARRIER, IN_WARP, ENDED };

struct thread_state {
    enum stage stage = NOT_BEGUN;
    struct fiber *on = nullptr; /* fiber on which it waits */
    const char *file = nullptr; /* source position that it waits at */
    int line = 0;
    unsigned mask = 0;
    sim_warp_kind kind = SIM_WARP_SYNC;
    uint64_t bits = 0; /* its contribution, then its result */
    int source = 0;
};

struct warp_state {
    unsigned alive, waits; /* lanes not ended; lanes waiting in a warp operation */
};

struct block_state {
    fiber scheduler; /* the calling thread */
    std::vector<fiber *> idle;
    fiber *runs = nullptr;

    void (*call)(const void *);
    const void *argument;
    std::vector<thread_state> threads;
    std::vector<warp_state> warps;
    std::vector<uint3> places;   /* threadIdx of each */
    std::vector<unsigned> go_on; /* threads that may be resumed */
    size_t go_on_next = 0, begun = 0, ended = 0, at_barrier = 0;
    unsigned current = 0; /* the running thread */
    permutation order;
};

block_state &block = *new block_state;
bool in_kernel = false;

void set_current(unsigned t)
{
    block.current = t;
    threadIdx = block.places[t];
}

std::string describe(unsigned t)
{
    const thread_state &s = block.threads[t];
    const std::string thread = "thread " + std::to_string(t);
    if (s.stage == ENDED) return thread + " has ended";
    return thread +
           (s.stage == AT_BARRIER ? " waits for the block at " : " waits for its warp at ") +
           s.file + ":" + std::to_string(s.line);
}

void let_go_on(unsigned t)
{
    block.threads[t].stage = RUNS;
    block.go_on.push_back(t);
}

/* Compute the result of a warp operation for each lane of the group. */
void resolve(unsigned first, unsigned group)
{
    uint64_t results[32];
    unsigned ballot = 0;
    for (unsigned lane = 0; lane < 32; lane++)
        if (group >> lane & 1 && block.threads[first + lane].bits) ballot |= 1u << lane;
    for (unsigned lane = 0; lane < 32; lane++) {
        if (!(group >> lane & 1)) continue;
        const thread_state &s = block.threads[first + lane];
        results[lane] = ballot;
        if (s.kind != SIM_WARP_TAKE) continue;
        if (s.source < 0 || s.source > 31 || !(group >> s.source & 1))
            sim_defect("thread %u shuffles from lane %d, which takes no part, at %s:%d",
                       first + lane, s.source, s.file, s.line);
        results[lane] = block.threads[first + (unsigned)s.source].bits;
    }
    for (unsigned lane = 0; lane < 32; lane++) {
        if (!(group >> lane & 1)) continue;
        block.threads[first + lane].bits = results[lane];
        let_go_on(first + lane);
    }
}

/* Resume the lanes that wait at the same warp operation as thread t, if all lanes of its mask that
 * have not ended are there. */
void try_warp(unsigned t)
{
    const unsigned first = t / 32 * 32;
    const thread_state &with = block.threads[t];
    const warp_state &warp = block.warps[t / 32];
    if (with.mask & warp.alive & ~warp.waits) return;
    unsigned group = 0;
    for (unsigned lane = 0; lane < 32; lane++) {
        if (!(with.mask & warp.waits & 1u << lane)) continue;
        const thread_state &s = block.threads[first + lane];
        if (s.line != with.line || s.mask != with.mask || s.kind != with.kind ||
            s.file != with.file)
            return;
        group |= 1u << lane;
    }
    block.warps[t / 32].waits &= ~group;
    resolve(first, group);
}

/* The end of a thread may complete what others wait for. */
void ended(unsigned t)
{
    block.threads[t].stage = ENDED;
    block.ended++;
    warp_state &warp = block.warps[t / 32];
    warp.alive &= ~(1u << t % 32);
    for (unsigned lane = 0; warp.waits && lane < 32; lane++)
        if (warp.waits >> lane & 1) try_warp(t / 32 * 32 + lane);
}

void fiber_main()
{
    enter_fiber(&block.scheduler);
    for (;;) {
        while (block.begun < block.threads.size()) {
            const unsigned t = (unsigned)block.order(block.begun++);
            block.threads[t].stage = RUNS;
            set_current(t);
            block.call(block.argument);
            ended(block.current);
        }
        fiber *self = block.runs;
        block.idle.push_back(self);
        switch_fiber(self, &block.scheduler);
    }
}

void resume(fiber *f)
{
    block.runs = f;
    switch_fiber(&block.scheduler, f);
}

void wait_here(unsigned t)
{
    fiber *self = block.threads[t].on = block.runs;
    switch_fiber(self, &block.scheduler);
    set_current(t);
}

fiber *idle_fiber()
{
    if (block.idle.empty()) {
        fiber *made = new fiber {};
        make_fiber(made, fiber_main);
        return made;
    }
    fiber *f = block.idle.back();
    block.idle.pop_back();
    return f;
}

/* Resume all threads if they wait at the same barrier; otherwise the kernel is wrong. */
void pass_barrier()
{
    const std::vector<thread_state> &all = block.threads;
    const auto first = std::find_if(all.begin(), all.end(),
                                    [](const thread_state &s) { return s.stage != ENDED; });
    const auto other = std::find_if(all.begin(), all.end(), [&](const thread_state &s) {
        return s.stage != first->stage || s.line != first->line || strcmp(s.file, first->file) != 0;
    });
    if (other != all.end())
        sim_defect("divergent threads: %s, but %s",
                   describe((unsigned)(first - all.begin())).c_str(),
                   describe((unsigned)(other - all.begin())).c_str());
    if (first->stage != AT_BARRIER)
        sim_defect("%s in vain", describe((unsigned)(first - all.begin())).c_str());
    for (unsigned t = 0; t < all.size(); t++) let_go_on(t);
}

void run_block()
{
    for (thread_state &s : block.threads) s = thread_state {};
    for (warp_state &warp : block.warps) warp = { 0xffffffff, 0 };
    if (block.threads.size() % 32) block.warps.back().alive = (1u << block.threads.size() % 32) - 1;
    block.go_on.clear();
    block.go_on_next = block.begun = block.ended = 0;
    block.order = permutation(block.threads.size());
    while (block.ended < block.threads.size()) {
        if (block.go_on_next < block.go_on.size())
            resume(block.threads[block.go_on[block.go_on_next++]].on);
        else if (block.begun < block.threads.size())
            resume(idle_fiber());
        else {
            block.go_on.clear();
            block.go_on_next = 0;
            pass_barrier();
        }
    }
}

struct launch {
    void (*thread)(const void *);
    std::shared_ptr<void> argument;
    dim3 grid, size;
};

void run_grid(void *argument)
{
    const launch *l = (const launch *)argument;
    blockDim = l->size;
    gridDim = l->grid;
    block.call = l->thread;
    block.argument = l->argument.get();
    block.threads.resize((size_t)l->size.x * l->size.y * l->size.z);
    block.warps.resize((block.threads.size() + 31) / 32);
    block.places.clear();
    for (unsigned z = 0; z < l->size.z; z++)
        for (unsigned y = 0; y < l->size.y; y++)
            for (unsigned x = 0; x < l->size.x; x++) block.places.push_back({ x, y, z });
    const permutation order((uint64_t)l->grid.x * l->grid.y * l->grid.z);
    in_kernel = true;
    for (uint64_t i = 0; i < order.count; i++) {
        const uint64_t b = order(i);
        blockIdx = { (unsigned)(b % l->grid.x), (unsigned)(b / l->grid.x % l->grid.y),
                     (unsigned)(b / l->grid.x / l->grid.y) };
        /* Not every time: it costs more than a small block. */
        if (simulated_shared_begin && (i < 4 || draw(16) == 0))
            memset(simulated_shared_begin, 0xff,
                   (size_t)(simulated_shared_end - simulated_shared_begin));
        run_block();
    }
    in_kernel = false;
}

void fail_now(void *)
{
    device_failed(cudaErrorLaunchFailure);
}

} // namespace

namespace simulated
{

std::string where_in_kernel()
{
    char text[128] = "";
    if (in_kernel)
        snprintf(text, sizeof text, ", block (%u, %u, %u), thread (%u, %u, %u)", blockIdx.x,
                 blockIdx.y, blockIdx.z, threadIdx.x, threadIdx.y, threadIdx.z);
    return text;
}

} // namespace simulated

void sim_barrier(const char *file, int line)
{
    const unsigned t = block.current;
    thread_state &s = block.threads[t];
    s.stage = AT_BARRIER;
    s.file = file;
    s.line = line;
    wait_here(t);
}

uint64_t sim_warp(sim_warp_kind kind, unsigned mask, uint64_t bits, int source, const char *file,
                  int line)
{
    const unsigned t = block.current;
    if (!(mask >> t % 32 & 1))
        sim_defect("the mask %08x leaves out the lane that calls, at %s:%d", mask, file, line);
    thread_state &s = block.threads[t];
    s.stage = IN_WARP;
    s.kind = kind;
    s.mask = mask;
    s.bits = bits;
    s.source = source;
    s.file = file;
    s.line = line;
    block.warps[t / 32].waits |= 1u << t % 32;
    try_warp(t);
    wait_here(t);
    return block.threads[t].bits;
}

int sim_lane()
{
    return (int)(block.current % 32);
}

void sim_trap(const char *file, int line)
{
    sim_defect("trap at %s:%d", file, line);
}

/* An injected failure appears when the kernel would run. */
void sim_launch(const char *name, void (*thread)(const void *), void *argument, dim3 grid,
                dim3 size, cudaStream_t stream)
{
    const std::lock_guard<std::recursive_mutex> lock(sim.mutex);
    std::shared_ptr<void> kept(argument, free);
    const bool fails = sim_fails("cudaLaunchKernel");
    if (sim.sticky != cudaSuccess || sim.no_device) return;
    const bool possible = grid.x > 0 && grid.y > 0 && grid.z > 0 && size.x > 0 && size.y > 0 &&
                          size.z > 0 && grid.x <= 2147483647 && grid.y <= 65535 &&
                          grid.z <= 65535 && size.x <= 1024 && size.y <= 1024 && size.z <= 64 &&
                          (uint64_t)size.x * size.y * size.z <= 1024;
    if (!possible) {
        leave(cudaErrorInvalidConfiguration);
        return;
    }
    task t;
    t.name = name;
    t.work = fails ? fail_now : run_grid;
    t.argument = std::make_shared<launch>(launch { thread, kept, grid, size });
    leave(put(stream_of(stream), t));
}
