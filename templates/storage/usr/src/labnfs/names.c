/* Names: found, and new ones. */
#include "files.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

static void entered(struct call *call, int error, struct in *reply, bool maybe)
{
    struct operation *op = answered_operation(call, error);
    if (!op)
        return;
    struct file_id id;
    struct stat stat;
    if (get_entry(reply, maybe, &id, &stat))
        reply_entry(op, &id, &stat);
    else
        reply_error(op, EIO);
    operation_end(op);
}

static void found(struct call *call, int error, struct in *reply)
{
    entered(call, error, reply, false);
}

/* What was sent twice because the connection broke may be there by the first time: the kernel had looked before. */
static void made(struct call *call, int error, struct in *reply)
{
    struct operation *op = (struct operation *)call;
    if (error != EEXIST || !call->resent || !op->name) {
        entered(call, error, reply, true);
        return;
    }
    call->procedure = LOOKUP;
    call->done = found;
    call->arguments.length = 0;
    put_file_id(&call->arguments, op->inode);
    put_string(&call->arguments, op->name);
    rpc_send(call);
}

void fs_lookup(fuse_req_t request, fuse_ino_t parent, const char *name)
{
    struct operation *op = operation(request, parent, LOOKUP, found);
    put_string(&op->call.arguments, name);
    rpc_send(&op->call);
}

static void put_new_attributes(struct out *out, bool has_mode, mode_t mode)
{
    put_u32(out, has_mode);
    if (has_mode)
        put_u32(out, mode & 07777);
    for (int i = 0; i < 5; i++)
        put_u32(out, 0);
}

void fs_mkdir(fuse_req_t request, fuse_ino_t parent, const char *name, mode_t mode)
{
    struct operation *op = operation(request, parent, MKDIR, made);
    op->name = strdup(name);
    put_string(&op->call.arguments, name);
    put_new_attributes(&op->call.arguments, true, mode);
    rpc_send(&op->call);
}

void fs_mknod(fuse_req_t request, fuse_ino_t parent, const char *name, mode_t mode, dev_t device)
{
    struct operation *op = operation(request, parent, S_ISREG(mode) ? CREATE : MKNOD, made);
    op->name = strdup(name);
    struct out *out = &op->call.arguments;
    put_string(out, name);
    if (S_ISREG(mode)) {
        put_u32(out, 1); /* guarded */
        put_new_attributes(out, true, mode);
    } else {
        put_u32(out, S_ISBLK(mode) ? 3 : S_ISCHR(mode) ? 4 : S_ISSOCK(mode) ? 6 : 7);
        put_new_attributes(out, true, mode);
        if (S_ISBLK(mode) || S_ISCHR(mode)) {
            put_u32(out, major(device));
            put_u32(out, minor(device));
        }
    }
    rpc_send(&op->call);
}

void fs_symlink(fuse_req_t request, const char *target, fuse_ino_t parent, const char *name)
{
    struct operation *op = operation(request, parent, SYMLINK, made);
    op->name = strdup(name);
    put_string(&op->call.arguments, name);
    put_new_attributes(&op->call.arguments, true, 0777);
    put_string(&op->call.arguments, target);
    rpc_send(&op->call);
}

static void got_link(struct call *call, int error, struct in *reply)
{
    struct operation *op = answered_operation(call, error);
    if (!op)
        return;
    struct stat stat;
    uint32_t length;
    get_maybe_attributes(reply, &stat);
    const char *bytes = get_opaque(reply, &length);
    char *target = strndup(bytes, length);
    fuse_reply_readlink(op->request, target);
    free(target);
    operation_end(op);
}

void fs_readlink(fuse_req_t request, fuse_ino_t number)
{
    rpc_send(&operation(request, number, READLINK, got_link)->call);
}

static void linked(struct call *call, int error, struct in *reply)
{
    struct operation *op = answered_operation(call, error);
    if (!op)
        return;
    struct fuse_entry_param entry = {.attr_timeout = fresh, .entry_timeout = fresh, .ino = number_of(op->inode)};
    if (!get_maybe_attributes(reply, &entry.attr)) {
        entry.attr.st_mode = op->inode->mode;
        entry.attr_timeout = 0;
    }
    true_size(op->inode, call->xid, &entry.attr);
    op->inode->lookups++;
    if (fuse_reply_entry(op->request, &entry))
        inode_forget(op->inode, 1);
    operation_end(op);
}

void fs_link(fuse_req_t request, fuse_ino_t number, fuse_ino_t parent, const char *name)
{
    struct operation *op = operation(request, number, LINK, linked);
    put_file_id(&op->call.arguments, inode_of(parent));
    put_string(&op->call.arguments, name);
    op->call.spare_group = inode_of(parent)->gid;
    rpc_send(&op->call);
}
