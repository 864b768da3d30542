/* Device memory that only queued work can access, pinned host memory, and copies.
 *
 * Device memory comes from a reserved address range; addresses are never reused. Its pages are
 * inaccessible: an access by queued work opens the allocation until the wait ends, any other access
 * ends the test with a report. An allocation ends as close to an inaccessible page as cudaMalloc's
 * alignment of 256 bytes allows. The rest of its pages, before and behind it, is a margin that must
 * stay unchanged. Fresh memory and margins are filled with NaN. */
#include "runtime.h"

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <cstdlib>
#include <cstring>
#include <sys/mman.h>
#include <unistd.h>

#ifdef __SANITIZE_ADDRESS__
#include <sanitizer/asan_interface.h>
#endif

using namespace simulated;

namespace
{

constexpr size_t page_bytes = 4096, alignment = 256;
/* Large allocations use huge pages, whose protection changes in microseconds
 * instead of milliseconds. */
constexpr size_t huge_page_bytes = 2 << 20, large_bytes = huge_page_bytes / 4;
constexpr int fresh = 0xff;

struct allocation {
    uint64_t number;
    unsigned char *pages, *start, *end, *pages_end; /* inaccessible pages lie before and behind */
    size_t bytes;
    bool live, open, filled;

    /* In huge pages only the part of a margin next to the allocation is checked. */
    unsigned char *margin() const
    {
        return start - pages > (ptrdiff_t)page_bytes ? start - page_bytes : pages;
    }
};

size_t round_up(size_t value, size_t unit)
{
    return (value + unit - 1) / unit * unit;
}

struct pinned {
    uint64_t number;
    size_t bytes;
};

struct arena {
    unsigned char *begin = nullptr, *end = nullptr, *next = nullptr;
    std::map<const unsigned char *, allocation>
        allocations; /* by first page; freed ones are kept */
    std::vector<allocation *> open;
    std::map<const unsigned char *, pinned> host;
    struct sigaction previous;
};

arena &memory = *new arena;

/* The allocation whose pages, or the inaccessible pages behind them, contain p. */
allocation *find(const void *p)
{
    auto next = memory.allocations.upper_bound((const unsigned char *)p);
    return next == memory.allocations.begin() ? nullptr : &std::prev(next)->second;
}

bool in_arena(const void *p)
{
    return (const unsigned char *)p >= memory.begin && (const unsigned char *)p < memory.end;
}

const pinned *find_pinned(const void *p, const unsigned char **start)
{
    auto next = memory.host.upper_bound((const unsigned char *)p);
    if (next == memory.host.begin()) return nullptr;
    --next;
    *start = next->first;
    return (const unsigned char *)p < next->first + next->second.bytes ? &next->second : nullptr;
}

void protect(const allocation &a, int protection)
{
    if (mprotect(a.pages, (size_t)(a.pages_end - a.pages), protection) != 0)
        sim_defect("cannot change the protection of device memory: %s", strerror(errno));
}

void open(allocation &a)
{
    if (a.open) return;
    protect(a, PROT_READ | PROT_WRITE);
    a.open = true;
    memory.open.push_back(&a);
    if (a.filled) return;
    a.filled = true;
#ifdef __SANITIZE_ADDRESS__
    memset(a.start, fresh, a.bytes);
#else
    memset(a.pages, fresh, (size_t)(a.pages_end - a.pages));
#endif
}

/* The allocation that contains p or, in bytes, is nearest to it. There must be one. */
const allocation &nearest(const unsigned char *p)
{
    const auto next = memory.allocations.upper_bound(p);
    if (next == memory.allocations.begin()) return next->second;
    const allocation &before = std::prev(next)->second;
    const bool take_next = next != memory.allocations.end() && p >= before.end &&
                           next->second.start - p < p - before.end;
    return take_next ? next->second : before;
}

[[noreturn]] void report_access(const void *p)
{
    const allocation &a = nearest((const unsigned char *)p);
    const ptrdiff_t byte = (const unsigned char *)p - a.start;
    const char *what = !sim.running                          ? "host touched device memory"
                       : byte < 0 || (size_t)byte >= a.bytes ? "access out of bounds"
                                                             : "access after free";
    sim_defect("%s: byte %td of allocation %llu (%zu bytes%s)", what, byte,
               (unsigned long long)a.number, a.bytes, a.live ? "" : ", freed");
}

void on_fault(int, siginfo_t *info, void *)
{
    const void *p = info->si_addr;
    if (in_arena(p)) {
        allocation *a = find(p);
        const bool inside = a && (const unsigned char *)p < a->pages_end;
        if (!sim.running || !inside || !a->live) report_access(p);
        open(*a);
        return;
    }
    if (sim.running && info->si_code == SI_KERNEL) sim_defect("misaligned access");
    sigaction(SIGSEGV, &memory.previous, nullptr); /* not ours: let the access fault again */
}

void reserve_arena()
{
    for (size_t bytes = (size_t)16 << 40; bytes >= (size_t)1 << 32 && !memory.begin; bytes /= 2) {
        void *p = mmap(nullptr, bytes, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1,
                       0);
        if (p == MAP_FAILED) continue;
        memory.begin = memory.next = (unsigned char *)p;
        memory.end = memory.begin + bytes;
    }
    if (!memory.begin) sim_defect("no room in the address space for device memory");
    struct sigaction action = {};
    action.sa_sigaction = on_fault;
    action.sa_flags = SA_SIGINFO;
    sigaction(SIGSEGV, &action, &memory.previous);
}

#ifndef __SANITIZE_ADDRESS__
bool untouched(const unsigned char *from, const unsigned char *to)
{
    return std::all_of(from, to, [](unsigned char byte) { return byte == fresh; });
}
#endif

} // namespace

namespace simulated
{

void open_device(const void *p, size_t bytes, const char *what)
{
    allocation *a = in_arena(p) ? find(p) : nullptr;
    if (!a || (const unsigned char *)p >= a->pages_end)
        sim_defect("%s: %p is no device memory", what, p);
    const ptrdiff_t first = (const unsigned char *)p - a->start;
    if (!a->live || first < 0 || (size_t)first > a->bytes || bytes > a->bytes - (size_t)first)
        sim_defect("%s: bytes %td to %td of allocation %llu (%zu bytes%s)", what, first,
                   first + (ptrdiff_t)bytes, (unsigned long long)a->number, a->bytes,
                   a->live ? "" : ", freed");
    open(*a);
}

/* Check the margins of open allocations. With AddressSanitizer they are poisoned instead, and an
 * access is reported where it happens. */
void check_margins()
{
#ifndef __SANITIZE_ADDRESS__
    for (const allocation *a : memory.open)
        if (!untouched(a->margin(), a->start) || !untouched(a->end, a->pages_end))
            sim_defect("write out of bounds, just %s allocation %llu (%zu bytes)",
                       untouched(a->margin(), a->start) ? "behind" : "before",
                       (unsigned long long)a->number, a->bytes);
#endif
}

void close_device()
{
    for (allocation *a : memory.open) {
        a->open = false;
        if (a->live) protect(*a, PROT_NONE);
    }
    memory.open.clear();
}

void list_memory(std::vector<std::pair<uint64_t, std::string>> &lines)
{
    for (const auto &[pages, a] : memory.allocations)
        if (a.live)
            lines.emplace_back(a.number, "allocation " + std::to_string(a.number) + " of " +
                                             std::to_string(a.bytes) + " bytes of device memory");
    for (const auto &[start, host] : memory.host)
        lines.emplace_back(host.number, "allocation " + std::to_string(host.number) + " of " +
                                            std::to_string(host.bytes) +
                                            " bytes of pinned host memory");
}

} // namespace simulated

void sim_expect_device(const void *p, size_t bytes, const char *what)
{
    if (!sim.running) sim_defect("%s is looked at outside of queued work", what);
    open_device(p, bytes, what);
}

/* --- Allocation --- */

cudaError_t cudaMalloc(void **result, size_t bytes)
{
    return api(__func__, cudaErrorMemoryAllocation, [&] {
        if (const cudaError_t unsafe = unsafe_in_capture()) return unsafe;
        *result = nullptr;
        if (bytes == 0) return cudaSuccess;
        if (bytes > sim.memory_limit || sim.memory_taken > sim.memory_limit - bytes)
            return cudaErrorMemoryAllocation;
        if (!memory.begin) reserve_arena();
        const size_t unit = bytes < large_bytes ? page_bytes : huge_page_bytes;
        const size_t tail = round_up(bytes, alignment), whole = round_up(tail, unit);
        if (whole + 2 * huge_page_bytes > (size_t)(memory.end - memory.next))
            sim_defect("the addresses for device memory are used up");
        unsigned char *pages = (unsigned char *)round_up((uintptr_t)memory.next + page_bytes, unit);
        unsigned char *start = pages + whole - tail;
        memory.next = pages + whole;
        memory.allocations[pages] = { ++sim.handles_created,
                                      pages,
                                      start,
                                      start + bytes,
                                      pages + whole,
                                      bytes,
                                      true,
                                      false,
                                      false };
        if (unit == huge_page_bytes) madvise(pages, whole, MADV_HUGEPAGE);
#ifdef __SANITIZE_ADDRESS__
        ASAN_POISON_MEMORY_REGION(pages, (size_t)(start - pages));
        ASAN_POISON_MEMORY_REGION(start + bytes, whole - (size_t)(start - pages) - bytes);
#endif
        sim.memory_taken += bytes;
        *result = start;
        return cudaSuccess;
    });
}

cudaError_t cudaFree(void *p)
{
    return api_release(__func__, [&] {
        if (const cudaError_t unsafe = unsafe_in_capture()) return unsafe;
        if (!p) return cudaSuccess;
        run_all();
        allocation *a = in_arena(p) ? find(p) : nullptr;
        if (!a || a->start != p) sim_defect("cudaFree: %p is not the start of an allocation", p);
        if (!a->live)
            sim_defect("cudaFree: allocation %llu (%zu bytes) was freed before",
                       (unsigned long long)a->number, a->bytes);
        a->live = false;
        sim.memory_taken -= a->bytes;
        const size_t whole = (size_t)(a->pages_end - a->pages);
        if (mmap(a->pages, whole, PROT_NONE,
                 MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED, -1, 0) == MAP_FAILED)
            sim_defect("cudaFree: %s", strerror(errno));
        return sim.sticky;
    });
}

static cudaError_t pin(const char *name, void **result, size_t bytes)
{
    return api(name, cudaErrorMemoryAllocation, [&] {
        if (const cudaError_t unsafe = unsafe_in_capture()) return unsafe;
        *result = nullptr;
        if (bytes == 0) return cudaSuccess;
        if (posix_memalign(result, page_bytes, bytes) != 0) return cudaErrorMemoryAllocation;
        memset(*result, fresh, bytes);
        memory.host[(unsigned char *)*result] = { ++sim.handles_created, bytes };
        return cudaSuccess;
    });
}

cudaError_t cudaHostAlloc(void **result, size_t bytes, unsigned)
{
    return pin(__func__, result, bytes);
}

cudaError_t cudaMallocHost(void **result, size_t bytes)
{
    return pin(__func__, result, bytes);
}

cudaError_t cudaFreeHost(void *p)
{
    return api_release(__func__, [&] {
        if (const cudaError_t unsafe = unsafe_in_capture()) return unsafe;
        if (!p) return cudaSuccess;
        run_all();
        if (memory.host.erase((unsigned char *)p) == 0)
            sim_defect("cudaFreeHost: %p is no pinned memory, or was freed before", p);
        free(p);
        return sim.sticky;
    });
}

cudaError_t cudaPointerGetAttributes(struct cudaPointerAttributes *attributes, const void *p)
{
    return api(__func__, cudaErrorInitializationError, [&] {
        const unsigned char *start;
        *attributes = cudaPointerAttributes {};
        const bool host = find_pinned(p, &start);
        attributes->type = in_arena(p) ? cudaMemoryTypeDevice
                           : host      ? cudaMemoryTypeHost
                                       : cudaMemoryTypeUnregistered;
        if (in_arena(p) || host) attributes->devicePointer = (void *)p;
        if (!in_arena(p)) attributes->hostPointer = (void *)p;
        return cudaSuccess;
    });
}

/* --- Copies --- */

namespace
{

enum place { DEVICE, PINNED, PAGEABLE };

struct copy {
    void *to;
    const void *from; /* NULL: the bytes that follow this struct */
    size_t bytes;
    int value; /* value of a memset */
};

place place_of(const void *p)
{
    const unsigned char *start;
    return in_arena(p) ? DEVICE : find_pinned(p, &start) ? PINNED : PAGEABLE;
}

/* Whether the range stays within its allocation; CUDA refuses it otherwise. */
bool fits(const void *p, size_t bytes)
{
    if (place_of(p) == PAGEABLE) return true;
    const unsigned char *start = nullptr, *at = (const unsigned char *)p;
    if (const pinned *host = find_pinned(p, &start))
        return bytes <= host->bytes - (size_t)(at - start);
    const allocation *a = find(p);
    return a && a->live && at >= a->start && at <= a->end && bytes <= (size_t)(a->end - at);
}

bool kind_fits(cudaMemcpyKind kind, place to, place from)
{
    switch (kind) {
    case cudaMemcpyDefault:
        return true;
    case cudaMemcpyHostToHost:
        return to != DEVICE && from != DEVICE;
    case cudaMemcpyHostToDevice:
        return to == DEVICE && from != DEVICE;
    case cudaMemcpyDeviceToHost:
        return to != DEVICE && from == DEVICE;
    case cudaMemcpyDeviceToDevice:
        return to == DEVICE && from == DEVICE;
    }
    return false;
}

void copy_now(void *argument)
{
    const copy *c = (const copy *)argument;
    const void *from = c->from ? c->from : c + 1;
    if (in_arena(c->to)) open_device(c->to, c->bytes, "target of a copy");
    if (in_arena(from)) open_device(from, c->bytes, "source of a copy");
    if ((uintptr_t)c->to < (uintptr_t)from + c->bytes &&
        (uintptr_t)from < (uintptr_t)c->to + c->bytes)
        sim_defect("source and target of a copy overlap");
    memcpy(c->to, from, c->bytes);
}

void set_now(void *argument)
{
    const copy *c = (const copy *)argument;
    open_device(c->to, c->bytes, "target of a memset");
    memset(c->to, c->value, c->bytes);
}

task copy_task(const char *name, void *to, const void *from, size_t bytes)
{
    const bool staged = place_of(from) == PAGEABLE; /* copy its present contents */
    copy *c = (copy *)malloc(sizeof *c + (staged ? bytes : 0));
    if (!c) sim_defect("out of host memory");
    *c = { to, staged ? nullptr : from, bytes, 0 };
    if (staged) memcpy((void *)(c + 1), from, bytes);
    task t;
    t.name = name;
    t.work = copy_now;
    t.argument = std::shared_ptr<void>(c, free);
    return t;
}

cudaError_t set(CUstream_st *stream, const char *name, void *p, int value, size_t bytes)
{
    if (bytes == 0) return cudaSuccess;
    if (!in_arena(p) || !fits(p, bytes)) return cudaErrorInvalidValue;
    copy *c = (copy *)malloc(sizeof *c);
    if (!c) sim_defect("out of host memory");
    *c = { p, nullptr, bytes, value };
    task t;
    t.name = name;
    t.work = set_now;
    t.argument = std::shared_ptr<void>(c, free);
    return put(stream, t);
}

} // namespace

cudaError_t cudaMemcpyAsync(void *to, const void *from, size_t bytes, cudaMemcpyKind kind,
                            cudaStream_t handle)
{
    return api(__func__, cudaErrorLaunchFailure, [&] {
        CUstream_st *stream = stream_of(handle);
        if (bytes == 0) return cudaSuccess;
        const place target = place_of(to), source = place_of(from);
        if (!kind_fits(kind, target, source)) return cudaErrorInvalidValue;
        if (!fits(to, bytes) || !fits(from, bytes)) return cudaErrorInvalidValue;
        const bool pageable = target == PAGEABLE || source == PAGEABLE;
        if (pageable && stream->capture)
            return invalidate(*stream->capture, cudaErrorStreamCaptureUnsupported);
        const cudaError_t status = put(stream, copy_task("cudaMemcpyAsync", to, from, bytes));
        if (status != cudaSuccess || target != PAGEABLE) return status;
        run_until(stream->last); /* as CUDA does: pageable memory is filled on return */
        return sim.sticky;
    });
}

/* Synchronises as NVIDIA's "API synchronization behavior" specifies. */
cudaError_t cudaMemcpy(void *to, const void *from, size_t bytes, cudaMemcpyKind kind)
{
    return api(__func__, cudaErrorLaunchFailure, [&] {
        if (const cudaError_t unsafe = unsafe_in_capture()) return unsafe;
        if (bytes == 0) return cudaSuccess;
        const place target = place_of(to), source = place_of(from);
        if (!kind_fits(kind, target, source)) return cudaErrorInvalidMemcpyDirection;
        if (!fits(to, bytes) || !fits(from, bytes)) return cudaErrorInvalidValue;
        const bool staged = target == DEVICE && source == PAGEABLE;
        if (staged) {
            for (const item_ptr &before : before_next(&sim.legacy)) run_until(before);
        }
        const cudaError_t status = put(&sim.legacy, copy_task("cudaMemcpy", to, from, bytes));
        if (status != cudaSuccess || staged || (target == DEVICE && source == DEVICE))
            return status;
        run_until(sim.legacy.last);
        return sim.sticky;
    });
}

cudaError_t cudaMemsetAsync(void *p, int value, size_t bytes, cudaStream_t stream)
{
    return api(__func__, cudaErrorLaunchFailure,
               [&] { return set(stream_of(stream), "cudaMemsetAsync", p, value, bytes); });
}

cudaError_t cudaMemset(void *p, int value, size_t bytes)
{
    return api(__func__, cudaErrorLaunchFailure, [&] {
        if (const cudaError_t unsafe = unsafe_in_capture()) return unsafe;
        return set(&sim.legacy, "cudaMemset", p, value, bytes);
    });
}
