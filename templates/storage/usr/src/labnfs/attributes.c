/* Attributes: asked, changed, and those of the whole file system. */
#include "files.h"

#include <errno.h>
#include <string.h>

static void got_attributes(struct call *call, int error, struct in *reply)
{
    struct operation *op = answered_operation(call, error);
    if (!op)
        return;
    struct stat stat;
    if (get_attributes(reply, &stat)) {
        learn(op->inode, &stat);
        fuse_reply_attr(op->request, &stat, fresh);
    } else {
        fuse_reply_err(op->request, EIO);
    }
    operation_end(op);
}

void fs_getattr(fuse_req_t request, fuse_ino_t number, struct fuse_file_info *file)
{
    (void)file;
    in_turn(operation(request, number, GETATTR, got_attributes), operation_send);
}

static void set_attributes(struct call *call, int error, struct in *reply)
{
    struct operation *op = answered_operation(call, error);
    if (!op)
        return;
    struct stat stat;
    bool untouched;
    if (get_change(reply, &op->inode->stamp, &untouched, &stat)) {
        learn(op->inode, &stat);
        op->inode->stamp = stamp_of(&stat);
        op->inode->stamp.known = untouched;
        fuse_reply_attr(op->request, &stat, fresh);
        operation_end(op);
        return;
    }
    /* Changed, but the server does not say into what. */
    call->procedure = GETATTR;
    call->done = got_attributes;
    call->arguments.length = 0;
    put_file_id(&call->arguments, op->inode);
    rpc_send(call);
}

static void put_maybe(struct out *out, bool has, uint32_t value)
{
    put_u32(out, has);
    if (has)
        put_u32(out, value);
}

static void put_time(struct out *out, bool has, bool now, const struct timespec *time)
{
    put_u32(out, now ? 1 : has ? 2 : 0);
    if (has && !now) {
        put_u32(out, time->tv_sec);
        put_u32(out, time->tv_nsec);
    }
}

static void kept(void *data, int error)
{
    struct operation *op = data;
    if (!error) {
        rpc_send(&op->call);
        return;
    }
    reply_error(op, error);
    operation_drop(op);
}

/* Content that would be sent again must not grow a file that was cut meanwhile. */
static void set_size(struct operation *op)
{
    op->inode->behind_end = 0;
    commit(op->inode, &op->call.who, kept, op);
}

void fs_setattr(fuse_req_t request, fuse_ino_t number, struct stat *stat, int set, struct fuse_file_info *file)
{
    struct operation *op = operation(request, number, SETATTR, set_attributes);
    struct out *out = &op->call.arguments;
    /* Who may change the size of an open file was settled when it was opened. */
    if (set == FUSE_SET_ATTR_SIZE && file && file->fh)
        op->call.who = ((struct handle *)(uintptr_t)file->fh)->who;
    /* The kernel has checked that the caller is in the group to which the file is given. */
    if (set & FUSE_SET_ATTR_GID && op->call.has_spare)
        op->call.spare_group = stat->st_gid;
    put_maybe(out, set & FUSE_SET_ATTR_MODE, stat->st_mode & 07777);
    put_maybe(out, set & FUSE_SET_ATTR_UID, stat->st_uid);
    put_maybe(out, set & FUSE_SET_ATTR_GID, stat->st_gid);
    put_u32(out, !!(set & FUSE_SET_ATTR_SIZE));
    if (set & FUSE_SET_ATTR_SIZE)
        put_u64(out, stat->st_size);
    put_time(out, set & FUSE_SET_ATTR_ATIME, set & FUSE_SET_ATTR_ATIME_NOW, &stat->st_atim);
    put_time(out, set & FUSE_SET_ATTR_MTIME, set & FUSE_SET_ATTR_MTIME_NOW, &stat->st_mtim);
    put_u32(out, 0);
    in_turn(op, set & FUSE_SET_ATTR_SIZE ? set_size : operation_send);
}

static void got_space(struct call *call, int error, struct in *reply)
{
    struct operation *op = answered_operation(call, error);
    if (!op)
        return;
    struct stat stat;
    struct statvfs space = {.f_bsize = 4096, .f_frsize = 4096, .f_namemax = 255};
    get_maybe_attributes(reply, &stat);
    space.f_blocks = get_u64(reply) / 4096;
    space.f_bfree = get_u64(reply) / 4096;
    space.f_bavail = get_u64(reply) / 4096;
    space.f_files = get_u64(reply);
    space.f_ffree = get_u64(reply);
    space.f_favail = get_u64(reply);
    fuse_reply_statfs(op->request, &space);
    operation_end(op);
}

void fs_statfs(fuse_req_t request, fuse_ino_t number)
{
    rpc_send(&operation(request, number, FSSTAT, got_space)->call);
}
