#include "hello.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const char magic[8] = "micromet";

void hello_name_host(char host[HELLO_HOST_BYTES])
{
    const char *node = getenv("SLURMD_NODENAME");
    memset(host, 0, HELLO_HOST_BYTES);
    if (node && node[0])
        snprintf(host, HELLO_HOST_BYTES, "%s", node);
    else if (gethostname(host, HELLO_HOST_BYTES - 1) != 0 || !host[0])
        snprintf(host, HELLO_HOST_BYTES, "a host");
}

struct hello hello_of(int rank, int size, enum hello_purpose purpose, int port, const char *job)
{
    struct hello hello = {
        .protocol = HELLO_PROTOCOL,
        .purpose = purpose,
        .rank = (uint32_t)rank,
        .size = (uint32_t)size,
        .port = (uint32_t)port,
    };
    memcpy(hello.magic, magic, sizeof magic);
    hello_name_host(hello.host);
    snprintf(hello.job, sizeof hello.job, "%s", job);
    return hello;
}

bool hello_is_sane(const struct hello *hello)
{
    return memcmp(hello->magic, magic, sizeof magic) == 0 && hello->protocol == HELLO_PROTOCOL &&
           memchr(hello->host, '\0', sizeof hello->host) &&
           memchr(hello->job, '\0', sizeof hello->job) && hello->port <= UINT16_MAX;
}

struct hello_answer hello_answer(const char *reason)
{
    struct hello_answer answer = { .protocol = HELLO_PROTOCOL, .welcome = reason == NULL };
    memcpy(answer.magic, magic, sizeof magic);
    if (reason) snprintf(answer.reason, sizeof answer.reason, "%s", reason);
    return answer;
}

static enum hello_outcome understand(struct hello_answer *answer, char why[256])
{
    answer->reason[sizeof answer->reason - 1] = '\0';
    if (memcmp(answer->magic, magic, sizeof magic) != 0 || answer->protocol != HELLO_PROTOCOL) {
        snprintf(why, 256, "who answers is not micromet, or another version of it");
        return HELLO_NOBODY;
    }
    snprintf(why, 256, "%s", answer->reason);
    return answer->welcome ? HELLO_WELCOME : HELLO_REFUSED;
}

enum hello_outcome hello_say(const struct link_address *address, const struct hello *hello,
                             double until_s, int *connection, char why[256])
{
    struct hello_answer answer;
    enum hello_outcome outcome = HELLO_NOBODY;
    *connection = link_connect(address, until_s);
    if (*connection >= 0 && link_send(*connection, hello, sizeof *hello, until_s) &&
        link_receive(*connection, &answer, sizeof answer, until_s))
        outcome = understand(&answer, why);
    else
        snprintf(why, 256, "%s", strerror(errno));
    if (outcome != HELLO_WELCOME) link_close(connection);
    return outcome;
}
