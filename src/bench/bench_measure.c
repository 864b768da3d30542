/* Helpers that measure and report, shared by the parts of bench. */
#include "bench_parts.h"
#include "micromet/base/thread.h"

bool bench_repeat(double seconds, bool (*work)(void *context, struct error *err), void *context,
                  double *calls_per_s, struct error *err)
{
    int64_t calls = 0;
    double spent_s = 0;
    if (!work(context, err)) return false;
    const double started_s = clock_seconds();
    while (spent_s < seconds) {
        if (!work(context, err)) return false;
        calls++;
        spent_s = clock_seconds() - started_s;
    }
    *calls_per_s = (double)calls / spent_s;
    return true;
}

void bench_tell(const struct bench *bench, const struct bench_result *result)
{
    bench->listener->result(bench->listener->context, result);
}
