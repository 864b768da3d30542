/* PyTorch's files: real ones written by tests/fuzz/make_corpus.py, and forged archives. */
#include "micromet/base/size.h"
#include "temporary.h"
#include "weights_corpus.h"

static const struct expected_array state[] = {
    { "a.weight", "F32", { 2, 3 }, { 0, 1, 2, 3, 4, 5 } },
    { "a.bias", "F16", { 4 }, { 6, 7, 8, 9 } },
    { "steps", "I64", { 0 }, { 10 } },
};

TestSuite(torch_zip, .init = temporary_begin, .fini = temporary_end);

Test(torch_zip, every_protocol_reads_alike)
{
    static const char *const files[] = { "zip/state.pth", "zip/protocol3.pth", "zip/protocol4.pth",
                                         "zip/protocol5.pth" };
    for (int i = 0; i < 4; i++) expect_weights(files[i], WEIGHTS_TORCH_ZIP, state, 3);
}

Test(torch_zip, views_parameters_and_other_floats_are_read)
{
    static const struct expected_array views[] = {
        { "slice", "F32", { 3, 4 }, { 12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23 } },
        { "transposed", "F32", { 4, 3, 2 }, { 0, 12, 4, 16, 8,  20, 1, 13, 5, 17, 9,  21,
                                              2, 14, 6, 18, 10, 22, 3, 15, 7, 19, 11, 23 } },
        { "bfloat16", "BF16", { 3 }, { 1, 1, 1 } },
        { "channels_last",
          "F32",
          { 1, 2, 2, 4 },
          { 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15 } },
        { "parameter", "F32", { 2 }, { 1, 1 } },
        { "double", "F64", { 1 }, { 1 } },
    };
    expect_weights("zip/views.pth", WEIGHTS_TORCH_ZIP, views, 6);
}

Test(torch_zip, state_dict_beside_an_optimizer_is_found)
{
    struct error err = { 0 };
    struct weights weights;
    cr_assert(weights_read(&weights, corpus_path("zip/lightning.ckpt"), &err), "%s", err.message);
    cr_assert_eq(weights.count, 7);
    cr_assert_str_eq(weights.arrays[0].name, "0.weight");
    cr_assert(weights_find(&weights, "1.running_var"));
    cr_assert_null(weights_find(&weights, "best"), "only the state dict is read");
    weights_release(&weights);
}

Test(torch_zip, what_is_no_state_dict_is_refused)
{
    expect_corpus_refusal("zip/module.pth", "calls torch.nn.modules.container.Sequential: refused");
    expect_corpus_refusal("zip/system.pth", "calls posix.system: refused, nothing of it was run");
    expect_corpus_refusal("zip/tensor.pth", "is no state dict");
    expect_corpus_refusal("pickle/legacy.pth", "is a file of PyTorch before 1.6");
    expect_corpus_refusal("pickle/system2.pkl", "or a bare pickle");
    cr_assert(!file_exists("pickle_was_run"));
}

/* --- Forged archives -------------------------------------------------------------------------- */

#define TENSOR(key, numel, offset, shape, stride)                                                  \
    "ctorch._utils\n_rebuild_tensor_v2\n((\x8c\x07storagectorch\nFloatStorage\n\x8c\x01" key       \
    "\x8c\x03"                                                                                     \
    "cpu" numel "tQ" offset shape stride "\x89NtR"
#define DICT_OF(items) "\x80\x02}(" items "u."
#define ROW(n)         "K" n "\x85"

static const float six[] = { 1, 2, 3, 4, 5, 6 };

static void begin_archive(struct forged_zip *zip, const void *pickle, size_t size)
{
    *zip = (struct forged_zip) { 0 };
    forged_zip_add(zip, "a/data.pkl", pickle, size);
}

static const char plain[] = DICT_OF(
    "\x8c\x01w" TENSOR("0", "K\x06", "K\x00", ROW("\x06"), ROW("\x01")));

static struct forged_entry *begin_plain(struct forged_zip *zip)
{
    begin_archive(zip, plain, sizeof plain - 1);
    return forged_zip_add(zip, "a/data/0", six, sizeof six);
}

Test(torch_zip, forged_archive_that_tells_the_truth_is_read)
{
    struct forged_zip zip;
    struct error err = { 0 };
    struct weights weights;
    begin_plain(&zip);
    forged_zip_end(&zip);
    temporary_write("true.pth", zip.bytes, zip.size);
    forged_zip_release(&zip);
    cr_assert(weights_read(&weights, temporary_path("true.pth"), &err), "%s", err.message);
    cr_assert_eq(memcmp(weights.arrays[0].data, six, sizeof six), 0);
    weights_release(&weights);
}

/* A file of networks, each a state dict of 94 tensors w00 … w93 under its key. */
static void write_networks(const char *name, const char *const *keys, int count)
{
    static const char tensor[] = TENSOR("0", "K\x06", "K\x00", ROW("\x06"), ROW("\x01"));
    char *pickle;
    size_t size;
    struct forged_zip zip;
    FILE *stream = open_memstream(&pickle, &size);
    fputs("\x80\x02}(", stream);
    for (int k = 0; k < count; k++) {
        fprintf(stream, "\x8c%c%s}(", (int)strlen(keys[k]), keys[k]);
        for (int i = 0; i < 94; i++) {
            fprintf(stream, "\x8c\x03w%02d", i);
            fwrite(tensor, 1, sizeof tensor - 1, stream);
        }
        fputc('u', stream);
    }
    fputs("u.", stream);
    fclose(stream);
    begin_archive(&zip, pickle, size);
    forged_zip_add(&zip, "a/data/0", six, sizeof six);
    forged_zip_end(&zip);
    temporary_write(name, zip.bytes, zip.size);
    forged_zip_release(&zip);
    free(pickle);
}

Test(torch_zip, of_several_networks_each_name_begins_with_its_key)
{
    static const char *const both[] = { "state_dict", "state_dict_ema" };
    struct error err = { 0 };
    struct weights weights;
    write_networks("both.pth", both, 2);
    cr_assert(weights_read(&weights, temporary_path("both.pth"), &err), "%s", err.message);
    cr_expect_eq(weights.count, 188);
    cr_expect(weights_find(&weights, "state_dict.w00") &&
              weights_find(&weights, "state_dict_ema.w93"));
    weights_release(&weights);

    write_networks("one.pth", &both[1], 1); /* under whatever key */
    cr_assert(weights_read(&weights, temporary_path("one.pth"), &err), "%s", err.message);
    cr_expect_eq(weights.count, 94);
    cr_expect(weights_find(&weights, "w00"));
    weights_release(&weights);
}

Test(torch_zip, entries_that_lie_are_refused)
{
    struct forged_zip zip;
    begin_plain(&zip)->crc ^= 1;
    expect_forged_refusal(&zip, "'a/data/0': CRC error");
    begin_plain(&zip)->unpacked = 48;
    expect_forged_refusal(&zip, "entry 2 of the archive has two different sizes");
    struct forged_entry *entry = begin_plain(&zip);
    entry->packed = entry->unpacked = 0x7fffffff;
    expect_forged_refusal(&zip, "entry 2 of the archive lies beyond the end of the file");
    entry = begin_plain(&zip);
    entry->method = 8;
    entry->unpacked = 0x7fffffff;
    expect_forged_refusal(&zip, "unpacks to more than the file can hold");
    begin_plain(&zip)->method = 12;
    expect_forged_refusal(&zip, "packed neither plainly nor by deflate");
    begin_plain(&zip)->flags = 1;
    expect_forged_refusal(&zip, "is encrypted");
    begin_plain(&zip)->at = 5;
    expect_forged_refusal(&zip, "'a/data/0'");
    begin_plain(&zip);
    forged_zip_add(&zip, "a/data/0", six, sizeof six);
    expect_forged_refusal(&zip, "'a/data/0': two entries of the archive have this name");
}

Test(torch_zip, tensors_that_do_not_fit_their_storage_are_refused)
{
    static const struct {
        const char *tensor;
        size_t size;
        const char *reason;
    } cases[] = {
#define CASE(numel, offset, shape, stride, reason)                                                 \
    { DICT_OF("\x8c\x01w" TENSOR("0", numel, offset, shape, stride)),                              \
      sizeof DICT_OF("\x8c\x01w" TENSOR("0", numel, offset, shape, stride)) - 1, reason }
        CASE("K\x07", "K\x00", ROW("\x06"), ROW("\x01"), "'w': its values do not have the size"),
        CASE("K\x05", "K\x00", ROW("\x05"), ROW("\x01"), "'w': its values do not have the size"),
        CASE("\x8a\x08\xff\xff\xff\xff\xff\xff\xff\x7f", "K\x00", ROW("\x06"), ROW("\x01"),
             "do not have the size"),
        CASE("K\x06", "K\x01", ROW("\x06"), ROW("\x01"), "'w': lies outside its storage"),
        CASE("K\x06", "K\x07", ROW("\x00"), ROW("\x01"), "'w': lies outside its storage"),
        CASE("K\x06", "K\x00", ROW("\x04"), ROW("\x02"), "'w': lies outside its storage"),
        CASE("K\x06", "K\x00", ROW("\x07"), ROW("\x00"), "'w': is an expanded view"),
        CASE("K\x06", "K\x00", "\x8a\x08\x00\x00\x00\x00\x00\x00\x00\x40K\x04\x86",
             "K\x00K\x00\x86", "'w': is too large"),
        CASE("K\x06", "K\x00", "\x8a\x08\x00\x00\x00\x00\x00\x00\x00\x40\x85",
             "\x8a\x08\x00\x00\x00\x00\x00\x00\x00\x40\x85", "'w': lies outside its storage"),
#undef CASE
    };
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        struct forged_zip zip;
        begin_archive(&zip, cases[i].tensor, cases[i].size);
        forged_zip_add(&zip, "a/data/0", six, sizeof six);
        expect_forged_refusal(&zip, cases[i].reason);
    }
}

Test(torch_zip, archives_without_what_they_need_are_refused)
{
    struct forged_zip zip;
    begin_archive(&zip, plain, sizeof plain - 1);
    expect_forged_refusal(&zip, "'w': its values are not in the archive");
    begin_plain(&zip);
    forged_zip_add(&zip, "a/byteorder", "big", 3);
    expect_forged_refusal(&zip, "'byteorder': is not little");
    zip = (struct forged_zip) { 0 };
    forged_zip_add(&zip, "photo.jpg", "x", 1);
    expect_forged_refusal(&zip, "neither torch.save()'s nor a .keras file");
    static const char twice[] = DICT_OF(
        "\x8c\x01w" TENSOR("0", "K\x06", "K\x00", ROW("\x06"), ROW("\x01")) "\x8c\x01w" TENSOR(
            "0", "K\x06", "K\x00", ROW("\x06"), ROW("\x01")));
    begin_archive(&zip, twice, sizeof twice - 1);
    forged_zip_add(&zip, "a/data/0", six, sizeof six);
    expect_forged_refusal(&zip, "'w': two weights have this name");
}

Test(torch_zip, repeated_transposed_views_do_not_fill_the_memory)
{
    /* 60 names for one transposed tensor of 48 KB. */
    enum { VALUES = 12288, NAMES = 60 };
    static const float zeros[VALUES];
    static const char tensor[] = TENSOR("0", "M\x00\x30", "K\x00", "M\x00\x18K\x02\x86",
                                        "K\x01M\x00\x18\x86");
    char bytes[NAMES * (sizeof tensor + 4) + 16] = "\x80\x02}(";
    size_t size = 4;
    for (int i = 0; i < NAMES; i++) {
        size += (size_t)snprintf(bytes + size, 5, "\x8c\x02%02d", i);
        memcpy(bytes + size, tensor, sizeof tensor - 1);
        size += sizeof tensor - 1;
    }
    memcpy(bytes + size, "u.", 2);
    struct forged_zip zip;
    begin_archive(&zip, bytes, size + 2);
    forged_zip_add(&zip, "a/data/0", zeros, sizeof zeros);
    expect_forged_refusal(&zip, "its views unpack to more than the file can hold");
}

Test(torch_zip, cut_short_anywhere_it_is_refused)
{
    size_t size;
    struct error err = { 0 };
    char *bytes;
    cr_assert(file_read(corpus_path("zip/state.pth"), 1 << 20, &bytes, &size, &err));
    for (size_t cut = 4; cut < size; cut += 1 + size / 60) {
        temporary_write("cut.pth", bytes, cut);
        expect_read_refusal(temporary_path("cut.pth"), "zip archive is cut short or damaged");
    }
    free(bytes);
}
