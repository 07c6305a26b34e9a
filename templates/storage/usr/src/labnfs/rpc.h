/* Calls to one server over one TCP connection: many at once, each with credentials of its own.
 *
 * A connection that breaks is made again and what was not answered is sent again. A call that is not answered
 * before its deadline ends with EIO.
 */
#pragma once
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "wire.h"

enum { NFS_PROGRAM = 100003, MOUNT_PROGRAM = 100005, PORTMAP_PROGRAM = 100000 };

struct credentials {
    uint32_t uid, gid;
    /* One more group, when `has_group`. */
    uint32_t group;
    bool has_group;
};

struct call {
    struct call *next;
    uint32_t xid, procedure;
    struct credentials who;
    /* A group that the kernel has checked the caller to be in, or not to need: tried when the server refuses. */
    uint32_t spare_group;
    bool has_spare;
    struct out arguments;
    /* The end of the arguments that is not copied: an opaque of `size` bytes. Lives as long as the call. */
    const char *bytes;
    size_t size;
    bool has_bytes;
    struct out header;
    size_t sent;
    uint64_t started, deadline, not_before;
    /* It was under way when a connection broke: it may have been done already. */
    bool resent;
    /* Called once, `error` being an errno. The call is freed after it, unless it was sent again from it. */
    void (*done)(struct call *call, int error, struct in *reply);
    bool again;
};

struct server {
    char **addresses;
    int count, current;
    uint16_t port;
    /* Seconds that a call waits for the server. */
    unsigned timeout;
};

uint64_t now_ms(void);

void rpc_start(const struct server *server);
struct call *rpc_new(size_t size, uint32_t procedure, const struct credentials *who);
/* Queue a call, also one that has been answered (its arguments go again). */
void rpc_send(struct call *call);
/* Free a call that was never sent. */
void rpc_drop(struct call *call);
int rpc_fd(void);
short rpc_events(void);
/* Milliseconds until `rpc_run` wants to run again. */
int rpc_wait(void);
void rpc_run(short events);
bool rpc_connected(void);
bool rpc_idle(void);
/* The number of the next call. */
uint32_t rpc_mark(void);

/* One call to any program, waiting for its answer; 0 or an errno. The reply lives until the next one. */
int rpc_once(const char *address, uint16_t port, uint32_t program, uint32_t version, uint32_t procedure,
             const struct out *arguments, struct in *reply);
