/* The first signal counts: Slurm sends SIGTERM after SIGUSR1 to whoever is slow, and it is the
 * first that says why the job has to go. */
#include "micromet/base/stop.h"

#include <signal.h>
#include <stdatomic.h>
#include <string.h>

#include "micromet/base/size.h"

static atomic_int first; /* lock-free, so a signal handler may write it */

static void on_signal(int number)
{
    int none = 0;
    atomic_compare_exchange_strong(&first, &none, number);
}

void stop_catch(void)
{
    static const int signals[] = { SIGINT, SIGTERM, SIGUSR1 };
    const struct sigaction action = { .sa_handler = on_signal, .sa_flags = SA_RESTART };
    for (size_t i = 0; i < COUNT_OF(signals); i++) sigaction(signals[i], &action, NULL);
}

void stop_request(int number)
{
    on_signal(number);
}

int stop_signal(void)
{
    return atomic_load(&first);
}

bool stop_check(struct error *err)
{
    const int number = stop_signal();
    return number == 0 || error_set(err, EXIT_CODE_INTERRUPTED, "stopped by %s", strsignal(number));
}
