/* Which data a run may be resumed on, by the text in its checkpoints. */
#include "run/dataset_fingerprint.h"

#include <criterion/criterion.h>
#include <string.h>

#define HASH    "0123456789abcdef"
#define CONTENT "00112233445566778899aabbccddeeff"

static void differ(const char *had, const char *has, const char *part)
{
    char difference[FINGERPRINT_DIFFERENCE_BYTES] = "";
    cr_expect_not(dataset_fingerprint_equal(had, has, difference));
    cr_expect(strstr(difference, part), "\"%s\" has no \"%s\"", difference, part);
}

Test(fingerprint, a_slide_is_its_content)
{
    static const char now[] = "train " HASH " " CONTENT " a b.tif\nvalidation " HASH " " CONTENT
                              " c.tif\n";
    char other[sizeof now], difference[FINGERPRINT_DIFFERENCE_BYTES];
    cr_expect(dataset_fingerprint_equal(now, now, difference));
    strcpy(other, now);
    strstr(other, "eeff a b")[0] = '0';
    differ(now, other, "a b.tif (train) has other windows or pixels");
    strcpy(other, now);
    strstr(other, "cdef ")[0] = '0';
    differ(now, other, "a b.tif (train) has other windows or pixels");
    differ(now, "train " HASH " " CONTENT " a b.tif\n", "c.tif (validation) is no longer used");
}

Test(fingerprint, tells_whether_a_slide_was_trained_on)
{
    static const char text[] = "train " HASH " " CONTENT " a.tif\nvalidation " HASH
                               " ffeeddccbbaa99887766554433221100 b.tif\ntrain " HASH " c.tif\n";
    const struct file_identity a = { .hash = { 0x8899aabbccddeeff, 0x0011223344556677 } };
    const struct file_identity b = { .hash = { 0x7766554433221100, 0xffeeddccbbaa9988 } };
    cr_expect(dataset_fingerprint_holds(text, SPLIT_TRAIN, &a));
    cr_expect_not(dataset_fingerprint_holds(text, SPLIT_VALIDATION, &a));
    cr_expect(dataset_fingerprint_holds(text, SPLIT_VALIDATION, &b));
    cr_expect_not(dataset_fingerprint_holds(text, SPLIT_TRAIN, &b));
    cr_expect_not(dataset_fingerprint_holds("", SPLIT_TRAIN, &a));
}

Test(fingerprint, earlier_programs_wrote_no_content)
{
    static const char now[] = "train " HASH " " CONTENT " abc def.tif\n";
    char difference[FINGERPRINT_DIFFERENCE_BYTES];
    cr_expect(dataset_fingerprint_equal("train " HASH " abc def.tif\n", now, difference));
    differ("train " HASH " abc.tif\n", now, "slide 1 was abc.tif (train) and is abc def.tif");
    differ("train 1123456789abcdef abc def.tif\n", now, "abc def.tif (train) has other windows");
}
