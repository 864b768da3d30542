/* What the processes of a simulated communicator share: for each pair of ranks a ring of bytes in
 * POSIX shared memory, and a board on which each rank says what it is doing. */
#ifndef MICROMET_TESTS_NCCL_LINK_H
#define MICROMET_TESTS_NCCL_LINK_H

#include <atomic>
#include <cstddef>
#include <cstdint>

namespace simulated
{

constexpr int ranks_max = 16;
constexpr size_t ring_bytes = 1 << 20;

struct ring {
    std::atomic<uint64_t> written, taken;
    unsigned char bytes[ring_bytes];
};

struct board {
    std::atomic<uint64_t> groups; /* begun so far */
    char text[160];               /* the last one */
};

struct link_memory {
    std::atomic<uint32_t> arrived;
    board boards[ranks_max];
    ring rings[]; /* from rank f to rank t: f * ranks + t */
};

/* At most `bytes`; how many it was. */
size_t ring_put(ring &r, const unsigned char *from, size_t bytes);
size_t ring_take(ring &r, unsigned char *to, size_t bytes);

size_t link_bytes(int ranks);
/* nullptr if the memory cannot be had. All ranks; waits for them for so long. */
link_memory *link_open(const char *name, int rank, int ranks, double patience_s);

} // namespace simulated

#endif
