/* Parses ONNX files with protobuf-c. As protobuf-c copies every field, its allocator is where all
 * limits are enforced. The allocator hands out one block from front to back, whose size is bounded
 * by the file's; it drops the mapped file's pages as the copy grows; and since it is called at
 * every level of nested messages, it also limits the depth of the stack. */
#include "onnx_parse.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "micromet/base/size.h"

enum {
    BLOCK_ALIGNMENT = 16,
    MESSAGE_BYTES_MAX = 16 << 20, /* for messages other than their weights: */
    MESSAGE_GROWTH = 32,          /* they take this many times their size in the file */
    LET_GO_BYTES = 4 << 20,
    STACK_BYTES_MAX = 128 << 10,
};

struct block {
    uint8_t *bytes;
    /* let_go_at: the value of `used` at which the mapping's pages are dropped next. */
    size_t size, used, let_go_at;
    void *mapping;
    size_t mapping_bytes;
    const char *stack; /* address in the caller's stack frame */
    bool too_deep, full;
};

static void *block_alloc(void *context, size_t size)
{
    struct block *block = context;
    const char *stack = __builtin_frame_address(0);
    if (block->stack - stack > STACK_BYTES_MAX) {
        block->too_deep = true;
        return NULL;
    }
    const size_t left = block->size - block->used;
    if (size > left || left - size < BLOCK_ALIGNMENT) {
        block->full = true;
        return NULL;
    }
    void *at = block->bytes + block->used;
    block->used += round_up(size, BLOCK_ALIGNMENT);
    if (block->used >= block->let_go_at) {
        madvise(block->mapping, block->mapping_bytes, MADV_DONTNEED); /* failure is harmless */
        block->let_go_at = block->used + LET_GO_BYTES;
    }
    return at;
}

static void block_free(void *context, void *pointer)
{
    (void)context, (void)pointer; /* the caller frees the whole block */
}

static bool map_file(struct block *block, const char *path, struct error *err)
{
    struct stat facts;
    int file = open(path, O_RDONLY | O_CLOEXEC);
    if (file < 0 || fstat(file, &facts) != 0) {
        error_set(err, EXIT_CODE_FAILED, "%s: cannot open: %s", path, strerror(errno));
        goto fail;
    }
    if (!S_ISREG(facts.st_mode) || facts.st_size == 0) {
        error_set(err, EXIT_CODE_FAILED, "%s: not an ONNX file: it is empty", path);
        goto fail;
    }
    void *bytes = mmap(NULL, (size_t)facts.st_size, PROT_READ, MAP_PRIVATE, file, 0);
    if (bytes == MAP_FAILED) {
        error_set(err, EXIT_CODE_FAILED, "%s: cannot map: %s", path, strerror(errno));
        goto fail;
    }
    close(file);
    block->mapping = bytes;
    block->mapping_bytes = (size_t)facts.st_size;
    return true;
fail:
    if (file >= 0) close(file);
    return false;
}

static const char *failure(const struct block *block)
{
    return block->too_deep ? "messages are nested too deeply for a network"
           : block->full   ? "asks for more memory than its size explains"
                           : "not an ONNX file, or cut short; fetch or export it again";
}

static const Onnx__ModelProto *parse(struct block *block, const char *path, struct error *err)
{
    const size_t file = block->mapping_bytes;
    const bool small = file < MESSAGE_BYTES_MAX / MESSAGE_GROWTH;
    block->size = file + file / 4 + (small ? MESSAGE_GROWTH * file : MESSAGE_BYTES_MAX);
    block->bytes = malloc(block->size); /* untouched pages take no memory */
    block->let_go_at = LET_GO_BYTES;
    block->stack = __builtin_frame_address(0);
    if (!block->bytes) {
        error_set(err, EXIT_CODE_FAILED, "%s: no memory for %zu MB", path, block->size >> 20);
        return NULL;
    }
    ProtobufCAllocator allocator = { block_alloc, block_free, block };
    const Onnx__ModelProto *model = onnx__model_proto__unpack(&allocator, block->mapping_bytes,
                                                              block->mapping);
    if (model && model->graph) return model;
    error_set(err, EXIT_CODE_FAILED, "%s: %s", path, failure(block));
    return NULL;
}

const Onnx__ModelProto *onnx_parse(const char *path, void **block, size_t *block_bytes,
                                   struct error *err)
{
    struct block b = { 0 };
    const Onnx__ModelProto *model = NULL;
    if (map_file(&b, path, err)) {
        model = parse(&b, path, err);
        munmap(b.mapping, b.mapping_bytes);
    }
    *block = b.bytes;
    *block_bytes = b.size;
    return model;
}
