/* Opening, creating and closing files: what is read after opening is what was written before another's closing. */
#include "files.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>

enum { CAN_READ = 0x01, CAN_MODIFY = 0x04, CAN_EXTEND = 0x08, CAN_EXECUTE = 0x20 };

uint32_t all_opened;

static void opened(struct operation *op, struct inode *inode)
{
    struct handle *handle = calloc(1, sizeof *handle);
    if (!handle)
        abort();
    handle->inode = inode;
    /* Reading and writing go with the rights of who opened, whoever has the file then. */
    handle->who = op->call.who;
    inode_hold(inode);
    inode->opened++;
    all_opened++;
    op->file.fh = (uintptr_t)handle;
    op->file.noflush = (op->file.flags & O_ACCMODE) == O_RDONLY;
    /* Where the end is only the server knows: the kernel must not keep what is appended at a place it guessed. */
    op->file.direct_io = (op->file.flags & O_APPEND) && (op->file.flags & O_ACCMODE) != O_RDONLY;
}

static void closed(struct handle *handle)
{
    struct inode *inode = handle->inode;
    all_opened--;
    if (!--inode->opened) {
        if (inode->hidden_in)
            remove_hidden(inode, &handle->who);
        else if (inode->pieces)
            commit(inode, &handle->who, NULL, NULL);
    }
    inode_release(inode);
    free(handle);
}

static bool allowed(int flags, uint32_t rights)
{
    int mode = flags & O_ACCMODE;
    bool readable = rights & (CAN_READ | CAN_EXECUTE), writable = rights & CAN_MODIFY;
    return (mode == O_WRONLY || readable) && (mode == O_RDONLY || writable);
}

static void may_open(struct call *call, int error, struct in *reply)
{
    struct operation *op = answered_operation(call, error);
    if (!op)
        return;
    struct inode *inode = op->inode;
    struct stat stat;
    bool has_stat = get_maybe_attributes(reply, &stat);
    if (!allowed(op->file.flags, get_u32(reply))) {
        if (call->has_spare && !call->who.has_group) {
            call->who.group = call->spare_group;
            call->who.has_group = true;
            rpc_send(call);
            return;
        }
        reply_error(op, EACCES);
        operation_end(op);
        return;
    }
    struct stamp stamp = {0};
    if (has_stat) {
        learn(inode, &stat);
        stamp = stamp_of(&stat);
    }
    op->file.keep_cache = same(&inode->stamp, &stamp);
    if (!op->file.keep_cache) {
        inode->stamp = stamp;
        fuse_lowlevel_notify_inval_inode(session, number_of(inode), -1, 0);
    }
    opened(op, inode);
    if (fuse_reply_open(op->request, &op->file))
        closed((struct handle *)(uintptr_t)op->file.fh);
    operation_end(op);
}

void fs_open(fuse_req_t request, fuse_ino_t number, struct fuse_file_info *file)
{
    struct operation *op = operation(request, number, ACCESS, may_open);
    op->file = *file;
    put_u32(&op->call.arguments, CAN_READ | CAN_MODIFY | CAN_EXTEND | CAN_EXECUTE);
    in_turn(op, operation_send);
}

/* ------------------------------------------------------------ creating */

static void reply_created(struct operation *op, const struct file_id *id, const struct stat *stat)
{
    struct inode *inode = inode_take(id);
    opened(op, inode);
    op->has_file = true;
    reply_entry(op, id, stat);
    if (!op->has_file)
        closed((struct handle *)(uintptr_t)op->file.fh);
    inode_release(inode);
}

static void mode_set(struct call *call, int error, struct in *reply)
{
    struct operation *op = answered_operation(call, error);
    if (!op)
        return;
    struct stat stat;
    bool untouched;
    if (get_change(reply, NULL, &untouched, &stat))
        reply_created(op, &op->other->id, &stat);
    else
        reply_error(op, EIO);
    operation_end(op);
}

static void created(struct call *call, int error, struct in *reply)
{
    struct operation *op = answered_operation(call, error);
    if (!op)
        return;
    struct file_id id;
    struct stat stat;
    if (!get_entry(reply, true, &id, &stat)) {
        reply_error(op, EIO);
        operation_end(op);
    } else if (!(op->file.flags & O_EXCL)) {
        reply_created(op, &id, &stat);
        operation_end(op);
    } else {
        /* An exclusive creation has no room for the mode. */
        op->other = inode_take(&id);
        call->procedure = SETATTR;
        call->done = mode_set;
        struct out *out = &call->arguments;
        out->length = 0;
        put_file_id(out, op->other);
        put_u32(out, 1);
        put_u32(out, op->flags);
        for (int i = 0; i < 3; i++)
            put_u32(out, 0);
        put_u32(out, 1); /* times of the server: the number of the creation was kept in them */
        put_u32(out, 1);
        put_u32(out, 0);
        rpc_send(call);
    }
}

void fs_create(fuse_req_t request, fuse_ino_t parent, const char *name, mode_t mode, struct fuse_file_info *file)
{
    static uint32_t number;
    struct operation *op = operation(request, parent, CREATE, created);
    struct out *out = &op->call.arguments;
    op->file = *file;
    op->flags = mode & 07777;
    put_string(out, name);
    if (file->flags & O_EXCL) {
        put_u32(out, 2);
        put_u32(out, (uint32_t)now_ms());
        put_u32(out, (uint32_t)(uintptr_t)op ^ ++number << 20);
    } else {
        put_u32(out, 0);
        put_u32(out, 1);
        put_u32(out, mode & 07777);
        for (int i = 0; i < 5; i++)
            put_u32(out, 0);
    }
    rpc_send(&op->call);
}

void fs_release(fuse_req_t request, fuse_ino_t number, struct fuse_file_info *file)
{
    (void)number;
    closed((struct handle *)(uintptr_t)file->fh);
    fuse_reply_err(request, 0);
}
