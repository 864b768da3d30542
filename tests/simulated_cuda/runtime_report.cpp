/* What a program did on the device, written to the file MICROMET_SIMULATED_REPORT when it exits:
 *
 *     call NAME COUNT                           calls of an entry point
 *     site NAME FIRST MIDDLE LAST FUNCTION<...  one place that calls it
 *     leak WHAT                                 what was never released
 *
 * A place is identified by the chain of calls inside the library. Its line gives the numbers of its
 * first, middle and last call among the calls of NAME, and the exported functions of the chain,
 * innermost first. A program that ends in any other way than exit() writes nothing. */
#include "runtime.h"

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <dlfcn.h>
#include <execinfo.h>

using namespace simulated;

namespace
{

constexpr int frames_max = 32;

struct site {
    std::string name;
    std::vector<void *> frames; /* in this library, innermost first */
    bool operator<(const site &other) const
    {
        return name != other.name ? name < other.name : frames < other.frames;
    }
};

struct reporter {
    const char *path = getenv("MICROMET_SIMULATED_REPORT");
    std::map<site, std::vector<int64_t>> sites; /* -> numbers of their calls */

    ~reporter();
};

reporter report;

/* Whether the name is informative: not a template, not a function of the simulated device, not the
 * entry point itself. */
bool says_something(const char *function, const std::string &name)
{
    return function && name != function && strncmp(function, "_Z", 2) != 0 &&
           strncmp(function, "sim_", 4) != 0;
}

std::string chain(const site &s)
{
    std::string text;
    for (void *frame : s.frames) {
        Dl_info found;
        if (!dladdr(frame, &found) || !says_something(found.dli_sname, s.name)) continue;
        if (!text.empty()) text += "<";
        text += found.dli_sname;
    }
    return text;
}

reporter::~reporter()
{
    FILE *file = path ? fopen(path, "w") : nullptr;
    if (!file) return;
    for (const auto &[name, count] : sim.calls)
        fprintf(file, "call %s %lld\n", name.c_str(), (long long)count);
    for (const auto &[where, calls] : sites)
        fprintf(file, "site %s %lld %lld %lld %s\n", where.name.c_str(), (long long)calls.front(),
                (long long)calls[calls.size() / 2], (long long)calls.back(), chain(where).c_str());
    for (const std::string &line : leaks()) fprintf(file, "leak %s\n", line.c_str());
    fclose(file);
}

} // namespace

namespace simulated
{

void report_call(const char *name)
{
    if (!report.path) return;
    void *frames[frames_max];
    const int count = backtrace(frames, frames_max);
    site s { name, {} };
    Dl_info own, other;
    dladdr((void *)&report_call, &own);
    for (int i = 1; i < count; i++) {
        if (!dladdr(frames[i], &other) || other.dli_fbase != own.dli_fbase) break;
        s.frames.push_back(frames[i]);
    }
    report.sites[s].push_back(sim.calls[name]);
}

} // namespace simulated
