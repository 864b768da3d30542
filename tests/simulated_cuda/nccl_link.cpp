/* Shared memory of a simulated communicator; see the header. */
#include "nccl_link.h"

#include <algorithm>
#include <chrono>
#include <cstring>
#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

namespace simulated
{

/* Copy `bytes` between linear memory and the ring from position `at` on. */
template <typename Copy> static void around(uint64_t at, size_t bytes, Copy copy)
{
    const size_t start = (size_t)(at % ring_bytes), first = std::min(bytes, ring_bytes - start);
    copy(start, (size_t)0, first);
    copy((size_t)0, first, bytes - first);
}

size_t ring_put(ring &r, const unsigned char *from, size_t bytes)
{
    const uint64_t written = r.written.load(std::memory_order_relaxed);
    const uint64_t taken = r.taken.load(std::memory_order_acquire);
    bytes = std::min(bytes, ring_bytes - (size_t)(written - taken));
    around(written, bytes,
           [&](size_t to, size_t at, size_t n) { memcpy(r.bytes + to, from + at, n); });
    r.written.store(written + bytes, std::memory_order_release);
    return bytes;
}

size_t ring_take(ring &r, unsigned char *to, size_t bytes)
{
    const uint64_t taken = r.taken.load(std::memory_order_relaxed);
    const uint64_t written = r.written.load(std::memory_order_acquire);
    bytes = std::min(bytes, (size_t)(written - taken));
    around(taken, bytes,
           [&](size_t from, size_t at, size_t n) { memcpy(to + at, r.bytes + from, n); });
    r.taken.store(taken + bytes, std::memory_order_release);
    return bytes;
}

size_t link_bytes(int ranks)
{
    return sizeof(link_memory) + (size_t)ranks * (size_t)ranks * sizeof(ring);
}

link_memory *link_open(const char *name, int rank, int ranks, double patience_s)
{
    using clock = std::chrono::steady_clock;
    const auto until = clock::now() + std::chrono::duration<double>(patience_s);
    const int file = shm_open(name, O_CREAT | O_RDWR, 0600);
    if (file < 0) return nullptr;
    void *memory = MAP_FAILED; /* new memory is zeroed, which is how all begins */
    if (ftruncate(file, (off_t)link_bytes(ranks)) == 0)
        memory = mmap(nullptr, link_bytes(ranks), PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
    close(file);
    if (memory == MAP_FAILED) return nullptr;
    link_memory *link = static_cast<link_memory *>(memory);
    link->arrived.fetch_add(1);
    while (link->arrived.load() < (uint32_t)ranks && clock::now() < until) usleep(1000);
    const bool complete = link->arrived.load() == (uint32_t)ranks;
    if (rank == 0) shm_unlink(name);
    if (complete) return link;
    munmap(memory, link_bytes(ranks));
    return nullptr;
}

} // namespace simulated
