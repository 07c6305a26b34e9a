/* Requests of the kernel as calls to the server: who asks, what is answered, and what an interrupt does. */
#include "files.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* Seconds for which the kernel believes attributes and names; opening a file asks anew. */
const double fresh = 1.0;

/* Milliseconds after which who was interrupted does not wait any longer. */
#define PATIENCE 500

struct interrupted {
    struct interrupted *next;
    struct operation *op;
};

static struct interrupted *interrupted;

struct credentials caller_of(fuse_req_t request)
{
    const struct fuse_ctx *context = fuse_req_ctx(request);
    return (struct credentials){.uid = context->uid, .gid = context->gid};
}

static void interrupt(fuse_req_t request, void *data)
{
    (void)request;
    struct operation *op = data;
    for (struct interrupted *each = interrupted; each; each = each->next)
        if (each->op == op)
            return;
    struct interrupted *one = malloc(sizeof *one);
    if (!one)
        abort();
    *one = (struct interrupted){interrupted, op};
    interrupted = one;
}

struct operation *operation(fuse_req_t request, fuse_ino_t number, uint32_t procedure,
                            void (*done)(struct call *, int, struct in *))
{
    struct credentials who = caller_of(request);
    struct operation *op = (struct operation *)rpc_new(sizeof *op, procedure, &who);
    op->request = request;
    op->caller = who;
    op->inode = inode_of(number);
    inode_hold(op->inode);
    op->call.done = done;
    /* The kernel has checked the permissions of a directory or file against all groups of the caller. */
    if (who.uid) {
        op->call.spare_group = op->inode->gid;
        op->call.has_spare = op->inode->mode != 0;
    }
    put_file_id(&op->call.arguments, op->inode);
    fuse_req_interrupt_func(request, interrupt, op);
    return op;
}

static void not_interrupted(struct operation *op)
{
    for (struct interrupted **link = &interrupted; *link; link = &(*link)->next)
        if ((*link)->op == op) {
            struct interrupted *one = *link;
            *link = one->next;
            free(one);
            return;
        }
}

void operation_end(struct operation *op)
{
    not_interrupted(op);
    inode_release(op->inode);
    inode_release(op->other);
    free(op->name);
    free(op->other_name);
    free(op->buffer);
    free(op->piece);
}

void operation_drop(struct operation *op)
{
    operation_end(op);
    rpc_drop(&op->call);
}

void operation_send(struct operation *op)
{
    rpc_send(&op->call);
}

void reply_error(struct operation *op, int error)
{
    if (op->request) {
        fuse_req_interrupt_func(op->request, NULL, NULL);
        fuse_reply_err(op->request, error);
    }
    op->request = NULL;
}

/* A call that was sent twice, because the connection broke, finds that the first one has done it. */
static int done_before(const struct call *call, int error)
{
    bool takes_away = call->procedure == REMOVE || call->procedure == RMDIR || call->procedure == RENAME;
    return call->resent && takes_away && error == ENOENT ? 0 : error;
}

struct operation *answered_operation(struct call *call, int error)
{
    struct operation *op = (struct operation *)call;
    error = done_before(call, error);
    if (!error && op->request)
        return op;
    reply_error(op, error);
    operation_end(op);
    return NULL;
}

/* Who is killed while the server is away is let go; the call itself goes on. */
void requests_tick(void)
{
    uint64_t now = now_ms();
    for (struct interrupted **link = &interrupted; *link;) {
        struct interrupted *one = *link;
        if (now - one->op->call.started < PATIENCE) {
            link = &one->next;
            continue;
        }
        *link = one->next;
        reply_error(one->op, EINTR);
        free(one);
    }
}

bool get_entry(struct in *reply, bool maybe, struct file_id *id, struct stat *stat)
{
    return (!maybe || get_u32(reply)) && get_file_id(reply, id) && get_maybe_attributes(reply, stat);
}

void reply_entry(struct operation *op, const struct file_id *id, const struct stat *stat)
{
    struct inode *inode = inode_take(id);
    struct fuse_entry_param entry = {
        .ino = number_of(inode), .attr = *stat, .attr_timeout = fresh, .entry_timeout = fresh};
    true_size(inode, op->call.xid, &entry.attr);
    learn(inode, stat);
    inode->lookups++;
    int failed = op->has_file ? fuse_reply_create(op->request, &entry, &op->file) : fuse_reply_entry(op->request, &entry);
    if (failed)
        inode_forget(inode, 1);
    op->has_file = op->has_file && !failed;
    op->request = NULL;
    inode_release(inode);
}
