/* The processors and memory that this process may use. A control group (cgroup) can allow less than
 * the machine has, and so can each of its ancestors, so the smallest limit from the process's own
 * group up to the root applies. */
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "micromet/base/file.h"
#include "micromet/base/size.h"
#include "micromet/base/thread.h"

/* A cgroup hierarchy, version 1 or 2: the mark of its line in /proc/self/cgroup, and the path of
 * the limit's file. */
struct hierarchy {
    const char *mark, *mount, *file;
};

static const struct hierarchy memory_hierarchies[] = {
    { "0::", "/sys/fs/cgroup", "memory.max" },
    { ":memory:", "/sys/fs/cgroup/memory", "memory.limit_in_bytes" },
};

static const struct hierarchy processor_hierarchies[] = {
    { "0::", "/sys/fs/cgroup", "cpu.max" },
};

/* First line of a small /proc or /sys file, without its newline. */
static bool read_line(const char *path, char *line, int size)
{
    FILE *stream = fopen(path, "re");
    if (!stream) return false;
    const bool read = fgets(line, size, stream) != NULL;
    fclose(stream);
    if (read) line[strcspn(line, "\n")] = '\0';
    return read;
}

static bool own_group(const struct hierarchy *hierarchy, char *group, size_t size)
{
    FILE *stream = fopen("/proc/self/cgroup", "re");
    if (!stream) return false;
    char line[512];
    bool found = false;
    while (!found && fgets(line, sizeof(line), stream)) {
        line[strcspn(line, "\n")] = '\0';
        const char *mark = strstr(line, hierarchy->mark);
        if (!mark) continue;
        found = (size_t)snprintf(group, size, "%s", mark + strlen(hierarchy->mark)) < size;
    }
    fclose(stream);
    return found;
}

/* The smallest positive value that `parse` finds in the hierarchy's files, from this process's
 * group up to the root. */
static double smallest_limit(const struct hierarchy *hierarchy, double limit,
                             double (*parse)(const char *line))
{
    char group[512];
    if (!own_group(hierarchy, group, sizeof(group))) return limit;
    for (;;) {
        char path[PATH_MAX_BYTES], line[128];
        snprintf(path, sizeof(path), "%s%s/%s", hierarchy->mount, group, hierarchy->file);
        if (read_line(path, line, sizeof(line))) {
            const double value = parse(line);
            if (value > 0 && value < limit) limit = value;
        }
        char *slash = strrchr(group, '/');
        if (!slash) return limit;
        *slash = '\0';
    }
}

static double parse_bytes(const char *line)
{
    return strtod(line, NULL); /* "max" gives 0 */
}

static double parse_processors(const char *line)
{
    double quota = 0, period = 0;
    return sscanf(line, "%lf %lf", &quota, &period) == 2 && period > 0 ? quota / period : 0;
}

int thread_count_default(void)
{
    cpu_set_t set;
    double processors = sched_getaffinity(0, sizeof(set), &set) == 0
                            ? CPU_COUNT(&set)
                            : (double)sysconf(_SC_NPROCESSORS_ONLN);
    processors = smallest_limit(&processor_hierarchies[0], processors, parse_processors);
    const int whole = (int)processors;
    return whole < 1 ? 1 : whole;
}

int64_t memory_limit_bytes(void)
{
    double limit = (double)sysconf(_SC_PHYS_PAGES) * (double)sysconf(_SC_PAGE_SIZE);
    for (size_t i = 0; i < COUNT_OF(memory_hierarchies); i++)
        limit = smallest_limit(&memory_hierarchies[i], limit, parse_bytes);
    return (int64_t)limit;
}

/* A figure of /proc/self/status, which gives KiB; 0 if it is not there. */
static int64_t memory_status_bytes(const char *name)
{
    FILE *stream = fopen("/proc/self/status", "re");
    if (!stream) return 0;
    char line[256], pattern[32];
    long long kibibytes = 0;
    snprintf(pattern, sizeof pattern, "%s: %%lld", name);
    while (fgets(line, sizeof(line), stream) && sscanf(line, pattern, &kibibytes) != 1) {
    }
    fclose(stream);
    return kibibytes * 1024;
}

int64_t memory_peak_bytes(void)
{
    return memory_status_bytes("VmHWM");
}

int64_t memory_resident_bytes(void)
{
    return memory_status_bytes("VmRSS");
}
