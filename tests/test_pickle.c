/* The pickle reader, on pickles written byte by byte: supported ones are read, everything else
 * is refused with its name. */
#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

#include "format/pickle.h"
#include "micromet/base/size.h"

/* A string literal without its NUL. */
#define BYTES(text) text, sizeof(text) - 1
#define PROTOCOL_2  "\x80\x02"

static struct pickle pickle;

static const struct pickle_value *expect_value(const char *bytes, size_t size)
{
    struct error err = { 0 };
    cr_assert(pickle_read(&pickle, bytes, size, "f.pth", &err), "%s", err.message);
    return pickle.root;
}

static void expect_refusal(const char *bytes, size_t size, const char *reason)
{
    struct error err = { 0 };
    cr_assert(!pickle_read(&pickle, bytes, size, "f.pth", &err), "expected: %s", reason);
    cr_expect(strstr(err.message, reason), "expected '%s' in: %s", reason, err.message);
    cr_expect_eq(strncmp(err.message, "f.pth: ", 7), 0, "%s", err.message);
    pickle_release(&pickle);
}

struct refusal {
    const char *bytes;
    size_t size;
    const char *reason;
};

static void expect_refusals(const struct refusal *cases, size_t count)
{
    for (size_t i = 0; i < count; i++)
        expect_refusal(cases[i].bytes, cases[i].size, cases[i].reason);
}

static void end(void)
{
    pickle_release(&pickle);
}

TestSuite(pickle, .fini = end);

Test(pickle, numbers_of_every_width_are_read)
{
    static const struct {
        const char *bytes;
        size_t size;
        int64_t value;
    } cases[] = {
        { BYTES(PROTOCOL_2 "K\xff."), 255 },
        { BYTES(PROTOCOL_2 "M\x01\x02."), 513 },
        { BYTES(PROTOCOL_2 "J\xff\xff\xff\xff."), -1 },
        { BYTES(PROTOCOL_2 "\x8a\x00."), 0 },
        { BYTES(PROTOCOL_2 "\x8a\x01\x80."), -128 },
        { BYTES(PROTOCOL_2 "\x8a\x03\xff\xff\x00."), 65535 },
        { BYTES(PROTOCOL_2 "\x8a\x08\x00\x00\x00\x00\x00\x00\x00\x80."), INT64_MIN },
    };
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        const struct pickle_value *value = expect_value(cases[i].bytes, cases[i].size);
        cr_expect_eq(value->kind, PICKLE_INT);
        cr_expect_eq(value->integer, cases[i].value, "case %zu", i);
        pickle_release(&pickle);
    }
    cr_expect_eq(
        expect_value(BYTES(PROTOCOL_2 "\x8a\x09\x00\x00\x00\x00\x00\x00\x00\x00\x01."))->kind,
        PICKLE_OTHER);
    pickle_release(&pickle);
    cr_expect_eq(expect_value(BYTES(PROTOCOL_2 "G\xbf\xf8\x00\x00\x00\x00\x00\x00."))->real, -1.5);
}

Test(pickle, containers_and_the_memo_are_read)
{
    /* {"a": [(True, None), "x"], "b": the same list}, then "c" with what was memorised of "x" */
    const struct pickle_value *dict = expect_value(BYTES(PROTOCOL_2 "}(\x8c\x01"
                                                                    "a](\x88N\x86\x8c\x01xq\x07"
                                                                    "eq\x01\x8c\x01"
                                                                    "bh\x01\x8c\x01"
                                                                    "ch\x07u."));
    cr_assert_eq(dict->kind, PICKLE_DICT);
    cr_assert_eq(dict->list.count, 6);
    const struct pickle_value *list = pickle_get(dict, "a");
    cr_assert_eq(list->kind, PICKLE_LIST);
    cr_assert_eq(list->list.count, 2);
    cr_assert_eq(list->list.items[0]->kind, PICKLE_TUPLE);
    cr_assert_eq(list->list.items[0]->list.items[0]->integer, 1);
    cr_assert_eq(pickle_get(dict, "b"), list);
    cr_assert_eq(pickle_get(dict, "c"), list->list.items[1]);
    cr_assert_null(pickle_get(dict, "d"));
    cr_assert_null(pickle_get(list, "a"));
}

Test(pickle, list_that_holds_itself_is_read_and_released)
{
    const struct pickle_value *list = expect_value(BYTES(PROTOCOL_2 "]q\x00h\x00"
                                                                    "a."));
    cr_assert_eq(list->list.items[0], list);
}

Test(pickle, ordered_dict_keeps_its_items_and_loses_its_attributes)
{
    const struct pickle_value *dict = expect_value(BYTES(PROTOCOL_2
                                                         "ccollections\nOrderedDict\n)R(\x8c\x01"
                                                         "aK\x05u}\x8c\x01zNsb."));
    cr_assert_eq(dict->kind, PICKLE_DICT);
    cr_assert_eq(dict->list.count, 2);
    cr_assert_eq(pickle_get(dict, "a")->integer, 5);
}

#define FLOATS                                                                                     \
    "(\x8c\x07storagectorch\nFloatStorage\n\x8c\x01"                                               \
    "0\x8c\x03"                                                                                    \
    "cpuK\x18tQ"

Test(pickle, tensor_has_its_storage_and_geometry)
{
    const struct pickle_value *value = expect_value(
        BYTES(PROTOCOL_2 "ctorch._utils\n_rebuild_tensor_v2\n(" FLOATS
                         "K\x06K\x02K\x03\x86K\x03K\x01\x86\x89NtR."));
    cr_assert_eq(value->kind, PICKLE_TENSOR);
    const struct pickle_tensor *tensor = value->tensor;
    cr_assert_str_eq(tensor->storage.dtype, "F32");
    cr_assert_eq(tensor->storage.count, 24);
    cr_assert_eq(tensor->storage.key.length, 1);
    cr_assert_eq(tensor->storage.key.bytes[0], '0');
    cr_assert_eq(tensor->offset, 6);
    cr_assert_eq(tensor->dims, 2);
    cr_assert_eq(tensor->shape[1], 3);
    cr_assert_eq(tensor->stride[0], 3);
}

Test(pickle, functions_and_classes_are_refused_by_name)
{
    static const struct refusal cases[] = {
        { BYTES(PROTOCOL_2 "cos\nsystem\n\x8c\x02ls\x85R."), "calls os.system: refused, nothing" },
        { BYTES("\x80\x04\x8c\x05posix\x8c\x06system\x93\x8c\x02ls\x85R."),
          "calls posix.system: " },
        { BYTES(PROTOCOL_2 "(ios\nsystem\n."), "calls os.system: refused" },
        { BYTES(PROTOCOL_2 "(cbuiltins\neval\n\x8c\x01xo."), "calls builtins.eval: refused" },
        { BYTES(PROTOCOL_2 "ctorch.nn\nModule\n)\x81."), "calls torch.nn.Module: refused" },
        { BYTES(PROTOCOL_2 "ctorch\nFloatStorage\n)R."), "calls torch.FloatStorage: refused" },
        { BYTES(PROTOCOL_2 "ccollections\nOrderedDict.update\n)R."),
          "OrderedDict.update: refused" },
        { BYTES(PROTOCOL_2 "ca\033[2J\nb\n)R."), "calls a?[2J.b: refused" },
        { BYTES(PROTOCOL_2 "\x82\x07."), "calls extension code 7: refused" },
        { BYTES(PROTOCOL_2 "\x84\x07\x00\x00\x01."), "calls extension code 16777223: refused" },
        { BYTES(PROTOCOL_2 "K\x01)R."), "calls something that is no function" },
        { BYTES(PROTOCOL_2 "]}b."), "sets the state of something that is no dict" },
        { BYTES(PROTOCOL_2 "P0\n."), "opcode 0x50, which no state dict needs" },
        { BYTES("\x80\x05\x97."), "opcode 0x97" },
    };
    expect_refusals(cases, COUNT_OF(cases));
}

Test(pickle, malformed_programs_are_refused)
{
    static const struct refusal cases[] = {
        { "", 0, "does not begin as one" },
        { BYTES("(dp0\n."), "does not begin as one" },
        { BYTES("\x80\x01N."), "protocol other than 2 to 5" },
        { BYTES("\x80\x06N."), "protocol other than 2 to 5" },
        { BYTES(PROTOCOL_2), "ends in the middle" },
        { BYTES(PROTOCOL_2 "."), "takes values that it does not have" },
        { BYTES(PROTOCOL_2 "0."), "takes values that it does not have" },
        { BYTES(PROTOCOL_2 "(."), "takes values that it does not have" },
        { BYTES(PROTOCOL_2 "Nt."), "ends a group that was never begun" },
        { BYTES(PROTOCOL_2 "NNu."), "ends a group that was never begun" },
        { BYTES(PROTOCOL_2 "}(Nu."), "key without a value" },
        { BYTES(PROTOCOL_2 "(Nd."), "key without a value" },
        { BYTES(PROTOCOL_2 "](NNu."), "adds to something that cannot hold" },
        { BYTES(PROTOCOL_2 "N(Ne."), "adds to something that cannot hold" },
        { BYTES(PROTOCOL_2 "Na."), "adds to something that cannot hold" },
        { BYTES(PROTOCOL_2 "(Ne."), "adds to something that cannot hold" },
        { BYTES(PROTOCOL_2 "h\x00."), "recalls what it never remembered" },
        { BYTES(PROTOCOL_2 "Nq\x05h\x04."), "recalls what it never remembered" },
        { BYTES(PROTOCOL_2 "Nj\xff\xff\xff\xff."), "recalls what it never remembered" },
        { BYTES(PROTOCOL_2 "Nr\xff\xff\xff\xff."), "remembers too much" },
        { BYTES(PROTOCOL_2 "X\xff\xff\xff\xff"
                           "a."),
          "too long a text" },
        { BYTES(PROTOCOL_2 "X\x05\x00\x00\x00"
                           "a."),
          "ends in the middle" },
        { BYTES("\x80\x04\x8d\xff\xff\xff\xff\xff\xff\xff\xff"
                "a."),
          "too long a text" },
        { BYTES(PROTOCOL_2 "\x8b\xff\xff\xff\xff."), "ends in the middle" },
        { BYTES(PROTOCOL_2 "cos"), "line without an end" },
        { BYTES(PROTOCOL_2 "K\x01K\x02\x93."), "names a class by something other than text" },
        { BYTES(PROTOCOL_2 "NQ."), "names a storage of an unknown kind" },
        { BYTES(PROTOCOL_2 "(\x8c\x07storagectorch\nSize\n\x8c\x01"
                           "0NK\x01tQ."),
          "a storage of an unknown" },
        { BYTES(PROTOCOL_2 "ctorch._utils\n_rebuild_tensor_v2\n(NK\x00))tR."),
          "other than a storage" },
        { BYTES(PROTOCOL_2 "ctorch._utils\n_rebuild_tensor_v2\n(" FLOATS "K\x00K\x02\x85)tR."),
          "impossible shape" },
        { BYTES(PROTOCOL_2 "ctorch._utils\n_rebuild_tensor_v2\n(" FLOATS
                           "K\x00J\xff\xff\xff\xff\x85K\x01\x85tR."),
          "impossible shape" },
        { BYTES(PROTOCOL_2 "ctorch._utils\n_rebuild_tensor_v2\n(" FLOATS
                           "K\x00(K\x01K\x01K\x01K\x01K\x01K\x01K\x01K\x01K\x01tq\x00h\x00tR."),
          "over 8 dimensions" },
        { BYTES(PROTOCOL_2 "ctorch._utils\n_rebuild_parameter\n(NtR."), "other than a tensor" },
        { BYTES(PROTOCOL_2 "ctorch\nSize\n)R."), "other than a tuple" },
        { BYTES(PROTOCOL_2 "ccollections\nOrderedDict\n](NNe\x85R."), "other than pairs" },
    };
    expect_refusals(cases, COUNT_OF(cases));
}

Test(pickle, cut_short_anywhere_it_is_refused)
{
    static const char whole[] = PROTOCOL_2 "ctorch._utils\n_rebuild_tensor_v2\n(" FLOATS
                                           "K\x06K\x02K\x03\x86K\x03K\x01\x86\x89NtR.";
    for (size_t cut = 0; cut + 1 < sizeof whole - 1; cut++) {
        struct error err = { 0 };
        char *exact = malloc(cut ? cut : 1);
        memcpy(exact, whole, cut);
        cr_assert(!pickle_read(&pickle, exact, cut, "f.pth", &err), "%zu bytes", cut);
        pickle_release(&pickle);
        free(exact);
    }
}

Test(pickle, stack_and_values_are_bounded)
{
    enum { SIZE = 5 << 20 };
    char *bytes = malloc(SIZE);
    memset(bytes, '(', SIZE);
    memcpy(bytes, "\x80\x02", 2);
    expect_refusal(bytes, SIZE, "too deep a stack");
    for (size_t i = 2; i + 1 < SIZE; i += 2) memcpy(bytes + i, "N0", 2);
    expect_refusal(bytes, SIZE, "too many values");
    free(bytes);
}
