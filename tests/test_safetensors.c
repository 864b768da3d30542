/* safetensors: written files read back, files made by hand are read as specified, and bad files
 * are refused with a reason. */
#include <signal.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>
#include <xxhash.h>

#include "micromet/base/size.h"
#include "micromet/format/weights.h"
#include "temporary.h"

/* Length, header padded with spaces to a multiple of `align` after it, then `data_bytes` bytes 0,
 * 1, 2 … */
static void write_raw(const char *name, const char *header, size_t align, size_t data_bytes)
{
    size_t length = round_up(strlen(header), align);
    uint8_t *bytes = calloc(8 + length + data_bytes, 1);
    for (int i = 0; i < 8; i++) bytes[i] = (uint8_t)((uint64_t)length >> (8 * i));
    memset(bytes + 8, ' ', length);
    memcpy(bytes + 8, header, strlen(header));
    for (size_t i = 0; i < data_bytes; i++) bytes[8 + length + i] = (uint8_t)i;
    temporary_write(name, bytes, 8 + length + data_bytes);
    free(bytes);
}

static void expect_refusal(const char *name, const char *reason)
{
    struct error err = { 0 };
    struct weights weights;
    cr_assert(!safetensors_read(&weights, temporary_path(name), &err), "expected: %s", reason);
    cr_expect(strstr(err.message, reason), "expected '%s' in: %s", reason, err.message);
    cr_expect(strstr(err.message, name), "the file's name stands in: %s", err.message);
    cr_assert_null(weights.arrays);
}

static const float matrix[] = { 1, -2, 3.5f, 4, 5, 6 }, scalar[] = { 0.25f };
static const uint8_t flags[] = { 7, 8, 9 };
static const int64_t big[] = { INT64_MIN, 42 };

static const struct weight_array arrays[] = {
    { .name = "flags", .dims = 1, .shape = { 3 }, .count = 3, .data = flags, .dtype = "U8" },
    { .name = "a/matrix:0",
      .dims = 2,
      .shape = { 2, 3 },
      .count = 6,
      .data = matrix,
      .dtype = "F32" },
    { .name = "scalar", .dims = 0, .count = 1, .data = scalar, .dtype = "F32" },
    { .name = "empty", .dims = 2, .shape = { 0, 3 }, .count = 0, .data = matrix, .dtype = "F32" },
    { .name = "größe \"x\"", .dims = 1, .shape = { 2 }, .count = 2, .data = big, .dtype = "I64" },
};
enum { ARRAYS = COUNT_OF(arrays) };

static void write_sample(const char *name)
{
    struct error err = { 0 };
    const char *metadata[] = { "pool_padding", "exclude", "note", "two\nlines", NULL };
    cr_assert(safetensors_write(temporary_path(name), arrays, ARRAYS, metadata, &err), "%s",
              err.message);
}

TestSuite(safetensors, .init = temporary_begin, .fini = temporary_end);

Test(safetensors, what_is_written_reads_back)
{
    struct error err = { 0 };
    struct weights weights;
    write_sample("w.safetensors");
    cr_assert_eq(temporary_count(), 1, "no temporary file is left");
    cr_assert(safetensors_read(&weights, temporary_path("w.safetensors"), &err), "%s", err.message);
    cr_assert_eq(weights.count, ARRAYS);
    for (int i = 0; i < ARRAYS; i++) {
        const struct weight_array *array = weights_find(&weights, arrays[i].name);
        cr_assert(array, "%s", arrays[i].name);
        cr_assert_str_eq(array->dtype, arrays[i].dtype);
        cr_assert_eq(array->dims, arrays[i].dims);
        cr_assert_eq(array->count, arrays[i].count);
        for (int axis = 0; axis < array->dims; axis++)
            cr_assert_eq(array->shape[axis], arrays[i].shape[axis]);
        size_t bytes = (size_t)array->count * weights_dtype_bytes(array->dtype);
        cr_assert_eq(memcmp(array->data, arrays[i].data, bytes), 0);
    }
    cr_assert_null(weights_find(&weights, "matrix"));
    cr_assert_str_eq(weights_metadata(&weights, "pool_padding"), "exclude");
    cr_assert_str_eq(weights_metadata(&weights, "note"), "two\nlines");
    cr_assert_null(weights_metadata(&weights, "exclude"), "values are not keys");
    weights_release(&weights);
    cr_assert_null(weights.arrays);
}

Test(safetensors, bytes_start_at_a_multiple_of_64_whatever_the_header)
{
    char filler[64] = "";
    for (size_t length = 0; length < sizeof filler - 1; length++) {
        struct error err = { 0 };
        size_t size;
        const char *metadata[] = { "k", filler, NULL };
        cr_assert(safetensors_write(temporary_path("w"), &arrays[2], 1, metadata, &err));
        uint8_t *bytes = temporary_read("w", &size);
        cr_assert_eq((size - sizeof scalar) % 64, 0, "%zu bytes", length);
        cr_assert_eq(bytes[0] + 256u * bytes[1], size - sizeof scalar - 8);
        free(bytes);
        filler[length] = 'x';
    }
}

Test(safetensors, wider_values_come_first)
{
    size_t size;
    write_sample("w.safetensors");
    uint8_t *bytes = temporary_read("w.safetensors", &size);
    size_t length = bytes[0] + 256u * bytes[1];
    cr_assert_eq(size, 8 + length + 16 + 24 + 4 + 3);
    cr_assert_eq(bytes[8], '{');
    cr_assert_eq(memcmp(bytes + 8 + length, big, 16), 0);
    cr_assert_eq(memcmp(bytes + 8 + length + 16, matrix, 24), 0);
    cr_assert_eq(memcmp(bytes + size - 3, flags, 3), 0);
    free(bytes);
}

Test(safetensors, file_made_by_hand_reads_in_the_order_of_its_bytes)
{
    struct error err = { 0 };
    struct weights weights;
    write_raw("hand",
              "{\"late\":{\"dtype\":\"BF16\",\"shape\":[2,1],\"data_offsets\":[4,8]},"
              "\"early\":{\"dtype\":\"I32\",\"shape\":[1],\"data_offsets\":[0,4]}}",
              8, 8);
    cr_assert(safetensors_read(&weights, temporary_path("hand"), &err), "%s", err.message);
    cr_assert_eq(weights.count, 2);
    cr_assert_str_eq(weights.arrays[0].name, "early");
    cr_assert_str_eq(weights.arrays[1].name, "late");
    cr_assert_str_eq(weights.arrays[1].dtype, "BF16");
    cr_assert_eq(*(const int32_t *)weights.arrays[0].data, 0x03020100);
    cr_assert_eq(*(const uint16_t *)weights.arrays[1].data, 0x0504);
    cr_assert_null(weights.metadata);
    cr_assert_null(weights_metadata(&weights, "x"));
    weights_release(&weights);
}

Test(safetensors, file_without_tensors_is_a_file)
{
    struct error err = { 0 };
    struct weights weights;
    write_raw("none", "{}", 8, 0);
    cr_assert(safetensors_read(&weights, temporary_path("none"), &err), "%s", err.message);
    cr_assert_eq(weights.count, 0);
    weights_release(&weights);
}

#define F32(name, shape, from, to)                                                                 \
    "\"" name "\":{\"dtype\":\"F32\",\"shape\":" shape ",\"data_offsets\":[" from "," to "]}"

Test(safetensors, bad_headers_are_refused_with_the_tensor_and_the_reason)
{
    static const struct {
        const char *header;
        size_t bytes;
        const char *reason;
    } cases[] = {
        { "{" F32("a", "[2]", "0", "8") "," F32("b", "[2]", "4", "12") "}", 12, "'b': overlaps" },
        { "{" F32("a", "[2]", "0", "8") "," F32("b", "[2]", "0", "8") "}", 8, "'b': overlaps" },
        { "{" F32("a", "[1]", "0", "4") "," F32("b", "[1]", "8", "12") "}", 12,
          "'b': leaves a gap" },
        { "{" F32("a", "[1]", "4", "8") "}", 8, "'a': leaves a gap" },
        { "{" F32("a", "[1]", "0", "4") "}", 9, "5 bytes at the end belong to no tensor" },
        { "{" F32("a", "[3]", "0", "12") "}", 8, "'a': lies beyond the end" },
        { "{" F32("a", "[3]", "0", "8") "}", 8, "'a': data_offsets do not match" },
        { "{" F32("a", "[2]", "8", "0") "}", 8, "'a': data_offsets run backwards" },
        { "{" F32("a", "[2]", "-8", "0") "}", 8, "'a': data_offsets run backwards" },
        { "{" F32("a", "[2]", "0", "8.0") "}", 8, "'a': data_offsets is not" },
        { "{" F32("a", "[2]", "0,4", "8") "}", 8, "'a': data_offsets is not" },
        { "{" F32("a", "[2]", "0", "9223372036854775807") "}", 8, "'a': lies beyond the end" },
        { "{" F32("a", "[2]", "0", "9223372036854775808") "}", 8, "too big" },
        { "{" F32("a", "[4294967296,4294967296]", "0", "8") "}", 8, "'a': shape is too large" },
        { "{" F32("a", "[4294967296,2147483648,2]", "0", "8") "}", 8, "'a': shape is too large" },
        { "{" F32("a", "[4611686018427387904]", "0", "0") "}", 0, "'a': shape is too large" },
        { "{" F32("a", "[-1,-2]", "0", "8") "}", 8, "'a': shape holds" },
        { "{" F32("a", "[2.0]", "0", "8") "}", 8, "'a': shape holds" },
        { "{" F32("a", "2", "0", "8") "}", 8, "'a': shape is missing" },
        { "{" F32("a", "[1,1,1,1,1,1,1,1,2]", "0", "8") "}", 8, "'a': more than 8 dimensions" },
        { "{" F32("a", "[1]", "0", "4") "," F32("a", "[1]", "4", "8") "}", 8, "uplicate" },
        { "{" F32("", "[1]", "0", "4") "}", 4, "tensor 1 has an empty name" },
        { "{" F32("a\\u001b[2J", "[1]", "0", "4") "}", 4, "control characters" },
        { "{" F32("a\\u0000b", "[1]", "0", "4") "}", 4, "header, byte" },
        { "{\"a\":{\"dtype\":\"F33\",\"shape\":[1],\"data_offsets\":[0,4]}}", 4, "'a': dtype" },
        { "{\"a\":{\"dtype\":\"F32XXXXXXXXXXXX\",\"shape\":[1],\"data_offsets\":[0,4]}}", 4,
          "dtype" },
        { "{\"a\":{\"shape\":[1],\"data_offsets\":[0,4]}}", 4, "'a': dtype" },
        { "{\"a\":{\"dtype\":\"F32\",\"shape\":[1]}}", 4, "'a': data_offsets is not" },
        { "{\"a\":[1]}", 4, "'a': is not described" },
        { "{\"__metadata__\":{\"k\":1}}", 0, "'k' is not a string" },
        { "{\"__metadata__\":\"k\"}", 0, "__metadata__ is not an object" },
        { "[1]", 0, "not a JSON object" },
        { "{\"a\":", 0, "header, byte" },
        { "{} {}", 0, "header, byte" },
        { "", 0, "header, byte" },
    };
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        write_raw("bad.safetensors", cases[i].header, 8, cases[i].bytes);
        expect_refusal("bad.safetensors", cases[i].reason);
    }
}

Test(safetensors, misaligned_tensors_are_refused)
{
    write_raw("m",
              "{\"u\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[0,1]}," F32("f", "[1]", "1",
                                                                                    "5") "}",
              8, 5);
    expect_refusal("m", "'f': is misaligned");
    static const char odd[] = "{" F32("f", "[1]", "0", "4") "}";
    cr_assert_neq((sizeof odd - 1) % 4, 0, "the bytes of this case start at an odd place");
    write_raw("m", odd, 1, 4);
    expect_refusal("m", "'f': is misaligned");
}

Test(safetensors, file_cut_short_anywhere_is_refused)
{
    size_t size;
    struct error err = { 0 };
    write_sample("w.safetensors");
    uint8_t *bytes = temporary_read("w.safetensors", &size);
    for (size_t cut = 0; cut < size; cut++) {
        struct weights weights;
        temporary_write("cut", bytes, cut);
        cr_assert(!safetensors_read(&weights, temporary_path("cut"), &err), "%zu bytes", cut);
    }
    free(bytes);
}

/* Every bit, except in the name of the checksum: without that, the file
 * counts as another program's. */
Test(safetensors, any_changed_bit_is_refused)
{
    static const char key[] = "micromet.xxh3";
    size_t size;
    write_sample("w.safetensors");
    uint8_t *bytes = temporary_read("w.safetensors", &size);
    const uint8_t *name = memmem(bytes, size, key, sizeof key - 1);
    cr_assert(name);
    for (size_t at = 0; at < size; at++) {
        const bool of_name = at >= (size_t)(name - bytes) &&
                             at < (size_t)(name - bytes) + sizeof key - 1;
        for (int bit = 0; bit < 8; bit++) {
            struct error err = { 0 };
            struct weights weights;
            bytes[at] ^= (uint8_t)(1 << bit);
            temporary_write("flipped", bytes, size);
            bytes[at] ^= (uint8_t)(1 << bit);
            const bool read = safetensors_read(&weights, temporary_path("flipped"), &err);
            cr_assert(!read || of_name, "bit %d of byte %zu", bit, at);
            cr_assert(read || err.message[0]);
            if (read) weights_release(&weights);
        }
    }
    free(bytes);
}

Test(safetensors, checksum_is_of_the_whole_file_with_its_digits_as_zeros)
{
    struct error err = { 0 };
    struct weights weights;
    char digits[17];
    size_t size;
    write_sample("w.safetensors");
    cr_assert(safetensors_read(&weights, temporary_path("w.safetensors"), &err), "%s", err.message);
    const char *stored = weights_metadata(&weights, "micromet.xxh3");
    uint8_t *bytes = temporary_read("w.safetensors", &size);
    uint8_t *place = memmem(bytes, size, stored, 16);
    cr_assert(place);
    memset(place, '0', 16);
    snprintf(digits, sizeof digits, "%016llx", (unsigned long long)XXH3_64bits(bytes, size));
    cr_assert_str_eq(stored, digits);
    weights_release(&weights);

    bytes[size - 1] ^= 1;
    temporary_write("w.safetensors", bytes, size);
    expect_refusal("w.safetensors", "is damaged: its checksum does not fit its content; copy it");
    uint8_t *key = memmem(bytes, size, "micromet.xxh3", 13);
    key[0] = 'M';
    temporary_write("w.safetensors", bytes, size); /* as earlier and other programs write it */
    cr_assert(safetensors_read(&weights, temporary_path("w.safetensors"), &err), "%s", err.message);
    weights_release(&weights);
    free(bytes);
}

Test(safetensors, announced_header_lengths_are_bounded)
{
    uint8_t length[8] = { 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff };
    temporary_write("long", length, sizeof length);
    expect_refusal("long", "18446744073709551615 bytes is announced");
    memcpy(length, &(uint64_t) { 100000001 }, 8);
    temporary_write("long", length, sizeof length);
    cr_assert_eq(truncate(temporary_path("long"), 200000000), 0);
    expect_refusal("long", "100000001 bytes is announced");
    expect_refusal("absent", "cannot be opened");
    cr_assert_eq(mkdir(temporary_path("folder"), 0700), 0);
    expect_refusal("folder", "not a regular file");
}

Test(safetensors, writer_refuses_names_it_could_not_read_back)
{
    struct weight_array twins[] = { arrays[0], arrays[0] };
    struct error err = { 0 };
    cr_assert(!safetensors_write(temporary_path("w"), twins, 2, NULL, &err));
    cr_assert(strstr(err.message, "'flags'"), "%s", err.message);
    err = (struct error) { 0 };
    twins[0].name = (char *)"__metadata__";
    cr_assert(!safetensors_write(temporary_path("w"), twins, 1, NULL, &err));
    err = (struct error) { 0 };
    twins[0].name = (char *)"\xff\xfe";
    cr_assert(!safetensors_write(temporary_path("w"), twins, 1, NULL, &err));
    err = (struct error) { 0 };
    cr_assert(!safetensors_write(temporary_path("w"), arrays, 1,
                                 (const char *[]) { "k", "\xff", NULL }, &err));
    cr_assert_eq(temporary_count(), 0, "nothing was written");
}

/* Simulate a full disk by a limit on the size of files. */
Test(safetensors, full_disk_is_reported_and_leaves_the_old_file)
{
    static const float many[4096];
    struct weight_array large[] = { { .name = "large",
                                      .dims = 1,
                                      .shape = { 4096 },
                                      .count = 4096,
                                      .data = many,
                                      .dtype = "F32" } };
    struct error err = { 0 };
    size_t size;
    temporary_write("w", "old", 3);
    signal(SIGXFSZ, SIG_IGN);
    cr_assert_eq(setrlimit(RLIMIT_FSIZE, &(struct rlimit) { 8192, 8192 }), 0);
    cr_assert(!safetensors_write(temporary_path("w"), large, 1, NULL, &err));
    cr_assert(strstr(err.message, "/w"), "%s", err.message);
    uint8_t *bytes = temporary_read("w", &size);
    cr_assert_eq(size, 3);
    cr_assert_eq(memcmp(bytes, "old", 3), 0);
    cr_assert_eq(temporary_count(), 1);
    free(bytes);
}
