/* Removing and renaming. A file that is open here is only hidden: the server knows nothing of open files. */
#include "files.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static void done(struct call *call, int error, struct in *reply)
{
    (void)reply;
    struct operation *op = answered_operation(call, error);
    if (!op)
        return;
    reply_error(op, 0);
    operation_end(op);
}

static void send_as(struct operation *op, uint32_t procedure, void (*then)(struct call *, int, struct in *))
{
    struct out *out = &op->call.arguments;
    op->call.procedure = procedure;
    op->call.done = then;
    op->call.resent = false;
    out->length = 0;
    put_file_id(out, op->inode);
    put_string(out, op->name);
    if (procedure == RENAME) {
        put_file_id(out, op->other);
        put_string(out, op->other_name);
    }
    rpc_send(&op->call);
}

static void hidden_name(char *name, size_t room)
{
    static uint32_t number;
    snprintf(name, room, ".nfs%08x%06x", (uint32_t)time(NULL) ^ (uint32_t)now_ms() << 20, ++number & 0xffffff);
}

/* The file open here that a LOOKUP found; NULL for none. */
static struct inode *open_one(int error, struct in *reply)
{
    struct file_id id;
    if (error || !get_file_id(reply, &id))
        return NULL;
    struct inode *inode = inode_find(&id);
    return inode && inode->opened ? inode : NULL;
}

/* ------------------------------------------------------------ unlink, rmdir */

static void hidden(struct call *call, int error, struct in *reply)
{
    struct operation *op = (struct operation *)call;
    /* `file` carries the file that was hidden. */
    struct inode *inode = (struct inode *)(uintptr_t)op->file.fh;
    if (!error) {
        inode->hidden_in = op->inode;
        inode_hold(op->inode);
        snprintf(inode->hidden, sizeof inode->hidden, "%s", op->other_name);
        if (!inode->opened)
            remove_hidden(inode, &call->who);
    }
    inode_release(inode);
    done(call, error, reply);
}

static void found_to_remove(struct call *call, int error, struct in *reply)
{
    struct inode *inode = open_one(error, reply);
    struct operation *op = answered_operation(call, inode && inode->hidden_in ? EBUSY : error);
    if (!op)
        return;
    if (!inode) {
        send_as(op, REMOVE, done);
        return;
    }
    char name[24];
    hidden_name(name, sizeof name);
    op->other = op->inode;
    inode_hold(op->other);
    op->other_name = strdup(name);
    op->file.fh = (uintptr_t)inode;
    inode_hold(inode);
    send_as(op, RENAME, hidden);
}

void fs_unlink(fuse_req_t request, fuse_ino_t parent, const char *name)
{
    struct operation *op = operation(request, parent, LOOKUP, found_to_remove);
    op->name = strdup(name);
    if (all_opened)
        send_as(op, LOOKUP, found_to_remove);
    else
        send_as(op, REMOVE, done);
}

void fs_rmdir(fuse_req_t request, fuse_ino_t parent, const char *name)
{
    struct operation *op = operation(request, parent, RMDIR, done);
    op->name = strdup(name);
    send_as(op, RMDIR, done);
}

static void nobody_waits(struct call *call, int error, struct in *reply)
{
    (void)call, (void)error, (void)reply;
}

void remove_hidden(struct inode *inode, const struct credentials *who)
{
    struct call *call = rpc_new(sizeof *call, REMOVE, who);
    call->done = nobody_waits;
    if (who->uid) {
        call->spare_group = inode->hidden_in->gid;
        call->has_spare = true;
    }
    put_file_id(&call->arguments, inode->hidden_in);
    put_string(&call->arguments, inode->hidden);
    inode_release(inode->hidden_in);
    inode->hidden_in = NULL;
    rpc_send(call);
}

/* ------------------------------------------------------------ rename */

struct replacing {
    struct call call;
    struct operation *op;
    struct inode *inode;
    char name[24];
};

static void out_of_the_way(struct call *call, int error, struct in *reply)
{
    (void)reply;
    struct replacing *replacing = (struct replacing *)call;
    struct operation *op = replacing->op;
    struct inode *inode = replacing->inode;
    if (error) {
        answered_operation(&op->call, error);
        rpc_drop(&op->call);
    } else {
        inode->hidden_in = op->other;
        inode_hold(op->other);
        memcpy(inode->hidden, replacing->name, sizeof replacing->name);
        if (!inode->opened)
            remove_hidden(inode, &call->who);
        send_as(op, RENAME, done);
    }
    inode_release(inode);
}

static void found_to_replace(struct call *call, int error, struct in *reply)
{
    struct inode *inode = open_one(error, reply);
    struct operation *op = answered_operation(call, error == ENOENT ? 0 : error);
    if (!op)
        return;
    /* The rename goes through the same operation, whose file handle and names are those of the source. */
    struct inode *target = op->inode;
    op->inode = op->other;
    op->other = target;
    char *name = op->name;
    op->name = op->other_name;
    op->other_name = name;
    if (!inode || inode->hidden_in) {
        send_as(op, RENAME, done);
        return;
    }
    struct replacing *replacing = (struct replacing *)rpc_new(sizeof *replacing, RENAME, &call->who);
    hidden_name(replacing->name, sizeof replacing->name);
    replacing->op = op;
    replacing->inode = inode;
    inode_hold(inode);
    struct out *out = &replacing->call.arguments;
    replacing->call.done = out_of_the_way;
    replacing->call.has_spare = call->has_spare;
    replacing->call.spare_group = target->gid;
    put_file_id(out, target);
    put_string(out, op->other_name);
    put_file_id(out, target);
    put_string(out, replacing->name);
    call->again = true; /* sent when the place is free */
    rpc_send(&replacing->call);
}

void fs_rename(fuse_req_t request, fuse_ino_t from, const char *name, fuse_ino_t to, const char *new_name,
               unsigned flags)
{
    if (flags) {
        fuse_reply_err(request, EINVAL);
        return;
    }
    bool look = all_opened;
    struct operation *op = operation(request, look ? to : from, RENAME, done);
    op->other = inode_of(look ? from : to);
    inode_hold(op->other);
    op->name = strdup(look ? new_name : name);
    op->other_name = strdup(look ? name : new_name);
    if (look)
        send_as(op, LOOKUP, found_to_replace);
    else
        send_as(op, RENAME, done);
}
