#include "rpc.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

#define LARGEST ((size_t)(8 << 20))
#define CONNECTING 3000
#define PAUSE 250

enum { JUKEBOX = 10008 };

static struct server server;
static int fd = -1;
static bool connected, told_down;
static uint64_t connect_deadline, next_connect, down_since;
static uint32_t next_xid;

static struct call *waiting, **waiting_end = &waiting; /* to be sent, the first perhaps in part */
static struct call *under_way;                         /* sent, newest first */

static void send_all(void);

static char *input;
static size_t input_room, input_length;

uint64_t now_ms(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

static void put_header(struct out *out, uint32_t xid, uint32_t program, uint32_t version, uint32_t procedure,
                       const struct credentials *who)
{
    put_u32(out, xid);
    put_u32(out, 0); /* a call */
    put_u32(out, 2);
    put_u32(out, program);
    put_u32(out, version);
    put_u32(out, procedure);
    put_u32(out, 1); /* AUTH_UNIX */
    put_u32(out, who->has_group ? 28 : 24);
    put_u32(out, 0);
    put_string(out, "lab");
    put_u32(out, who->uid);
    put_u32(out, who->gid);
    put_u32(out, who->has_group);
    if (who->has_group)
        put_u32(out, who->group);
    put_u32(out, 0);
    put_u32(out, 0);
}

/* The reply past its header; 0 or an errno. */
static int accept_reply(struct in *in)
{
    uint32_t length;
    if (get_u32(in) != 1 || get_u32(in) != 0) /* a reply, accepted */
        return EACCES;
    get_u32(in);
    get_opaque(in, &length);
    uint32_t status = get_u32(in);
    return in->bad ? EIO : status == 0 ? 0 : status <= 3 ? EPROTONOSUPPORT : EIO;
}

static int error_of(uint32_t status)
{
    switch (status) {
    case 0: return 0;
    case 63: return ENAMETOOLONG;
    case 66: return ENOTEMPTY;
    case 69: return EDQUOT;
    case 70:
    case 10001: return ESTALE;
    case 71: return EREMOTE;
    case 10003:
    case 10005: return EINVAL;
    case 10004: return EOPNOTSUPP;
    default: return status < 40 ? (int)status : EIO;
    }
}

void rpc_start(const struct server *known)
{
    server = *known;
    next_xid = (uint32_t)time(NULL) << 12 ^ (uint32_t)getpid() << 8;
    down_since = now_ms();
}

bool rpc_connected(void)
{
    return connected;
}

bool rpc_idle(void)
{
    return !waiting && !under_way;
}

uint32_t rpc_mark(void)
{
    return next_xid;
}

struct call *rpc_new(size_t size, uint32_t procedure, const struct credentials *who)
{
    struct call *call = calloc(1, size);
    if (!call)
        abort();
    call->procedure = procedure;
    call->who = *who;
    return call;
}

static void enqueue(struct call *call)
{
    call->next = NULL;
    *waiting_end = call;
    waiting_end = &call->next;
}

static void build_header(struct call *call)
{
    call->header.length = 0;
    put_u32(&call->header, 0);
    put_header(&call->header, call->xid, NFS_PROGRAM, 3, call->procedure, &call->who);
    size_t padded = call->has_bytes ? 4 + ((call->size + 3) & ~(size_t)3) : 0;
    uint32_t mark = htonl(0x80000000u | (call->header.length - 4 + call->arguments.length + padded));
    memcpy(call->header.data, &mark, 4);
    call->sent = 0;
}

void rpc_send(struct call *call)
{
    uint64_t now = now_ms();
    call->xid = next_xid++;
    call->again = true;
    if (!call->started)
        call->started = now;
    /* Who comes while the server has been away for long is not kept as long as the first. */
    uint64_t patience = server.timeout * 1000ull;
    call->deadline = now + (!connected && now - down_since > patience ? patience / 6 : patience);
    build_header(call);
    enqueue(call);
    if (connected && waiting == call)
        send_all();
}

void rpc_drop(struct call *call)
{
    free(call->header.data);
    free(call->arguments.data);
    free(call);
}

static void finish(struct call *call, int error, struct in *reply)
{
    call->again = false;
    call->done(call, error, reply);
    if (!call->again)
        rpc_drop(call);
}

/* ------------------------------------------------------------ the connection */

static void disconnect(void)
{
    if (fd >= 0)
        close(fd);
    fd = -1;
    if (connected)
        down_since = now_ms();
    connected = false;
    input_length = 0;
    next_connect = now_ms() + PAUSE;
    server.current = (server.current + 1) % server.count;
    if (!told_down) {
        printf("down\n");
        fflush(stdout);
        told_down = true;
    }
    /* What was under way goes first, in the order in which it was sent; a server knows what it has done already by
     * the number of the call. */
    for (struct call *call = waiting; call; call = call->next)
        call->sent = 0;
    while (under_way) {
        struct call *call = under_way;
        under_way = call->next;
        call->next = waiting;
        if (!waiting)
            waiting_end = &call->next;
        waiting = call;
            call->sent = 0;
    }
}

static int open_socket(const char *address, uint16_t port, bool wait)
{
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(port)};
    if (inet_pton(AF_INET, address, &to.sin_addr) != 1)
        return errno = EINVAL, -1;
    int made = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (made < 0)
        return -1;
    int on = 1, idle = 5, between = 2, probes = 3, unanswered = 10000;
    setsockopt(made, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    setsockopt(made, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof on);
    setsockopt(made, IPPROTO_TCP, TCP_KEEPIDLE, &idle, sizeof idle);
    setsockopt(made, IPPROTO_TCP, TCP_KEEPINTVL, &between, sizeof between);
    setsockopt(made, IPPROTO_TCP, TCP_KEEPCNT, &probes, sizeof probes);
    setsockopt(made, IPPROTO_TCP, TCP_USER_TIMEOUT, &unanswered, sizeof unanswered);
    int result = connect(made, (struct sockaddr *)&to, sizeof to);
    if (result < 0 && errno == EINPROGRESS && wait) {
        struct pollfd ready = {.fd = made, .events = POLLOUT};
        socklen_t length = sizeof result;
        result = poll(&ready, 1, CONNECTING) == 1 ? 0 : (errno = ETIMEDOUT, -1);
        int error = 0;
        if (!result && !getsockopt(made, SOL_SOCKET, SO_ERROR, &error, &length) && error)
            errno = error, result = -1;
    }
    if (result < 0 && errno != EINPROGRESS) {
        int error = errno;
        close(made);
        errno = error;
        return -1;
    }
    return made;
}

static void connect_now(void)
{
    fd = open_socket(server.addresses[server.current], server.port, false);
    connect_deadline = now_ms() + CONNECTING;
    if (fd < 0)
        disconnect();
}

static void connection_made(void)
{
    int error = 0;
    socklen_t length = sizeof error;
    if (getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &length) || error) {
        disconnect();
        return;
    }
    connected = true;
    told_down = false;
    printf("up %s\n", server.addresses[server.current]);
    fflush(stdout);
}

/* ------------------------------------------------------------ bytes */

static bool send_some(struct call *call)
{
    static const char padding[4];
    uint32_t length = htonl((uint32_t)call->size);
    struct iovec all[5] = {
        {call->header.data, call->header.length},
        {call->arguments.data, call->arguments.length},
        {&length, call->has_bytes ? 4 : 0},
        {(void *)call->bytes, call->has_bytes ? call->size : 0},
        {(void *)padding, call->has_bytes ? -call->size & 3 : 0},
    };
    size_t skip = call->sent, left = 0;
    for (int i = 0; i < 5; i++) {
        size_t part = all[i].iov_len < skip ? all[i].iov_len : skip;
        all[i].iov_base = (char *)all[i].iov_base + part;
        all[i].iov_len -= part;
        skip -= part;
        left += all[i].iov_len;
    }
    struct msghdr message = {.msg_iov = all, .msg_iovlen = 5};
    ssize_t written = sendmsg(fd, &message, MSG_NOSIGNAL);
    if (written < 0) {
        if (errno != EAGAIN && errno != EINTR)
            disconnect();
        return false;
    }
    call->sent += written;
    return (size_t)written == left;
}

static void send_all(void)
{
    uint64_t now = now_ms();
    while (connected && waiting && waiting->not_before <= now && send_some(waiting)) {
        struct call *call = waiting;
        waiting = call->next;
        if (!waiting)
            waiting_end = &waiting;
        call->next = under_way;
        under_way = call;
    }
}

static void answered(const char *record, size_t length)
{
    struct in in = {record, record + length, false};
    uint32_t xid = get_u32(&in);
    struct call **link = &under_way;
    while (*link && (*link)->xid != xid)
        link = &(*link)->next;
    struct call *call = *link;
    if (!call)
        return;
    *link = call->next;
    int error = accept_reply(&in);
    uint32_t status = error ? 0 : get_u32(&in);
    if (status == JUKEBOX && now_ms() < call->deadline) {
        call->xid = next_xid++;
        call->not_before = now_ms() + 100;
        build_header(call);
        enqueue(call);
        return;
    }
    if (!error)
        error = error_of(status);
    if ((error == EACCES || error == EPERM) && call->has_spare && !call->who.has_group) {
        call->who.group = call->spare_group;
        call->who.has_group = true;
        rpc_send(call);
        return;
    }
    if (!error && in.bad)
        error = EIO;
    finish(call, error, &in);
}

static bool grow(size_t needed)
{
    if (needed > LARGEST)
        return false;
    if (needed > input_room) {
        input_room = needed + (256 << 10);
        input = realloc(input, input_room);
        if (!input)
            abort();
    }
    return true;
}

static void receive_all(void)
{
    for (;;) {
        uint32_t mark = 0;
        size_t wanted = 4;
        if (input_length >= 4) {
            memcpy(&mark, input, 4);
            mark = ntohl(mark);
            wanted = 4 + (mark & 0x7fffffff);
        }
        if (input_length >= 4 && input_length >= wanted) {
            /* No server in use splits its replies. */
            if (!(mark & 0x80000000u)) {
                disconnect();
                return;
            }
            answered(input + 4, wanted - 4);
            if (fd < 0)
                return;
            memmove(input, input + wanted, input_length - wanted);
            input_length -= wanted;
            continue;
        }
        if (!grow(wanted > 65536 ? wanted : 65536)) {
            disconnect();
            return;
        }
        /* Never more than the record that has begun: what follows a large one would have to be moved. */
        size_t most = (wanted > 65536 ? wanted : 65536) - input_length;
        ssize_t got = recv(fd, input + input_length, most, 0);
        if (got <= 0) {
            if (got == 0 || (errno != EAGAIN && errno != EINTR))
                disconnect();
            return;
        }
        input_length += got;
    }
}

/* ------------------------------------------------------------ the loop's side */

static void expire(uint64_t now)
{
    static uint64_t last;
    if (now - last < 100)
        return;
    last = now;
    for (struct call **link = &waiting; *link;) {
        struct call *call = *link;
        if (call->deadline > now || call->sent) {
            link = &call->next;
            continue;
        }
        *link = call->next;
        if (!*link)
            waiting_end = link;
        finish(call, EIO, NULL);
        link = &waiting; /* `done` may have sent others */
    }
    for (struct call *call = waiting ? waiting : NULL; call; call = call->next)
        if (call->sent && call->deadline <= now) {
            disconnect();
            break;
        }
    for (struct call **link = &under_way; *link;) {
        struct call *call = *link;
        if (call->deadline > now) {
            link = &call->next;
            continue;
        }
        *link = call->next;
        finish(call, EIO, NULL);
        link = &under_way;
    }
}

int rpc_fd(void)
{
    return fd;
}

short rpc_events(void)
{
    bool due = waiting && waiting->not_before <= now_ms();
    return connected ? POLLIN | (due ? POLLOUT : 0) : POLLOUT;
}

int rpc_wait(void)
{
    if (fd < 0)
        return PAUSE / 2;
    return connected && rpc_idle() ? 60000 : 100;
}

void rpc_run(short events)
{
    uint64_t now = now_ms();
    if (fd < 0 && now >= next_connect)
        connect_now();
    else if (fd >= 0 && !connected && (events & (POLLOUT | POLLERR | POLLHUP)))
        connection_made();
    else if (fd >= 0 && !connected && now >= connect_deadline)
        disconnect();
    if (connected && (events & (POLLIN | POLLERR | POLLHUP)))
        receive_all();
    if (connected)
        send_all();
    expire(now);
}

int rpc_once(const char *address, uint16_t port, uint32_t program, uint32_t version, uint32_t procedure,
             const struct out *arguments, struct in *reply)
{
    static char buffer[65536];
    int one = open_socket(address, port, true);
    if (one < 0)
        return errno;
    struct credentials root = {0};
    struct out message = {0};
    put_u32(&message, 0);
    put_header(&message, next_xid++, program, version, procedure, &root);
    put_raw(&message, arguments->data, arguments->length);
    uint32_t mark = htonl(0x80000000u | (message.length - 4));
    memcpy(message.data, &mark, 4);
    size_t got = 0, wanted = 4;
    int error = send(one, message.data, message.length, MSG_NOSIGNAL) == (ssize_t)message.length ? 0 : EIO;
    while (!error && got < wanted) {
        struct pollfd ready = {.fd = one, .events = POLLIN};
        ssize_t more = poll(&ready, 1, 5000) == 1 ? recv(one, buffer + got, sizeof buffer - got, 0) : -2;
        if (more <= 0) {
            error = more == -2 ? ETIMEDOUT : EIO;
            break;
        }
        got += more;
        if (got >= 4) {
            memcpy(&mark, buffer, 4);
            wanted = 4 + (ntohl(mark) & 0x7fffffff);
            if (wanted > sizeof buffer)
                error = EMSGSIZE;
        }
    }
    close(one);
    free(message.data);
    if (error)
        return error;
    *reply = (struct in){buffer + 8, buffer + wanted, false};
    return accept_reply(reply);
}
