/* Outputs are checked before the work, and written on file systems that lack much. This program has
 * its own link(), flock(), fsync() and rename(), which do what the test says. */
#include "micromet/base/output.h"

#include <errno.h>
#include <stdint.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "micromet/base/lock.h"
#include "micromet/base/size.h"
#include "run/run_folder.h"
#include "temporary.h"

/* The errors of the calls; 0 = the real ones. */
static struct {
    int link, flock, folder_fsync, file_fsync;
    int renames[8];      /* the first, the second ... */
    bool rename_is_done; /* though it fails */
} faults;
static int renames;

static int fail(int cause)
{
    errno = cause;
    return -1;
}

int link(const char *from, const char *to)
{
    return faults.link ? fail(faults.link)
                       : (int)syscall(SYS_linkat, AT_FDCWD, from, AT_FDCWD, to, 0);
}

int flock(int descriptor, int operation)
{
    return faults.flock ? fail(faults.flock) : (int)syscall(SYS_flock, descriptor, operation);
}

int fsync(int descriptor)
{
    struct stat facts;
    const bool folder = fstat(descriptor, &facts) == 0 && S_ISDIR(facts.st_mode);
    const int cause = folder ? faults.folder_fsync : faults.file_fsync;
    return cause ? fail(cause) : (int)syscall(SYS_fsync, descriptor);
}

int rename(const char *from, const char *to)
{
    const int cause = renames < (int)COUNT_OF(faults.renames) ? faults.renames[renames] : 0;
    renames++;
    if (!cause || faults.rename_is_done)
        cr_assert_eq(syscall(SYS_renameat2, AT_FDCWD, from, AT_FDCWD, to, 0), 0);
    return cause ? fail(cause) : 0;
}

TestSuite(output, .init = temporary_begin, .fini = temporary_end, .timeout = 60);

/* A path of `bytes` bytes in its last name, in the test's folder. */
static const char *path_of_name(size_t bytes, char path[PATH_MAX_BYTES])
{
    char name[PATH_MAX_BYTES];
    memset(name, 'n', bytes);
    name[bytes] = '\0';
    test_path(path, temporary_folder, name);
    return path;
}

static void expect_refused(const char *path, const char *part)
{
    struct error err = { 0 };
    cr_expect(!output_check(path, "give another --out", &err));
    cr_expect(strstr(err.message, part), "'%s' is not in '%s'", part, err.message);
    cr_expect_eq(err.code, EXIT_CODE_FAILED);
}

/* --- checks ----------------------------------------------------------------------------------- */

Test(output, what_can_be_written_passes_and_leaves_nothing_behind)
{
    struct error err = { 0 };
    char path[PATH_MAX_BYTES];
    cr_expect(output_check(temporary_path("a.csv"), "", &err), "%s", err.message);
    cr_expect(output_check(temporary_path("new/er/a.csv"), "", &err), "%s", err.message);
    cr_expect(output_check(path_of_name(255, path), "", &err), "%s", err.message);
    temporary_write("old.csv", "old", 3);
    cr_expect(output_check(temporary_path("old.csv"), "", &err), "%s", err.message);
    cr_expect_eq(temporary_count(), 1);
}

Test(output, names_that_the_file_system_does_not_take_are_refused)
{
    char path[PATH_MAX_BYTES], longer[PATH_MAX_BYTES + 16];
    expect_refused(path_of_name(256, path), "the name of 256 bytes is longer than the 255");
    snprintf(longer, sizeof longer, "%s/a.csv", path);
    expect_refused(longer, "the name of 256 bytes is longer than the 255");
}

Test(output, a_path_without_room_for_a_temporary_name_is_refused)
{
    char path[PATH_MAX_BYTES];
    memset(path, 'a', sizeof path);
    path[sizeof path - TEMPORARY_SUFFIX_BYTES] = '\0';
    expect_refused(path, "the path is too long; give another --out");
}

Test(output, what_names_no_file_is_refused)
{
    expect_refused("", "'': is no name of a file; give another --out");
    expect_refused(temporary_path("new/"), "/new/': is no name of a file");
}

Test(output, folders_and_what_lies_in_a_file_are_refused)
{
    temporary_write("file", "", 0);
    expect_refused(temporary_folder, "is a folder; give another --out");
    expect_refused(temporary_path("file/a.csv"), "is a file; give another --out");
    expect_refused(temporary_path("file/new/a.csv"), "is a file; give another --out");
}

/* As a user without rights, if this one has all. */
Test(output, a_folder_of_others_is_refused_with_its_name_and_the_remedy)
{
    struct error err = { 0 };
    char own[PATH_MAX_BYTES], deeper[PATH_MAX_BYTES], sticky[PATH_MAX_BYTES];
    cr_assert(folder_create(temporary_path("own"), &err));
    cr_assert(folder_create(temporary_path("sticky"), &err));
    temporary_write("sticky/a.csv", "", 0);
    snprintf(own, sizeof own, "%s", temporary_path("own/a.csv"));
    snprintf(deeper, sizeof deeper, "%s", temporary_path("own/new/a.csv"));
    snprintf(sticky, sizeof sticky, "%s", temporary_path("sticky/a.csv"));
    cr_assert_eq(chmod(temporary_folder, 0755), 0);
    cr_assert_eq(chmod(temporary_path("own"), 0555), 0);
    cr_assert_eq(chmod(temporary_path("sticky"), 01777), 0);
    const uid_t user = geteuid();
    if (user == 0) cr_assert_eq(seteuid(65534), 0);
    expect_refused(own, "Permission denied in the folder ");
    expect_refused(own, "/own; give another --out");
    expect_refused(deeper, "Permission denied in the folder ");
    if (user == 0) expect_refused(sticky, "it belongs to another user in the folder ");
    if (user == 0) cr_assert_eq(seteuid(user), 0);
    cr_assert_eq(chmod(temporary_path("own"), 0755), 0);
}

Test(output, an_input_is_found_behind_every_path)
{
    struct error err = { 0 };
    char link_path[PATH_MAX_BYTES], file[PATH_MAX_BYTES], missing[PATH_MAX_BYTES];
    temporary_write("in.tif", "", 0);
    test_path(file, temporary_folder, "in.tif");
    test_path(link_path, temporary_folder, "link.tif");
    test_path(missing, temporary_folder, "missing.tif");
    cr_assert_eq(symlink("in.tif", link_path), 0);
    char *const inputs[] = { missing, file };
    cr_expect(output_check_inputs(temporary_path("out.tif"), inputs, 2, &err));
    cr_expect(!output_check_inputs(link_path, inputs, 2, &err));
    cr_expect_eq(err.code, EXIT_CODE_USAGE);
    cr_expect(strstr(err.message, "in.tif) and would be written over"), "%s", err.message);
}

Test(output, two_inputs_of_one_name_are_refused_wherever_they_stand)
{
    struct error err = { 0 };
    char *const apart[] = { (char *)"a/1.tif", (char *)"a/2.tif", (char *)"b/1.5.tif" };
    char *const twins[] = { (char *)"b/2.svs", (char *)"a/1.tif", (char *)"a/2.tif" };
    cr_expect(output_check_stems(apart, 3, &err), "%s", err.message);
    cr_expect(output_check_stems(apart, 0, &err));
    cr_expect(!output_check_stems(twins, 3, &err));
    cr_expect_eq(err.code, EXIT_CODE_USAGE);
    cr_expect(strstr(err.message, "b/2.svs and a/2.tif are both called 2"), "%s", err.message);
}

/* --- writing ---------------------------------------------------------------------------------- */

static bool writes(const char *path, struct error *err)
{
    char *text;
    size_t size;
    const bool ok = file_write_atomic(path, "new", 3, err);
    if (!file_exists(path)) return false;
    cr_assert(file_read(path, 100, &text, &size, err), "%s", err->message);
    cr_expect_str_eq(text, ok ? "new" : "old");
    free(text);
    cr_expect_eq(temporary_count(), 1, "a temporary file was left");
    return ok;
}

Test(output, a_name_of_255_bytes_is_written_like_any_other)
{
    struct error err = { 0 };
    char path[PATH_MAX_BYTES];
    cr_expect(writes(path_of_name(255, path), &err), "%s", err.message);
}

Test(output, file_systems_that_cannot_sync_or_lock_are_written_to)
{
    static const int causes[] = { EINVAL, EBADF, ENOSYS, EOPNOTSUPP, ENOTTY };
    for (size_t i = 0; i < COUNT_OF(causes); i++) {
        struct error err = { 0 };
        faults.folder_fsync = faults.file_fsync = causes[i];
        faults.flock = ENOLCK;
        cr_expect(writes(temporary_path("a.csv"), &err), "%s", err.message);
    }
}

Test(output, a_full_disk_that_shows_when_syncing_keeps_the_old_file)
{
    static const int causes[] = { EIO, ENOSPC, EDQUOT };
    temporary_write("a.csv", "old", 3);
    for (size_t i = 0; i < COUNT_OF(causes); i++) {
        struct error err = { 0 };
        faults.file_fsync = causes[i];
        cr_expect(!writes(temporary_path("a.csv"), &err));
        cr_expect(strstr(err.message, strerror(causes[i])), "%s", err.message);
    }
}

Test(output, renaming_is_tried_again_where_the_failure_may_pass)
{
    struct error err = { 0 };
    faults.renames[0] = ESTALE;
    faults.renames[1] = EBUSY;
    cr_expect(writes(temporary_path("a.csv"), &err), "%s", err.message);
    cr_expect_eq(renames, 3);
}

Test(output, renaming_that_a_file_server_did_but_did_not_confirm_is_done)
{
    struct error err = { 0 };
    faults.renames[0] = ENOENT;
    faults.rename_is_done = true;
    cr_expect(writes(temporary_path("a.csv"), &err), "%s", err.message);
}

Test(output, renaming_that_stays_refused_keeps_the_old_file)
{
    struct error err = { 0 };
    temporary_write("a.csv", "old", 3);
    for (size_t i = 0; i < COUNT_OF(faults.renames); i++) faults.renames[i] = EACCES;
    cr_expect(!writes(temporary_path("a.csv"), &err));
    cr_expect(strstr(err.message, strerror(EACCES)), "%s", err.message);
    cr_expect_eq(renames, 1);
}

Test(output, a_scratch_file_has_no_name)
{
    struct error err = { 0 };
    char path[PATH_MAX_BYTES];
    const int descriptor = scratch_file_open(path_of_name(255, path), &err);
    cr_assert_geq(descriptor, 0, "%s", err.message);
    cr_expect_eq(write(descriptor, "x", 1), 1);
    cr_expect_eq(temporary_count(), 0);
    close(descriptor);
}

/* --- the run's folder ------------------------------------------------------------------------- */

Test(output, the_best_checkpoint_is_a_copy_where_there_are_no_links)
{
    static const int causes[] = { 0, EPERM, ENOSYS, EOPNOTSUPP, EMLINK, EXDEV };
    struct run_folder folder = { 0 };
    char step[PATH_MAX_BYTES];
    snprintf(folder.checkpoints, sizeof folder.checkpoints, "%s", temporary_folder);
    run_folder_checkpoint_path(&folder, 7, step);
    temporary_write("step-000000007.safetensors", "weights", 7);
    for (size_t i = 0; i < COUNT_OF(causes); i++) {
        struct error err = { 0 };
        struct stat one, best;
        faults.link = causes[i];
        temporary_write("best.safetensors", "old", 3);
        cr_assert(run_folder_mark_best(&folder, step, &err), "%s", err.message);
        char *text = test_read(temporary_path("best.safetensors"));
        cr_expect_str_eq(text, "weights");
        free(text);
        cr_assert_eq(stat(step, &one), 0);
        cr_assert_eq(stat(temporary_path("best.safetensors"), &best), 0);
        cr_expect_eq(one.st_ino == best.st_ino, causes[i] == 0);
        cr_expect_eq(temporary_count(), 2);
        cr_assert_eq(unlink(temporary_path("best.safetensors")), 0);
    }
}
