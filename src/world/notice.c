#include "notice.h"

#include <errno.h>
#include <stdio.h>
#include <sys/socket.h>

void notice_send(const struct notice_line *line, enum notice_kind kind, int code, bool whole,
                 const char *text)
{
    if (line->socket < 0) return;
    struct notice notice = { { .kind = kind, .code = (uint32_t)code, .whole = whole }, { 0 } };
    const int length = snprintf(notice.text, sizeof notice.text, "%s", text);
    notice.head.bytes = length < NOTICE_TEXT_BYTES ? (uint32_t)length + 1 : NOTICE_TEXT_BYTES;
    send(line->socket, &notice, sizeof notice.head + notice.head.bytes,
         MSG_DONTWAIT | MSG_NOSIGNAL);
}

/* Bytes of the notice as far as they are known. */
static size_t bytes_expected(const struct notice_line *line)
{
    const size_t head = sizeof line->notice.head;
    return line->received < head ? head : head + line->notice.head.bytes;
}

enum notice_outcome notice_receive(struct notice_line *line)
{
    const size_t head = sizeof line->notice.head;
    if (line->received >= head && line->received == bytes_expected(line)) line->received = 0;
    for (;;) {
        const ssize_t got = recv(line->socket, (char *)&line->notice + line->received,
                                 bytes_expected(line) - line->received, MSG_DONTWAIT);
        if (got < 0 && errno == EINTR) continue;
        if (got < 0 && errno == EAGAIN) return NOTICE_NONE;
        if (got <= 0) return NOTICE_BROKEN;
        line->received += (size_t)got;
        const uint32_t bytes = line->notice.head.bytes;
        if (line->received < head) continue;
        if (bytes == 0 || bytes > NOTICE_TEXT_BYTES) return NOTICE_BROKEN;
        if (line->received < bytes_expected(line)) continue;
        line->notice.text[bytes - 1] = '\0';
        return NOTICE_WHOLE;
    }
}
